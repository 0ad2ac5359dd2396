"""What a soak is made of: the settings of the server, the kinds of clients, the bounds."""

import ctypes
import os
import signal
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(HERE)
# The timeouts are shorter than the longest stop, which is no proof against anybody (C39).
IDLE, WRITE, DESCRIPTORS = 4, 4, 420
STOPS = (0.2, 0.5, 1, 2, 5)
# So low that the flooders not only reach it, but have to be given up for others.
LIMIT = 6 << 20
SERVE = ["serve", "-v", "--log-format", "json", "--buffer-limit", str(LIMIT),
         "--idle-timeout", f"{IDLE}s", "--write-timeout", f"{WRITE}s", "--send-buffer", "256KiB",
         "127.0.0.1:0"]
# What a turn of the server may take, by which it counts too early (C28).
TURN = 0.1
# How much of each stop may count as silence: 0.1 s, and a short one may go unnoticed (C39).
HOLD_UP = 0.3
# How long an honest client may wait for an answer, besides the times in which the server was
# stopped or either of both was ready to run without a processor.
BOUND = 1.0
# Longer waits are compared with those times; a shorter one is what it is.
JUDGED = 0.2
# After this long without an end something hangs.
HANG = 120
# What resident memory may differ by at the end, and the peak beyond the buffer limit.
RESIDENT, BEYOND = 4 << 20, 8 << 20
# Each kind of client has addresses of its own, so that the log shows what a connection was.
HONEST = {"light": 30, "stream": 3, "half": 2, "urgent": 2, "churn": 2}
HOSTILE = {"flood": 110, "mute": 30, "slow": 6, "drowsy": 10, "idler": 20, "vanish": 2, "reset": 2}
SMALL_BUFFERS = ("flood", "wave", "mute", "slow", "drowsy")
KINDS = [*HONEST, *HOSTILE, "crowd", "wave", "bench"]
now = time.monotonic


def dies_with_its_parent():
    """A server that is stopped must not outlive a soak that was killed (prctl(2))."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
