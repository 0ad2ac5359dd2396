/* What the two servers on libevent share: the loop and the listener. */

#ifndef LIBEVENT_H
#define LIBEVENT_H

#include <signal.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "listen.h"

/* No descriptor is duplicated here, so changes of interest can wait for the end of a turn. */
static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    if (!config || event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) < 0)
        die("libevent");
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static void run(evconnlistener_cb on_connection)
{
    signal(SIGPIPE, SIG_IGN); /* its writes have no MSG_NOSIGNAL */
    struct event_base *base = new_base();
    int fd = listen_where_told();
    /* A backlog of 0 says that the socket listens already. */
    if (!base || !evconnlistener_new(base, on_connection, base, LEV_OPT_CLOSE_ON_EXEC, 0, fd))
        die("libevent");
    announce(fd);
    event_base_dispatch(base);
}

/* A new connection that reads up to so many bytes in a callback, as far as libevent 2.1 lets it: it
   never reads more than 4096 bytes at once. */
static struct bufferevent *connection(struct event_base *base, evutil_socket_t fd, size_t size)
{
    struct bufferevent *connection = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!connection)
        close(fd);
    else
        bufferevent_set_max_single_read(connection, size);
    return connection;
}

#endif
