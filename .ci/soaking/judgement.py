"""Compares the log of the server with what the clients saw, connection by connection."""

import bisect
import collections
import json
import os

from soaking.terms import BOUND, HOLD_UP, HONEST, IDLE, KINDS, TURN, WRITE, now

FAILED = ("failed: ",)
GIVEN_UP = ("write timeout", "buffer limit for output reached")
# What the log may say of a connection of a kind whose client saw this; a prefix of the reason.
EXPLAINED = {
    **{(kind, "whole"): ("finished",) for kind in (*HONEST, "slow", "drowsy")},
    ("flood", "reset"): GIVEN_UP,
    ("flood", "ended"): (*GIVEN_UP, *FAILED, "finished"),
    ("wave", "reset"): GIVEN_UP,
    # Whoever leaves before anything has come back ends its stream in good order.
    ("wave", "left"): (*GIVEN_UP, *FAILED, "finished"),
    ("wave", "ended"): (*GIVEN_UP, *FAILED, "finished"),
    ("mute", "reset"): GIVEN_UP,
    ("mute", "left"): (*GIVEN_UP, *FAILED, "idle timeout", "finished"),
    ("mute", "ended"): (*GIVEN_UP, *FAILED, "idle timeout", "finished"),
    ("slow", "ended"): (*FAILED, "finished"),
    ("drowsy", "reset"): (*GIVEN_UP, "idle timeout"),
    ("drowsy", "short"): ("idle timeout",),
    ("drowsy", "ended"): (*GIVEN_UP, *FAILED, "idle timeout", "finished"),
    ("idler", "end"): ("idle timeout",),
    ("idler", "ended"): ("finished", "idle timeout"),
    ("vanish", "left"): ("finished",),
    ("vanish", "own reset"): FAILED,
    ("vanish", "ended"): ("finished", *FAILED),
    ("reset", "own reset"): (*FAILED, "buffer limit for output reached"),
    ("reset", "ended"): (*FAILED, "finished"),
    ("crowd", "left"): ("finished", "idle timeout"),
    ("crowd", "ended"): ("finished", "idle timeout"),
}
# Whoever sees this has read all that the server sent.
TO_THE_END = ("whole", "short", "end")


