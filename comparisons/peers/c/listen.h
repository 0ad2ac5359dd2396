/* What every C server here begins with: a listener on the loopback, and the line that says where it is. */

#ifndef LISTEN_H
#define LISTEN_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BACKLOG 4096

static void *die(const char *what)
{
    perror(what);
    exit(1);
}

/* Accepted sockets inherit TCP_NODELAY from the listener, which saves a call for each. */
static int listen_on_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        die("socket");
    if (setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0)
        die("TCP_NODELAY");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(listener, BACKLOG) < 0)
        die("listen");
    return listener;
}

static void announce(int listener)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        die("getsockname");
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

/* The one argument: how many bytes are read at once. */
static size_t read_buffer(int argc, char **argv)
{
    size_t bytes = argc > 1 ? strtoul(argv[argc - 1], NULL, 10) : 0;
    if (bytes == 0) {
        fprintf(stderr, "usage: %s [SERVICE] READ_BUFFER\n", argv[0]);
        exit(2);
    }
    return bytes;
}

#endif
