# Networks of their own, forged packets, and a count of what goes over a wire: what the tests of the
# datagram echo put before their scripts. The first argument is the program under test.

import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time

PROGRAM = sys.argv[1]
PATIENCE = 30
# From linux/if_ether.h and linux/if_packet.h.
ALL_PROTOCOLS, OUTGOING = 3, 4


def run(line):
    subprocess.run(line.split(), check=True)


run("ip link set lo up")


class Host:
    """Another machine, as far as the network can tell, at the other end of a cable."""

    def __init__(self):
        self.sleeper = subprocess.Popen(["unshare", "-n", "sleep", "600"])
        ours = os.readlink("/proc/self/ns/net")
        until(lambda: os.readlink(f"/proc/{self.sleeper.pid}/ns/net") != ours)
        self.within = ["nsenter", "-n", "-t", str(self.sleeper.pid)]
        run("ip link add here type veth peer name there")
        run(f"ip link set there netns {self.sleeper.pid}")
        run("ip address add 10.0.0.1/24 brd + dev here")
        run("ip address add fd00::1/64 dev here nodad")
        run("ip link set here up")
        self.run("ip link set lo up")
        self.run("ip address add 10.0.0.2/24 brd + dev there")
        self.run("ip address add fd00::2/64 dev there nodad")
        self.run("ip link set there up")
        self.run("ip route add 224.0.0.0/4 dev there")
        up = lambda: "tentative" not in self.read("ip -6 address") and "state UP" in self.read(
            "ip link show there"
        )
        until(up)

    def run(self, line):
        run(" ".join([*self.within, line]))

    def read(self, line):
        return subprocess.check_output([*self.within, *line.split()], text=True)

    def python(self, script, *arguments):
        words = [*self.within, sys.executable, "-c", script, *arguments]
        return subprocess.check_output(words, text=True)

    def end(self):
        self.sleeper.kill()
        self.sleeper.wait()


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


class Server:
    def __init__(self, *arguments, host=None):
        within = host.within if host else []
        self.process = subprocess.Popen(
            [*within, PROGRAM, "serve", *arguments], stderr=subprocess.PIPE, text=True
        )
        # nsenter becomes the program, so signals go there.
        left = sum(argument.startswith("udp://") for argument in arguments)
        while left:
            line = self.process.stderr.readline()
            assert line, "the server has ended"
            left -= "listening on" in line

    def end(self):
        """Ends it and returns its totals, as far as they are about datagrams."""
        self.process.send_signal(signal.SIGTERM)
        log = self.process.stderr.read()
        assert self.process.wait() == 0, log
        fields = re.findall(r"((?:refused|datagrams?)_\w+)=(\d+)", log.splitlines()[-1])
        return {name: int(value) for name, value in fields}


def forge(source, to, payload):
    """Sends a datagram with this address and port as its source."""
    udp = struct.pack("!HHHH", source[1], to[1], 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(to[0])
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + addresses
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(ip + udp, (to[0], 0))


class Wire:
    """Counts datagrams that go over an interface."""

    def __init__(self, interface):
        self.is_loopback = interface == "lo"
        self.socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PROTOCOLS)
        )
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((interface, ALL_PROTOCOLS))

    def until_silent(self):
        """Returns how many came, when half a second has passed without one."""
        count, deadline = 0, time.monotonic() + PATIENCE
        while select.select([self.socket], [], [], 0.5)[0]:
            assert time.monotonic() < deadline, f"{count} datagrams, and no end of it"
            packet, (_, _, kind, *_) = self.socket.recvfrom(65536)
            # What goes over the loopback passes here on its way out and on its way in.
            is_new = not (self.is_loopback and kind == OUTGOING)
            is_udp = (packet[0] >> 4, packet[9]) == (4, 17) or (packet[0] >> 4, packet[6]) == (6, 17)
            count += is_new and is_udp
        return count
