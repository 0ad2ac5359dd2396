"""The server, and what happens to it: stops, a shortage of descriptors, runs of bench."""

import asyncio
import collections
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys

from soaking.terms import BEYOND, DESCRIPTORS, HANG, HERE, KINDS, LIMIT, RESIDENT, SERVE, STOPS
from soaking.terms import dies_with_its_parent, now


class Server:
    """The server's process, as the kernel shows it."""

    def __init__(self, process, port, log):
        self.process, self.pid, self.port, self.log = process, process.pid, port, log

    def read(self, name):
        with open(f"/proc/{self.pid}/{name}", encoding="ascii") as file:
            return file.read()

    def resident(self):
        return int(self.read("statm").split()[1]) * resource.getpagesize()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def delayed(self):
        """For how many seconds it was ready to run without a processor."""
        return int(self.read("schedstat").split()[1]) / 1e9

    def processor(self):
        user, system = self.read("stat").rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class World:
    """A run: the server, the clients, and what is done to the server meanwhile."""

    def __init__(self, minutes, folder, program, seed):
        self.minutes, self.folder, self.program, self.seed = minutes, folder, program, seed
        self.random = random.Random(f"{seed} world")
        self.stops, self.shortages, self.samples = [], [], []
        self.benches = collections.Counter()
        self.violations = []
        self.peak = self.most_descriptors = 0
        # What is measured at the end, if the server is still there.
        self.after, self.processor, self.settled = (0, 0), 0.0, 0.0

    def violated(self, what):
        self.violations.append(what)

    async def start(self):
        log = os.path.join(self.folder, "server.jsonl")

        def prepare():
            resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
            dies_with_its_parent()

        with open(log, "wb") as output:
            process = subprocess.Popen([self.program, *SERVE], stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output, preexec_fn=prepare)
        deadline = now() + 30
        while now() < deadline and process.poll() is None:
            await asyncio.sleep(0.05)
            with open(log, encoding="utf-8") as lines:
                for line in lines:
                    if '"address"' in line and line.endswith("\n"):
                        port = int(json.loads(line)["address"].rsplit(":", 1)[1])
                        return Server(process, port, log)
        process.kill()
        raise SystemExit(f"the server does not listen, see {log}")

    async def sample(self):
        """Each 0.1 s, for how long the server was kept from the processors; seldom the rest."""
        count = 0
        while self.server.process.poll() is None:
            self.samples.append((now(), self.server.delayed()))
            if count % 5 == 0:
                self.peak = max(self.peak, self.server.resident())
                self.most_descriptors = max(self.most_descriptors, self.server.descriptors())
            count += 1
            await asyncio.sleep(0.1)

    async def stop_and_continue(self):
        while True:
            await asyncio.sleep(self.random.uniform(4, 25))
            begin = now()
            os.kill(self.server.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(self.random.choice(STOPS))
            finally:
                os.kill(self.server.pid, signal.SIGCONT)
                self.stops.append((begin, now()))

    async def take_descriptors(self):
        limit = resource.RLIMIT_NOFILE
        while True:
            await asyncio.sleep(self.random.uniform(10, 40))
            begin = now()
            # Fewer than there are, or hardly any more.
            left = self.server.descriptors() + self.random.choice((-50, 0, 1, 3, 10))
            resource.prlimit(self.server.pid, limit, (max(8, min(left, DESCRIPTORS)), DESCRIPTORS))
            try:
                await asyncio.sleep(self.random.uniform(0.5, 6))
            finally:
                resource.prlimit(self.server.pid, limit, (DESCRIPTORS, DESCRIPTORS))
                self.shortages.append((begin, now()))

    async def bench(self):
        number = 0
        while True:
            await asyncio.sleep(self.random.uniform(1, 8))
            how = self.random.choice((
                ["-c", "8", "-r", "150", "-s", "1000", "-d", "8s"],
                ["-c", "4", "-r", "60", "-s", "32KiB", "-p", "4", "-d", "8s"],
                ["-c", "2", "-r", "30", "--connect-per-message", "-d", "8s"],
                ["-c", "2", "--stream", "-d", "1s"],
            ))
            number += 1
            results = os.path.join(self.folder, f"bench-{number}.json")
            source = f"127.{10 + KINDS.index('bench')}.{number // 250}.{number % 250 + 1}"
            process = await asyncio.create_subprocess_exec(
                self.program, "bench", *how, "--grace", "60s", "--connect-timeout", "60s",
                "--source", source, "--json", results, f"127.0.0.1:{self.server.port}",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                preexec_fn=dies_with_its_parent)
            try:
                output, _ = await process.communicate()
            except asyncio.CancelledError:
                process.terminate()
                await process.wait()
                raise
            code = process.returncode
            self.benches[code] += 1
            try:
                with open(results, encoding="utf-8") as file:
                    ran = json.load(file)
            except (OSError, ValueError) as error:
                self.violated(f"bench {' '.join(how)} ended with {code} and no results: {error}")
                continue
            # The server may have been stopped for all of the measured time.
            lost = ran["errors"] or ran["unanswered"] or ran["warmup"]["unanswered"]
            stood_still = code == 1 and ran["messages"] == 0 and not lost
            # 4: this machine was too busy for the schedule.
            if code in (0, 4) or stood_still:
                self.benches["bytes"] += ran["verify"]["checked"]
                os.remove(results)
            else:
                self.violated(f"bench {' '.join(how)} from {source} ended with {code}: "
                              + output.decode(errors="replace"))

    async def run(self):
        self.begun = now()
        self.server = server = await self.start()
        await asyncio.sleep(0.5)
        self.base = server.resident(), server.descriptors()
        loads = [subprocess.Popen([sys.executable, "-B", "-m", "soaking.load", role,
                                   str(server.port), self.folder, str(self.seed)], cwd=HERE,
                                  stdin=subprocess.PIPE, preexec_fn=dies_with_its_parent)
                 for role in ("honest", "hostile")]
        sampler = asyncio.create_task(self.sample())
        tasks = [asyncio.create_task(task()) for task in
                 (self.stop_and_continue, self.take_descriptors, self.bench)]
        end = now() + self.minutes * 60
        told = now()
        try:
            while now() < end:
                await asyncio.sleep(0.5)
                if server.process.poll() is not None:
                    self.violated(f"the server ended with {server.process.returncode}")
                    break
                for load in loads:
                    if load.poll() is not None:
                        raise SystemExit(f"a load ended with {load.returncode}, see {self.folder}")
                for task in tasks:
                    if task.done():
                        task.result()
                if now() > told + 60:
                    told = now()
                    print(f"{(now() - self.begun) / 60:.0f} min: {server.resident() >> 10} KiB, "
                          f"{server.descriptors()} descriptors, {len(self.stops)} stops",
                          flush=True)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for load in loads:
                load.stdin.close()
            for load in loads:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(load.wait, HANG + 30)
                if load.poll() is None:
                    self.violated("the clients do not come to an end")
                    load.kill()
            if server.process.poll() is None:
                await self.settle()
            sampler.cancel()
            await asyncio.gather(sampler, return_exceptions=True)
            await self.finish()

    async def settle(self):
        """Without load, memory and descriptors are back within ten seconds."""
        server, (resident, descriptors) = self.server, self.base
        self.processor = server.processor()
        deadline = now() + 10
        while True:
            self.after = server.resident(), server.descriptors()
            back = self.after[0] <= resident + RESIDENT and self.after[1] == descriptors
            if back or now() > deadline:
                break
            await asyncio.sleep(0.1)
        self.settled = now() - deadline + 10
        if not back:
            self.violated(f"resident memory and descriptors were {self.base}, and {self.after} ten "
                          "seconds after the load")
        if self.peak > resident + LIMIT + BEYOND:
            self.violated(f"{self.peak} bytes resident, with a buffer limit of {LIMIT}")

    async def finish(self):
        process = self.server.process
        if process.poll() is None:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, 20)
            except subprocess.TimeoutExpired:
                self.violated("the server does not end within 20 s of SIGTERM")
                process.kill()
                process.wait()
        self.code = process.returncode
        with open(os.path.join(self.folder, "world.json"), "w", encoding="ascii") as file:
            json.dump({"stops": self.stops, "shortages": self.shortages, "without_processor":
                       self.samples}, file)
