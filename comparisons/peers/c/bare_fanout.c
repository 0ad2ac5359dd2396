/* The chat room on bare edge-triggered epoll: a table of members, and a queue for whoever is slow. */

#define _GNU_SOURCE
#include "bare.h"
#include "message.h"

static int members[DESCRIPTORS], count; /* descriptors, close together */
static int place[DESCRIPTORS];          /* of each descriptor among the members */
static struct partial partials[DESCRIPTORS];

static void opened(int fd)
{
    place[fd] = count;
    partials[fd].length = 0;
    members[count++] = fd;
}

static void end(int fd)
{
    members[place[fd]] = members[--count];
    place[members[place[fd]]] = place[fd];
    queue_drop(&queues[fd]);
    close(fd);
}

/* Whoever's connection has failed is told so by an event of its own, and is closed then. */
static void tell_others(int sender, const char *bytes, size_t length)
{
    for (int i = 0; i < count; i++) {
        int fd = members[i];
        if (unlikely(fd == sender))
            continue;
        if (unlikely(stalled) && queues[fd].bytes)
            queue_add(&queues[fd], bytes, length);
        else
            send_or_queue(&queues[fd], fd, bytes, length);
    }
}

static void serve(int fd, unsigned events)
{
    if (unlikely(stalled) && queues[fd].bytes)
        queue_send(&queues[fd], fd);
    for (;;) {
        ssize_t got = recv(fd, buffer, size, 0);
        if (unlikely(got <= 0)) {
            if (got == 0 || errno != EAGAIN)
                end(fd);
            return;
        }
        char *bytes = buffer;
        size_t length = whole_messages(&partials[fd], &bytes, got);
        if (length > 0)
            tell_others(fd, bytes, length);
        if (likely((size_t)got < size && !(events & LAST_WORDS)))
            return;
    }
}

int main(int argc, char **argv)
{
    size = read_buffer(argc, argv);
    run(MESSAGE);
}
