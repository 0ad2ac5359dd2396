/* The chat room on libuv: a list of members, uv_try_write at once, and uv_write for the rest. */

#include "libuv.h"
#include "message.h"

struct member {
    union stream stream; /* first, so that a stream can be cast to its member */
    struct partial partial;
    struct member *next, **back;
};

static struct member *members, **last = &members; /* in the order in which they joined */

static void leave(struct member *member)
{
    if (uv_is_closing((uv_handle_t *)member))
        return;
    *member->back = member->next;
    *(member->next ? &member->next->back : &last) = member->back;
    uv_close((uv_handle_t *)member, on_closed);
}

static void on_written(uv_write_t *request, int status)
{
    struct member *member = (struct member *)request->handle;
    free(request);
    if (status < 0)
        leave(member);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct member *sender = (struct member *)stream, *next;
    if (got < 0)
        leave(sender);
    if (got <= 0)
        return;
    char *bytes = buffer->base;
    size_t length = whole_messages(&sender->partial, &bytes, got);
    if (length == 0)
        return;
    for (struct member *member = members; member; member = next) {
        next = member->next;
        if (member != sender
            && write_now_or_later((uv_stream_t *)member, bytes, length, on_written) < 0)
            leave(member);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct member *member = accept_one(listener, status, sizeof *member);
    if (!member)
        return;
    member->partial.length = 0;
    member->next = NULL;
    member->back = last;
    *last = member;
    last = &member->next;
    if (uv_read_start((uv_stream_t *)member, on_alloc, on_read) < 0)
        leave(member);
}

int main(int argc, char **argv)
{
    run(argc, argv, MESSAGE, on_connection);
}
