/* What the two servers on libuv share: the buffer, the listener, and writing. */

#ifndef LIBUV_H
#define LIBUV_H

#include <signal.h>
#include <string.h>
#include <uv.h>

#include "listen.h"

static uv_buf_t received;

/* Either kind of stream. Both begin with what is common to all. */
union stream {
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

static int init(uv_loop_t *loop, union stream *stream)
{
    return unix_path ? uv_pipe_init(loop, &stream->pipe, 0) : uv_tcp_init(loop, &stream->tcp);
}

/* Everything is handled before the next read, so that all can read into the same place. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle, (void)suggested;
    *buffer = received;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

/* A new connection, with room for so many bytes of which the handle is the first part. */
static void *accept_one(uv_stream_t *listener, int status, size_t bytes)
{
    union stream *connection = status < 0 ? NULL : malloc(bytes);
    if (!connection)
        return NULL;
    init(listener->loop, connection);
    if (uv_accept(listener, &connection->stream) < 0) {
        uv_close((uv_handle_t *)connection, on_closed);
        return NULL;
    }
    return connection;
}

/* Writes at once; what can't be is copied behind a request, which the callback frees. 0: all is
   written; 1: some waits; -1: it failed. */
static int write_now_or_later(uv_stream_t *stream, const char *bytes, size_t length, uv_write_cb written)
{
    uv_buf_t now = uv_buf_init((char *)bytes, length);
    int sent = uv_try_write(stream, &now, 1);
    if (sent == (int)length)
        return 0;
    if (sent < 0 && sent != UV_EAGAIN)
        return -1;
    sent = sent < 0 ? 0 : sent;
    uv_write_t *request = malloc(sizeof *request + length - sent);
    if (!request)
        return -1;
    uv_buf_t later = uv_buf_init((char *)(request + 1), length - sent);
    memcpy(later.base, bytes + sent, later.len);
    if (uv_write(request, stream, &later, 1, written) < 0) {
        free(request);
        return -1;
    }
    return 1;
}

/* headroom: so many bytes can be put in front of the buffer. */
static void run(int argc, char **argv, size_t headroom, uv_connection_cb on_connection)
{
    static union stream listener;
    size_t size = read_buffer(argc, argv);
    signal(SIGPIPE, SIG_IGN); /* its writes have no MSG_NOSIGNAL */
    char *buffer = malloc(headroom + size);
    if (!buffer)
        die("malloc");
    received = uv_buf_init(buffer + headroom, size);
    int fd = listen_where_told();
    uv_loop_t *loop = uv_default_loop();
    if (init(loop, &listener) < 0
        || (unix_path ? uv_pipe_open(&listener.pipe, fd) : uv_tcp_open(&listener.tcp, fd)) < 0
        || uv_listen(&listener.stream, BACKLOG, on_connection) < 0)
        die("libuv");
    announce(fd);
    uv_run(loop, UV_RUN_DEFAULT);
}

#endif
