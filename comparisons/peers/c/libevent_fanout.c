/* The chat room on libevent: a bufferevent for each member, and their outputs are the queues. */

#include <unistd.h>

#include "libevent.h"

#define MESSAGE 64

struct member {
    struct bufferevent *connection;
    struct member *next, **back;
};

static struct member *members, **last = &members; /* in the order in which they joined */
static size_t size;

static void on_read(struct bufferevent *connection, void *context)
{
    struct evbuffer *input = bufferevent_get_input(connection);
    size_t length = evbuffer_get_length(input);
    length -= length % MESSAGE;
    unsigned char *bytes = length > 0 ? evbuffer_pullup(input, length) : NULL;
    if (!bytes)
        return;
    for (struct member *member = members; member; member = member->next)
        if (member != context)
            bufferevent_write(member->connection, bytes, length);
    evbuffer_drain(input, length);
}

/* The end, or an error. */
static void on_event(struct bufferevent *connection, short what, void *context)
{
    struct member *member = context;
    (void)what;
    *member->back = member->next;
    *(member->next ? &member->next->back : &last) = member->back;
    bufferevent_free(connection);
    free(member);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                          int length, void *base)
{
    (void)listener, (void)address, (void)length;
    struct member *member = malloc(sizeof *member);
    if (!member)
        die("malloc");
    *member = (struct member){.connection = connection(base, fd, size), .back = last};
    if (!member->connection) {
        free(member);
        return;
    }
    *last = member;
    last = &member->next;
    bufferevent_setwatermark(member->connection, EV_READ, MESSAGE, 0);
    bufferevent_setcb(member->connection, on_read, NULL, on_event, member);
    bufferevent_enable(member->connection, EV_READ);
}

int main(int argc, char **argv)
{
    size = read_buffer(argc, argv);
    run(on_connection);
}
