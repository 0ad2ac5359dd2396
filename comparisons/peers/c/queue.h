/* What a socket did not take: for the servers on bare epoll, which keep one for each descriptor. */

#ifndef QUEUE_H
#define QUEUE_H

#include <errno.h>
#include <string.h>

#include "listen.h"

/* bytes is NULL exactly where nothing is owed. */
struct queue {
    char *bytes;
    size_t from, to, capacity;
};

static size_t stalled; /* how many queues hold something: mostly none, and then nobody looks */

static void queue_add(struct queue *queue, const char *bytes, size_t length)
{
    if (!queue->bytes) {
        queue->from = queue->to = queue->capacity = 0;
        stalled++;
    }
    if (queue->capacity - queue->to < length) {
        queue->capacity = 2 * queue->to + length;
        queue->bytes = realloc(queue->bytes, queue->capacity);
        if (!queue->bytes)
            die("realloc");
    }
    memcpy(queue->bytes + queue->to, bytes, length);
    queue->to += length;
}

static void queue_drop(struct queue *queue)
{
    if (queue->bytes)
        stalled--;
    free(queue->bytes);
    queue->bytes = NULL;
}

/* Sends until nothing is left (1), the socket is full (0), or the connection has failed (-1). */
static int queue_send(struct queue *queue, int fd)
{
    while (queue->from < queue->to) {
        ssize_t sent = send(fd, queue->bytes + queue->from, queue->to - queue->from, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN ? 0 : -1;
        queue->from += sent;
    }
    queue_drop(queue);
    return 1;
}

/* Sends, and keeps what the socket does not take: 1, 0 or -1 as above. */
static int send_or_queue(struct queue *queue, int fd, const char *bytes, size_t length)
{
    ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
    if (__builtin_expect(sent == (ssize_t)length, 1))
        return 1;
    if (sent < 0 && errno != EAGAIN)
        return -1;
    sent = sent < 0 ? 0 : sent;
    queue_add(queue, bytes + sent, length - sent);
    return queue_send(queue, fd); /* only EAGAIN promises an edge */
}

#endif
