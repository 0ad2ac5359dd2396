/* The loop of bare.h for servers that keep nothing about a connection but what is owed to it. */

#ifndef BARE_PLAIN_H
#define BARE_PLAIN_H

#include "bare.h"

static void opened(int fd)
{
    (void)fd;
}

static void end(int fd)
{
    queue_drop(&queues[fd]);
    close(fd);
}

#endif
