"""The clients of one process, until its standard input ends.

    python3 -m soaking.load ROLE PORT FOLDER SEED
"""

import asyncio
import collections
import errno
import json
import math
import os
import random
import resource
import signal
import sys

from soaking.peer import Peer, Wrong
from soaking.sessions import SESSIONS
from soaking.terms import HANG, HONEST, HOSTILE, JUDGED, KINDS, SMALL_BUFFERS, now


class Load:
    """The clients of one process."""

    def __init__(self, port, folder, role, seed):
        self.port, self.role = port, role
        self.random = random.Random(f"{seed} {role}")
        self.noise = self.random.randbytes(4 << 20)
        self.counts = collections.Counter()
        self.latencies = collections.Counter()
        self.worst = 0.0
        self.ending = False
        self.loop = asyncio.get_running_loop()
        self.out = open(os.path.join(folder, f"{role}.jsonl"), "w", encoding="ascii")

    def tell(self, **what):
        self.out.write(json.dumps(what) + "\n")

    def source(self, kind):
        self.counts[kind] += 1
        high, low = divmod(self.counts[kind] % 62500, 250)
        return f"127.{10 + KINDS.index(kind)}.{high}.{low + 1}"

    def some(self, most):
        size = self.random.randint(1, most)
        begin = self.random.randrange(len(self.noise) - size)
        return self.noise[begin:begin + size]

    def answered(self, peer, begin):
        end = now()
        # The power of two that it is below, in milliseconds.
        self.latencies[2.0 ** math.floor(math.log2((end - begin) * 1000) + 1)] += 1
        if end - begin > JUDGED:
            self.tell(waited=[begin, end], first=peer.first, name=peer.name, kind=peer.kind)
        else:
            self.worst = max(self.worst, end - begin)

    async def heartbeat(self):
        """Records when this process itself was late."""
        due = now()
        while True:
            due = max(due + 0.05, now())
            await asyncio.sleep(due - now())
            if now() > due + 0.03:
                self.tell(late=[due, now()])

    async def one(self, kind):
        """One connection of a kind, from its begin to its end."""
        peer = Peer(self, kind, 32 << 10 if kind in SMALL_BUFFERS else 0)
        outcome, detail = "ended", None
        try:
            async with asyncio.timeout(HANG):
                await peer.connect()
                outcome = await SESSIONS[kind](self, peer) or "whole"
        except (TimeoutError, Wrong) as error:
            outcome, detail = "wrong", str(error) or f"no end after {HANG} s"
        except ConnectionError as error:
            outcome, detail = "reset", errno.errorcode.get(error.errno)
        finally:
            peer.socket.close()
            self.tell(name=peer.name, kind=kind, outcome=outcome, detail=detail, sent=peer.sent,
                      received=peer.received, opened=peer.opened, closed=now())

    async def again_and_again(self, kind):
        pauses = {"churn": 0.05, "vanish": 0.1, "reset": 0.2, "half": 0.3, "urgent": 0.1}
        pause = pauses.get(kind, 1.0)
        await asyncio.sleep(self.random.uniform(0, 3))
        while not self.ending:
            await self.one(kind)
            await asyncio.sleep(self.random.uniform(0, 2 * pause))

    async def crowds(self):
        """Now and then more connections than there are descriptors: silent ones, or a flood."""
        while not self.ending:
            await asyncio.sleep(self.random.uniform(15, 40))
            begin = now()
            self.crowd_ends = begin + self.random.uniform(1, 6)
            kind = self.random.choice(("crowd", "wave"))
            await asyncio.gather(*(self.one(kind) for _ in range(self.random.randint(50, 450))))
            self.tell(shortage=[begin, now()])

    async def run(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        kinds = HONEST if self.role == "honest" else HOSTILE
        tasks = [asyncio.create_task(self.again_and_again(kind))
                 for kind, count in kinds.items() for _ in range(count)]
        if self.role == "hostile":
            tasks.append(asyncio.create_task(self.crowds()))
        beat = asyncio.create_task(self.heartbeat())
        # It ends with its standard input, so also with whoever has started it.
        await self.loop.run_in_executor(None, sys.stdin.read)
        self.ending = True
        if self.role == "hostile":
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled() and task.exception():
                self.tell(broken=repr(task.exception()))
        beat.cancel()
        self.tell(latencies=sorted(self.latencies.items()), worst=self.worst)
        self.out.close()


async def main():
    role, port, folder, seed = sys.argv[1:]
    await Load(int(port), folder, role, seed).run()


if __name__ == "__main__":
    # Ctrl-C in a terminal reaches this process, too; its input tells when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(main())
