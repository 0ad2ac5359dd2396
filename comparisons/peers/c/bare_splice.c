/* Echo of streams by splice, on bare edge-triggered epoll, through a pipe for each connection: the
   least that a stream can cost. Small messages cost more than in bare_echo.c. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>

#include "bare.h"

struct pipe {
    int out, in;
    size_t holds;
};

static struct pipe pipes[DESCRIPTORS];

static void opened(int fd)
{
    int ends[2];
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) {
        close(fd);
        return;
    }
    fcntl(ends[1], F_SETPIPE_SZ, (int)size); /* where it can't be had, the usual size does */
    pipes[fd] = (struct pipe){.out = ends[0], .in = ends[1]};
}

static void end(int fd)
{
    queue_drop(&queues[fd]);
    close(pipes[fd].out);
    close(pipes[fd].in);
    pipes[fd].holds = 0;
    close(fd);
}

/* From the pipe into the socket: 1 when the pipe is empty, 0 when the socket is full, -1 at a failure. */
static int empty_pipe(int fd)
{
    struct pipe *pipe = &pipes[fd];
    while (pipe->holds > 0) {
        ssize_t sent = splice(pipe->out, NULL, fd, NULL, pipe->holds, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (sent <= 0)
            return sent < 0 && errno == EAGAIN ? 0 : -1;
        pipe->holds -= sent;
    }
    return 1;
}

/* Neither 0 nor EAGAIN from splice says what it says from recv, so an empty pipe and recv decide. */
static int receive(int fd)
{
    ssize_t got = recv(fd, buffer, size, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN ? 0 : -1;
    return send_or_queue(&queues[fd], fd, buffer, got);
}

static void serve(int fd, unsigned events)
{
    (void)events;
    int was_full = pipes[fd].holds > 0 || queues[fd].bytes;
    stalled -= pipes[fd].holds > 0;
    int goes_on = empty_pipe(fd);
    if (goes_on > 0 && queues[fd].bytes)
        goes_on = queue_send(&queues[fd], fd);
    while (goes_on > 0) {
        ssize_t got = splice(fd, NULL, pipes[fd].in, NULL, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (got > 0) {
            pipes[fd].holds = got;
            goes_on = empty_pipe(fd);
        } else {
            goes_on = receive(fd);
        }
    }
    if (goes_on < 0)
        end(fd);
    stalled += pipes[fd].holds > 0;
    int is_full = pipes[fd].holds > 0 || queues[fd].bytes;
    if (unix_path && goes_on >= 0 && was_full != is_full)
        change_interest(fd, is_full ? interest | EPOLLOUT : interest);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* splice has no MSG_NOSIGNAL */
    size = read_buffer(argc, argv);
    if (unix_path)
        interest &= ~EPOLLOUT;
    run(0);
}
