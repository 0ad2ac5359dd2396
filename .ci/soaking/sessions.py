"""What each kind of client does with a connection.

A session returns how it ended: "whole" if nothing is said.
"""

import asyncio
import contextlib
import socket

from soaking.peer import Wrong
from soaking.terms import HANG, KINDS, now


async def light(load, peer):
    for _ in range(load.random.randint(1, 150)):
        await peer.exchange(load.some(load.random.choice((16, 200, 3000, 16000))))
        if load.ending:
            break
        await asyncio.sleep(load.random.uniform(0, 0.25))
    await peer.finish()


async def churn(load, peer):
    await peer.exchange(load.some(500))


async def stream(load, peer):
    data = load.some(4 << 20)

    async def send():
        for begin in range(0, len(data), 32 << 10):
            await peer.send(data[begin:begin + (32 << 10)])
            await asyncio.sleep(0.03)
        peer.socket.shutdown(socket.SHUT_WR)

    await all_or_error(send(), expect_all(peer, data))


async def half(load, peer):
    if load.random.random() < 0.5:
        # Fits into the buffers of the kernel; nobody reads meanwhile.
        data = load.some(40 << 10)
        await peer.send(data)
        peer.socket.shutdown(socket.SHUT_WR)
        await asyncio.sleep(load.random.uniform(0, 1))
        return await expect_all(peer, data)
    data = load.some(1 << 20)

    async def send():
        await peer.send(data)
        peer.socket.shutdown(socket.SHUT_WR)

    await all_or_error(send(), expect_all(peer, data))


async def urgent(load, peer):
    for _ in range(load.random.randint(1, 20)):
        before, after = load.some(300), load.some(300)
        begin = now()
        await peer.send(before)
        peer.sent += peer.socket.send(b"!", socket.MSG_OOB)
        await peer.send(after)
        await peer.expect(before + b"!" + after)
        load.answered(peer, begin)
        peer.first = False
        await asyncio.sleep(load.random.uniform(0, 0.2))
    await peer.finish()


async def expect_all(peer, data, rest=None):
    count = await peer.read_all(data, rest)
    if count != len(data):
        raise Wrong(f"end of the stream behind {count} of {len(data)} bytes")


async def all_or_error(*parts):
    """All parts to their ends; with the first error the others end, too."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def flood(load, peer):
    while True:
        await peer.send(load.noise[:64 << 10])


async def mute(load, peer):
    data, end = load.some(1 << 20), now() + load.random.uniform(3, 25)

    async def send():
        for begin in range(0, len(data), 16 << 10):
            await peer.send(data[begin:begin + (16 << 10)])
            await asyncio.sleep(0.02)
        await asyncio.sleep(HANG)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(load.loop.time() + end - now()):
            await send()
    return "left"


async def slow(load, peer):
    """Reads little at a time, but steadily, and gets everything."""
    data = load.some(500 << 10)

    async def send():
        await peer.send(data)
        peer.socket.shutdown(socket.SHUT_WR)

    await all_or_error(send(), expect_all(peer, data, (16 << 10, lambda: 0.1)))


async def drowsy(load, peer):
    """Reads now and then. Gets everything, unless it sleeps for longer than it may."""
    data = load.some(1 << 20)
    counts = []

    async def send():
        await peer.send(data)
        peer.socket.shutdown(socket.SHUT_WR)

    async def read():
        rest = (256 << 10, lambda: load.random.choice((0.05, 0.05, 0.5, 3, 12)))
        counts.append(await peer.read_all(data, rest))

    await all_or_error(send(), read())
    return "whole" if counts[0] == len(data) else "short"


async def idler(load, peer):
    begin = now()
    await peer.exchange(load.some(100))
    await peer.expect_end()
    load.tell(idle=[begin, now()])
    return "end"


async def vanish(load, peer):
    if load.random.random() < 0.5:
        peer.reset()
        return "own reset"
    return "left"


async def reset(load, peer):
    data = load.some(200 << 10)

    async def send():
        await peer.send(data)

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(load.random.uniform(0, 0.2)):
            await all_or_error(send(), peer.read_all(data))
    peer.reset()
    return "own reset"


async def crowd(load, peer):
    await asyncio.sleep(load.crowd_ends - now())
    return "left"


async def wave(load, peer):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(load.loop.time() + load.crowd_ends - now()):
            await flood(load, peer)
    return "left"


SESSIONS = {kind: globals()[kind] for kind in KINDS if kind != "bench"}
