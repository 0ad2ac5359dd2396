/* Echo of datagrams on bare edge-triggered epoll: the least that it can cost. One socket for all, a
   receive and a send for each datagram, up to EAGAIN. recvmmsg and sendmmsg save calls, but on the
   loopback they cost more: see comparisons/notes.md. */

#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>

#include "listen.h"

int main(int argc, char **argv)
{
    size_t size = read_buffer(argc, argv);
    char *buffer = malloc(size);
    if (!buffer)
        die("malloc");
    int fd = listen_where_told(), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = fd};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll");
    announce(fd);
    for (;;) {
        if (epoll_wait(epoll, &event, 1, -1) < 0 && errno != EINTR)
            die("epoll_wait");
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t got;
        while ((got = recvfrom(fd, buffer, size, 0, (struct sockaddr *)&from, &length)) >= 0)
            sendto(fd, buffer, got, 0, (struct sockaddr *)&from, length); /* without room it is lost */
        if (errno != EAGAIN)
            die("recvfrom");
    }
}