class Judgement:
    """Finds what was violated in a run, and says what happened in it."""

    def __init__(self, world):
        self.world, self.violated = world, world.violated
        self.records = collections.defaultdict(collections.deque)
        self.waits, self.idles = [], []
        self.late = {"honest": [], "hostile": []}
        self.shortages = list(world.shortages)
        self.outcomes = collections.Counter()
        self.verified = collections.Counter()
        self.reasons = collections.Counter()
        self.warnings = collections.Counter()
        self.latencies = collections.Counter()
        self.worst = self.worst_raw = 0.0
        self.totals = None
        self.earliest = 0.0
        self.excused = 0

    def judge(self):
        self.read_records()
        self.judge_times()
        self.judge_log()
        self.say()

    def lines(self, name):
        with open(os.path.join(self.world.folder, name), encoding="utf-8") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    self.violated(f"{name} has a line that is no JSON: {line[:200]!r}")

    def read_records(self):
        for role in self.late:
            for record in self.lines(f"{role}.jsonl"):
                if "outcome" in record:
                    self.records[record["name"]].append(record)
                    self.outcomes[record["kind"], record["outcome"]] += 1
                    self.verified[record["kind"]] += record["received"]
                elif "waited" in record:
                    self.waits.append((role, record))
                elif "late" in record:
                    self.late[role].append(record["late"])
                elif "shortage" in record:
                    self.shortages.append(record["shortage"])
                elif "idle" in record:
                    self.idles.append(record["idle"])
                elif "latencies" in record:
                    self.latencies.update(dict(record["latencies"]))
                    self.worst = max(self.worst, record["worst"])
                else:
                    self.violated(f"a client of this script failed: {record}")

    def excuse(self, begin, end, role, newcomer=False):
        """How much of a time the server was stopped, or one of both had no processor."""
        spans = [*self.world.stops, *self.late[role]]
        if newcomer:
            # It waits for a descriptor; and a pause of accepting ends by a timer.
            spans += [(a, b + 1) for a, b in self.shortages]
        reached, excused = begin, 0.0
        for a, b in sorted((a, b) for a, b in spans if a < end and b > begin):
            excused += max(0.0, min(b, end) - max(a, reached))
            reached = max(reached, min(b, end))
        samples = self.world.samples
        first = max(0, bisect.bisect_left(samples, (begin,)) - 1)
        last = min(len(samples) - 1, bisect.bisect_right(samples, (end,)))
        return excused + samples[last][1] - samples[first][1]

    def judge_times(self):
        for role, record in self.waits:
            begin, end = record["waited"]
            waited = end - begin - self.excuse(begin, end, role, record["first"])
            self.worst_raw = max(self.worst_raw, end - begin)
            self.worst = max(self.worst, waited)
            if waited > BOUND:
                self.violated(f"an honest client waited {waited:.3f} s for an answer, beside "
                              f"{end - begin - waited:.3f} s with a reason: {record}")
        for begin, end in self.idles:
            lasted, excused = end - begin, self.excuse(begin, end, "hostile", True)
            # The server counts from the begin of the turn in which it has read (C28).
            self.earliest = max(self.earliest, IDLE - lasted)
            if lasted < IDLE - TURN:
                self.violated(f"idle timeout after {lasted:.3f} s, set to {IDLE} s, at {begin}")
            stops = [(a, b) for a, b in self.world.stops if a < end and b > begin]
            stopped = sum(min(b, end) - max(a, begin) for a, b in stops)
            if lasted - stopped < IDLE - TURN - HOLD_UP * len(stops):
                self.violated(f"idle timeout after {lasted:.3f} s, {stopped:.3f} s of it stopped")
            if lasted - 2 * excused > 1.2 * IDLE:
                self.violated(f"idle timeout after {lasted:.3f} s, {excused:.3f} s with a reason")

    def judge_log(self):
        totals, ended, opened = None, 0, 0
        sums = collections.Counter()
        for line in self.lines("server.jsonl"):
            message = line.get("message", "")
            if message == "opened":
                opened += 1
            elif message == "closed":
                ended += 1
                sums["bytes_in"] += line["bytes_in"]
                sums["bytes_out"] += line["bytes_out"]
                self.judge_close(line)
            elif message == "totals":
                totals = line
            elif line.get("level") in ("WARN", "ERROR"):
                kind = "".join("N" if c.isdigit() else c for c in message)
                self.warnings[" ".join(kind.split())[:70]] += 1 + line.get("suppressed", 0)
        for name, records in self.records.items():
            for record in records:
                self.violated(f"the log does not say how {name} ended: {record}")
        if totals is None:
            return self.violated("the log has no totals")
        self.totals = totals
        counted = {"accepted": opened, "ended": ended, "cut_off": 0, **sums}
        for name, count in counted.items():
            if totals[name] != count:
                self.violated(f"{name} is {totals[name]} in the totals, {count} in the lines")
        if opened != ended:
            self.violated(f"{opened} connections were opened, {ended} ended")
        if "log_lines_dropped" in totals:
            self.violated(f"lines missing in the log: {totals['log_lines_dropped']}")
        code = 1 if totals["bytes_dropped"] else 0
        if self.world.code != code:
            self.violated(f"exit code {self.world.code}, not {code}")

    def judge_close(self, line):
        kind = KINDS[int(line["peer"].split(".")[1]) - 10]
        reason = line["reason"]
        self.reasons[kind, reason.split(",")[0]] += 1
        for name, least in (("idle timeout", IDLE), ("write timeout", WRITE)):
            if reason.startswith(name) and line["duration_ms"] < least * 1000:
                self.violated(f"{name} sooner than after {least} s: {line}")
        if kind == "bench":
            if reason != "finished":
                self.violated(f"a connection of bench: {line}")
            return
        records = self.records.get(line["peer"])
        if not records:
            return self.violated(f"no client knows of this: {line}")
        record = records.popleft()
        outcome, received = record["outcome"], record["received"]
        expected = EXPLAINED.get((kind, outcome))
        if expected is None:
            if kind in HONEST or kind == "slow":
                # Our own process stood still, so that it did take nothing for a while.
                late = self.late["honest" if kind in HONEST else "hostile"]
                end = record["closed"]
                stood = max((b - a for a, b in late if a > end - 5 and b <= end + 1), default=0)
                if outcome == "reset" and reason.startswith(GIVEN_UP[1]) and stood > 0.2:
                    self.excused += 1
                    return
            self.violated(f"a client's end: {record}, and the server's: {line}")
        elif not reason.startswith(expected):
            self.violated(f"this reason is not explained by the load: {line}, client {record}")
        if outcome in TO_THE_END and received != line["bytes_out"]:
            self.violated(f"lost on the way: {line}, client {record}")
        if outcome == "whole" and not (record["sent"] == received == line["bytes_in"]):
            self.violated(f"not all came back: {line}, client {record}")
        if line["bytes_in"] > record["sent"] or received > line["bytes_out"]:
            self.violated(f"more came than was sent: {line}, client {record}")

    def say(self):
        world = self.world
        self.verified["bench"] = world.benches.pop("bytes", 0)
        print(f"\n{(now() - world.begun) / 60:.1f} min, seed {world.seed}")
        kinds = collections.Counter()
        for (kind, _), count in self.reasons.items():
            kinds[kind] += count
        table = {}
        for kind, count in kinds.items():
            reasons = [f"{reason} {n}" for (k, reason), n in sorted(self.reasons.items())
                       if k == kind]
            table[kind] = f"{count:7}   {self.verified[kind] >> 20:7} MiB   {'; '.join(reasons)}"
        print("          connections   verified   closes by reason in the log")
        for kind in KINDS:
            if kind in table:
                print(f"  {kind:10} {table[kind]}")
        print(f"bench runs by exit code: {dict(world.benches)}")
        answers = sum(self.latencies.values())
        stopped = sum(b - a for a, b in world.stops)
        print(f"honest answers {answers}; the longest wait {self.worst_raw or self.worst:.3f} s, "
              f"{self.worst:.3f} s without stops, shortages and want of a processor")
        print("  below " + ", ".join(f"{bound:.3g} ms {n}" for bound, n in
                                     sorted(self.latencies.items())))
        print(f"stops {len(world.stops)}, {stopped:.1f} s; descriptors taken away "
              f"{len(world.shortages)} times, crowds {len(self.shortages) - len(world.shortages)}")
        print(f"without a processor {world.samples[-1][1]:.1f} s; processor time of the server "
              f"{world.processor:.1f} s")
        print(f"resident {world.base[0] >> 10} KiB before, {world.peak >> 10} at the peak, "
              f"{world.after[0] >> 10} after; descriptors {world.base[1]}, "
              f"{world.most_descriptors}, {world.after[1]}; back in {world.settled:.1f} s")
        print(f"idle timeouts came {self.earliest * 1000:.3f} ms early at most")
        print(f"resets of honest clients that had stood still themselves: {self.excused}")
        for warning, count in self.warnings.most_common():
            print(f"  {count:7} {warning}")
        print(f"exit code {world.code}, {json.dumps(self.totals)}")
