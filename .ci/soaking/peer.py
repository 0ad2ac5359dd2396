"""A client's end of a connection, which counts and compares every byte."""

import asyncio
import socket
import struct

from soaking.terms import KINDS, now


class Wrong(Exception):
    """The server did what it must not do."""


class Peer:
    """A client's end of a connection."""

    def __init__(self, load, kind, receive_buffer):
        self.load, self.kind, self.opened = load, kind, now()
        self.sent = self.received = 0
        self.first = True
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 << 10)
        ip_bind_address_no_port = 24
        self.socket.setsockopt(socket.IPPROTO_IP, ip_bind_address_no_port, 1)
        self.socket.bind((load.source(kind), 0))
        self.name = None

    async def connect(self):
        await self.load.loop.sock_connect(self.socket, ("127.0.0.1", self.load.port))
        self.name = "%s:%d" % self.socket.getsockname()

    async def send(self, data):
        view = memoryview(data)
        while view:
            try:
                count = self.socket.send(view)
            except BlockingIOError:
                await self.room()
                continue
            self.sent += count
            view = view[count:]

    async def room(self):
        """Waits until the socket takes something. Sends nothing: a wait that is cancelled would not say."""
        loop, found = self.load.loop, self.load.loop.create_future()
        loop.add_writer(self.socket, lambda: found.done() or found.set_result(None))
        try:
            await found
        finally:
            loop.remove_writer(self.socket)

    async def receive(self, most):
        data = await self.load.loop.sock_recv(self.socket, most)
        self.received += len(data)
        return data

    async def expect(self, expected):
        view = memoryview(expected)
        while view:
            data = await self.receive(len(view))
            if not data:
                raise Wrong(f"end of the stream, {len(view)} bytes before its time")
            if data != view[:len(data)]:
                raise Wrong(f"other bytes than were sent, near byte {self.received}")
            view = view[len(data):]

    async def exchange(self, data):
        begin = now()
        await self.send(data)
        await self.expect(data)
        self.load.answered(self, begin)
        self.first = False

    async def expect_end(self):
        data = await self.receive(1)
        if data:
            raise Wrong("more bytes than were sent")

    async def finish(self):
        self.socket.shutdown(socket.SHUT_WR)
        await self.expect_end()

    async def read_all(self, expected, rest=None):
        """Reads to the end and returns how much that was, all as expected. `rest` is how much at a
        time, and a function that says for how many seconds it rests behind it."""
        position = 0
        while True:
            data = await self.receive(rest[0] if rest else 64 << 10)
            if not data:
                return position
            if data != expected[position:position + len(data)]:
                raise Wrong(f"other bytes than were sent, near byte {self.received}")
            position += len(data)
            if rest:
                await asyncio.sleep(rest[1]())

    def reset(self):
        """Has close(2) send an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
