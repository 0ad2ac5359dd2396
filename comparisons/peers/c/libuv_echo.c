/* Echo on libuv: one buffer for everybody, uv_try_write at once, and uv_write for the rest. */

#include "libuv.h"

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer);

static void on_written(uv_write_t *request, int status)
{
    uv_stream_t *stream = request->handle;
    free(request);
    if (uv_is_closing((uv_handle_t *)stream))
        return;
    if (status < 0 || uv_read_start(stream, on_alloc, on_read) < 0)
        uv_close((uv_handle_t *)stream, on_closed);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    if (got < 0)
        uv_close((uv_handle_t *)stream, on_closed);
    if (got <= 0)
        return;
    int kept = write_now_or_later(stream, buffer->base, got, on_written);
    if (kept > 0)
        uv_read_stop(stream); /* until it is written */
    else if (kept < 0)
        uv_close((uv_handle_t *)stream, on_closed);
}

static void on_connection(uv_stream_t *listener, int status)
{
    union stream *connection = accept_one(listener, status, sizeof *connection);
    if (connection && uv_read_start(&connection->stream, on_alloc, on_read) < 0)
        uv_close((uv_handle_t *)connection, on_closed);
}

int main(int argc, char **argv)
{
    run(argc, argv, 0, on_connection);
}
