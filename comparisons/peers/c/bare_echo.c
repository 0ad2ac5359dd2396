/* Echo on bare edge-triggered epoll: the least that it can cost. No timers, no limits, no fairness. */

#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "listen.h"

#define BATCH 1024
#define DESCRIPTORS (1 << 20)
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* What the socket did not take. While there is any, the connection is not read from. */
struct owed {
    char *bytes;
    size_t from, to;
};

static struct owed owed[DESCRIPTORS];
static size_t stalled; /* how many owe something: mostly none, and then nobody looks */
static int epoll, listener;
static char *buffer;
static size_t size;

static void accept_all(void)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
        if (fd >= DESCRIPTORS || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            close(fd);
    }
}

static void settle(int fd)
{
    free(owed[fd].bytes);
    owed[fd].bytes = NULL;
    stalled--;
}

/* Whether all is paid, so that reading may go on. */
static int pay(int fd)
{
    struct owed *debt = &owed[fd];
    while (debt->from < debt->to) {
        ssize_t sent = send(fd, debt->bytes + debt->from, debt->to - debt->from, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) {
                settle(fd);
                close(fd);
            }
            return 0;
        }
        debt->from += sent;
    }
    settle(fd);
    return 1;
}

static void owe(int fd, const char *bytes, size_t length)
{
    struct owed *debt = &owed[fd];
    debt->bytes = malloc(length);
    if (!debt->bytes)
        die("malloc");
    memcpy(debt->bytes, bytes, length);
    debt->from = 0;
    debt->to = length;
    stalled++;
}

static void serve(int fd, unsigned events)
{
    if (unlikely(stalled) && owed[fd].bytes) {
        if (!pay(fd))
            return;
        events |= EPOLLRDHUP; /* the edge of what came meanwhile is gone: read to EAGAIN */
    }
    for (;;) {
        ssize_t got = recv(fd, buffer, size, 0);
        if (unlikely(got <= 0)) {
            if (got == 0 || errno != EAGAIN)
                close(fd);
            return;
        }
        ssize_t sent = send(fd, buffer, got, MSG_NOSIGNAL);
        if (unlikely(sent != got)) {
            if (sent < 0 && errno != EAGAIN) {
                close(fd);
                return;
            }
            sent = sent < 0 ? 0 : sent;
            owe(fd, buffer + sent, got - sent);
            if (!pay(fd)) /* only EAGAIN promises an edge */
                return;
        }
        /* A short read empties the socket, unless an end or an error waits behind the bytes. */
        if (likely((size_t)got < size && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))))
            return;
    }
}

int main(int argc, char **argv)
{
    static struct epoll_event events[BATCH];
    size = read_buffer(argc, argv);
    buffer = malloc(size);
    if (!buffer)
        die("malloc");
    listener = listen_on_loopback();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = listener};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll");
    announce(listener);
    for (;;) {
        int ready = epoll_wait(epoll, events, BATCH, -1);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            if (unlikely(events[i].data.fd == listener))
                accept_all();
            else if (likely(events[i].events & ~EPOLLOUT) || stalled)
                serve(events[i].data.fd, events[i].events);
        }
    }
}
