/* The loop on bare edge-triggered epoll, for the servers that include this and say what serve() does. */

#ifndef BARE_H
#define BARE_H

#include <sys/epoll.h>
#include <unistd.h>

#include "queue.h"

#define BATCH 1024
#define DESCRIPTORS (1 << 20) /* tables are indexed by descriptor; untouched pages cost nothing */
#ifndef TIMEOUT
#define TIMEOUT (-1) /* for ever */
#endif
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* A short read empties the socket, unless an end or an error waits behind the bytes. */
#define LAST_WORDS (EPOLLRDHUP | EPOLLHUP | EPOLLERR)

static struct queue queues[DESCRIPTORS];
static char *buffer;
static size_t size;
static int epoll, listener;

/* Over Unix sockets every read of the client is an edge of EPOLLOUT (Linux 6.18), and wakes whoever
   asks for it. The servers there ask only while something is owed. */
static unsigned interest = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

static void opened(int fd);
static void serve(int fd, unsigned events);

static inline void change_interest(int fd, unsigned to)
{
    struct epoll_event event = {.events = to, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) < 0)
        die("epoll_ctl");
}

static void accept_all(void)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = interest, .data.fd = fd};
        if (fd >= DESCRIPTORS || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            close(fd);
        else
            opened(fd);
    }
}

/* headroom: so many bytes can be put in front of the buffer. */
static void run(size_t headroom)
{
    static struct epoll_event events[BATCH];
    buffer = malloc(headroom + size);
    if (!buffer)
        die("malloc");
    buffer += headroom;
    listener = listen_where_told();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = listener};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll");
    announce(listener);
    for (;;) {
        int ready = epoll_wait(epoll, events, BATCH, TIMEOUT);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            if (unlikely(events[i].data.fd == listener))
                accept_all();
            else if (likely(events[i].events != EPOLLOUT) || stalled)
                serve(events[i].data.fd, events[i].events);
        }
    }
}

#endif
