/* Echo on libevent: a bufferevent for each connection, whose input moves to its output uncopied. */

#include <unistd.h>

#include "libevent.h"

static size_t size;

static void on_read(struct bufferevent *connection, void *context);
static void on_event(struct bufferevent *connection, short what, void *context);

/* The output has shrunk to the low watermark: read again. */
static void on_room(struct bufferevent *connection, void *context)
{
    bufferevent_setcb(connection, on_read, NULL, on_event, context);
    bufferevent_enable(connection, EV_READ);
}

static void on_flushed(struct bufferevent *connection, void *context)
{
    (void)context;
    bufferevent_free(connection);
}

static void on_read(struct bufferevent *connection, void *context)
{
    bufferevent_write_buffer(connection, bufferevent_get_input(connection));
    if (evbuffer_get_length(bufferevent_get_output(connection)) >= 2 * size) {
        bufferevent_disable(connection, EV_READ);
        bufferevent_setcb(connection, on_read, on_room, on_event, context);
    }
}

static void on_event(struct bufferevent *connection, short what, void *context)
{
    if (!(what & BEV_EVENT_EOF) || evbuffer_get_length(bufferevent_get_output(connection)) == 0) {
        bufferevent_free(connection);
        return;
    }
    bufferevent_setwatermark(connection, EV_WRITE, 0, 0);
    bufferevent_setcb(connection, NULL, on_flushed, on_event, context);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                          int length, void *base)
{
    (void)listener, (void)address, (void)length;
    struct bufferevent *new = connection(base, fd, size);
    if (!new)
        return;
    bufferevent_setwatermark(new, EV_WRITE, size, 0);
    bufferevent_setcb(new, on_read, NULL, on_event, NULL);
    bufferevent_enable(new, EV_READ);
}

int main(int argc, char **argv)
{
    size = read_buffer(argc, argv);
    run(on_connection);
}
