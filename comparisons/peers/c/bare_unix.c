/* Echo over Unix sockets on bare epoll: the least that it can cost. A receive ends behind a message
   that came with descriptors (unix(7)), so a short one need not empty the socket. Of the ways to
   find out, level-triggered epoll is the cheapest, which tells of the rest by itself; recvmsg, for
   MSG_CTRUNC, costs more than recv, and a receive up to EAGAIN is a call more. */

#define _GNU_SOURCE
#include "bare_plain.h"

static void serve(int fd, unsigned events)
{
    (void)events;
    /* What is owed stops reading: only room is asked for until it is sent. */
    if (unlikely(stalled) && queues[fd].bytes) {
        int paid = queue_send(&queues[fd], fd);
        if (paid < 0)
            end(fd);
        if (paid <= 0)
            return;
        change_interest(fd, interest);
    }
    for (;;) {
        ssize_t got = recv(fd, buffer, size, 0);
        if (unlikely(got <= 0)) {
            if (got == 0 || errno != EAGAIN)
                end(fd);
            return;
        }
        int paid = send_or_queue(&queues[fd], fd, buffer, got);
        if (unlikely(paid < 0))
            end(fd);
        if (unlikely(paid == 0))
            change_interest(fd, EPOLLOUT);
        if (unlikely(paid <= 0) || likely((size_t)got < size))
            return;
    }
}

int main(int argc, char **argv)
{
    size = read_buffer(argc, argv);
    interest = EPOLLIN;
    run(0);
}
