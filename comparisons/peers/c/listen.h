/* What every C server here begins with: a listener on the loopback or on a Unix socket, or a socket
   for datagrams, and the line that says where it is. */

#ifndef LISTEN_H
#define LISTEN_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define BACKLOG 4096

static const char *unix_path; /* NULL: the loopback */
static int kind = SOCK_STREAM; /* SOCK_DGRAM: there is nothing to listen for */

static void *die(const char *what)
{
    perror(what);
    exit(1);
}

/* Accepted sockets inherit TCP_NODELAY from the listener, which saves a call for each. */
static int listen_on_loopback(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1, listener = socket(AF_INET, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        die("socket");
    if (kind == SOCK_STREAM && setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) < 0)
        die("TCP_NODELAY");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (kind == SOCK_STREAM && listen(listener, BACKLOG) < 0)
        die("listen");
    return listener;
}

static int listen_on_path(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        die("socket");
    if (strlen(unix_path) >= sizeof address.sun_path) {
        fprintf(stderr, "%s: longer than the path of a Unix socket\n", unix_path);
        exit(1);
    }
    strcpy(address.sun_path, unix_path);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    if (listen(listener, BACKLOG) < 0)
        die("listen");
    return listener;
}

static int listen_where_told(void)
{
    return unix_path ? listen_on_path() : listen_on_loopback();
}

static void announce(int listener)
{
    if (unix_path) {
        printf("listening on unix:%s\n", unix_path);
        fflush(stdout);
        return;
    }
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        die("getsockname");
    const char *scheme = kind == SOCK_DGRAM ? "udp://" : "";
    printf("listening on %s127.0.0.1:%d\n", scheme, ntohs(address.sin_port));
    fflush(stdout);
}

/* The arguments: how many bytes are read at once, and the path of a Unix socket or `udp`. */
static size_t read_buffer(int argc, char **argv)
{
    size_t bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    if (bytes == 0) {
        fprintf(stderr, "usage: %s READ_BUFFER [PATH|udp]\n", argv[0]);
        exit(2);
    }
    if (argc > 2 && strcmp(argv[2], "udp") == 0)
        kind = SOCK_DGRAM;
    else if (argc > 2)
        unix_path = argv[2];
    return bytes;
}

#endif
