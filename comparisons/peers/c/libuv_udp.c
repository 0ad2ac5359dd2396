/* Echo of datagrams on libuv: one socket and one buffer for all, uv_udp_try_send at once. */

#include <uv.h>

#include "listen.h"

static uv_buf_t received;

/* Each datagram is answered before the next is received. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle, (void)suggested;
    *buffer = received;
}

static void on_datagram(uv_udp_t *socket, ssize_t got, const uv_buf_t *buffer,
                        const struct sockaddr *from, unsigned flags)
{
    (void)flags;
    if (!from)
        return; /* nothing is left, or something went wrong */
    uv_buf_t answer = uv_buf_init(buffer->base, got);
    uv_udp_try_send(socket, &answer, 1, from); /* without room it is lost */
}

int main(int argc, char **argv)
{
    static uv_udp_t socket;
    size_t size = read_buffer(argc, argv);
    received = uv_buf_init(malloc(size), size);
    if (!received.base)
        die("malloc");
    int fd = listen_where_told();
    uv_loop_t *loop = uv_default_loop();
    if (uv_udp_init(loop, &socket) < 0 || uv_udp_open(&socket, fd) < 0
        || uv_udp_recv_start(&socket, on_alloc, on_datagram) < 0)
        die("libuv");
    announce(fd);
    uv_run(loop, UV_RUN_DEFAULT);
}
