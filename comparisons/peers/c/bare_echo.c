/* Echo on bare edge-triggered epoll: the least that it can cost. No timers, no limits, no fairness. */

#define _GNU_SOURCE
#include "bare_plain.h"

static void serve(int fd, unsigned events)
{
    /* What is owed stops reading. The edge of what came meanwhile is gone: read to EAGAIN then. */
    if (unlikely(stalled) && queues[fd].bytes) {
        int paid = queue_send(&queues[fd], fd);
        if (paid < 0)
            end(fd);
        if (paid <= 0)
            return;
        events |= LAST_WORDS;
    }
    for (;;) {
        ssize_t got = recv(fd, buffer, size, 0);
        if (unlikely(got <= 0)) {
            if (got == 0 || errno != EAGAIN)
                end(fd);
            return;
        }
        int paid = send_or_queue(&queues[fd], fd, buffer, got);
        if (unlikely(paid < 0))
            end(fd);
        if (unlikely(paid <= 0) || likely((size_t)got < size && !(events & LAST_WORDS)))
            return;
    }
}

int main(int argc, char **argv)
{
    size = read_buffer(argc, argv);
    run(0);
}
