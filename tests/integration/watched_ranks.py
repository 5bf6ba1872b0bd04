"""Ranks of a run whose output is kept with the time when it came, figures over many trials, and two network namespaces as two hosts."""
import collections
import fcntl
import os
import pathlib
import queue
import random
import signal
import struct
import subprocess
import threading
import time

from trainhost_run import BINARY

HANG = 60  # seconds after which a process that should end is taken for hung


class WatchedProcess:
    """A trainhost whose lines are kept as (monotonic time, text)."""

    def __init__(self, arguments, environment, prefix=()):
        self.process = subprocess.Popen([*prefix, BINARY, *map(str, arguments)], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors="replace")
        self.pid = self.process.pid
        self.lines = []
        self.ended = None
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line))
        self.process.wait()
        self.ended = time.monotonic()

    @property
    def running(self):
        return self.process.poll() is None

    @property
    def output(self):
        return "".join(text for _, text in self.lines)

    def says(self, words, limit=HANG):
        """Waits for a line with the words; False when the process ends or the time is up before."""
        deadline = time.monotonic() + limit
        while not any(words in text for _, text in self.lines):
            if self.ended is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def first_line(self, words, after):
        """When the first line with the words came, or None."""
        return next((when for when, text in self.lines if when >= after and words in text), None)

    def signal(self, number):
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def finish(self, limit=HANG):
        """Its exit code; None when it hangs."""
        self.reader.join(limit)
        return None if self.reader.is_alive() else self.process.returncode

    def end(self):
        if self.running:
            self.process.kill()
        self.reader.join(10)
        self.process.stdout.close()


class Figures:
    """What came out of many trials of one thing."""

    def __init__(self, row, what):
        self.row, self.what = row, what
        self.trials = 0
        self.failures = []
        self.seconds = []
        self.notes = collections.Counter()

    def add(self, problem, seconds=(), note=None):
        self.trials += 1
        if problem:
            self.failures.append(problem)
            print(f"row {self.row}, trial {self.trials} of {self.what} failed: {problem}", flush=True)
        self.seconds.extend(seconds)
        if note:
            self.notes[note] += 1

    def quantile(self, share):
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    def print(self):
        notes = "; ".join(f"{count} {note}" for note, count in sorted(self.notes.items()))
        print(f"| {self.row} | {self.what} | {self.trials} | {len(self.failures)} | {self.quantile(0.5):.2f} | {self.quantile(0.99):.2f} | {notes} |",
              flush=True)


class TwoHosts:
    """Two network namespaces and a wire between them in user space (two TUN devices), which can delay and be cut. Needs root."""

    ADDRESSES = ("10.77.0.1", "10.77.0.2")

    @staticmethod
    def obstacle():
        """Why this machine cannot have them; None if it can."""
        if os.geteuid() != 0:
            return "two network namespaces need root"
        try:
            name = f"thp{os.getpid()}"
            subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
            subprocess.run(["ip", "netns", "del", name], check=True, capture_output=True)
            os.close(os.open("/dev/net/tun", os.O_RDWR))
        except FileNotFoundError as problem:
            return f"two network namespaces need iproute2 and TUN devices: {problem}"
        except (OSError, subprocess.CalledProcessError) as problem:
            return f"this machine allows no network namespaces: {problem}"
        return None

    def __init__(self):
        self.names = [f"th{os.getpid()}{side}" for side in "ab"]
        self.delay = 0.0
        self.cut = False
        self.closed = False
        self.wires = []
        for name, own, peer in zip(self.names, self.ADDRESSES, reversed(self.ADDRESSES)):
            self._run("ip", "netns", "add", name)
            self.wires.append(self._open_device(name))
            self._run("ip", "link", "set", name, "netns", name)
            self._run("ip", "-n", name, "address", "add", own, "peer", peer, "dev", name)
            self._run("ip", "-n", name, "link", "set", name, "mtu", "32000", "up")
            self._run("ip", "-n", name, "link", "set", "lo", "up")
        self.threads = []
        for source, sink in ((0, 1), (1, 0)):
            packets = queue.SimpleQueue()
            self.threads += [threading.Thread(target=self._take, args=(self.wires[source], packets), daemon=True),
                             threading.Thread(target=self._deliver, args=(packets, self.wires[sink]), daemon=True)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _run(*command):
        subprocess.run(command, check=True, capture_output=True)

    @staticmethod
    def _open_device(name):
        kSetInterface, kTun, kNoPacketInformation = 0x400454CA, 0x0001, 0x1000
        wire = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(wire, kSetInterface, struct.pack("16sH22x", name.encode(), kTun | kNoPacketInformation))
        return wire

    def _take(self, wire, packets):
        while not self.closed:
            try:
                packet = os.read(wire, 65536)
            except OSError:
                return
            if not self.cut:
                packets.put((time.monotonic() + self.delay, packet))

    def _deliver(self, packets, wire):
        while not self.closed:
            when, packet = packets.get()
            if packet is None:
                return
            wait = when - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            if not self.cut:
                try:
                    os.write(wire, packet)
                except OSError:
                    pass  # the device is going down

    def prefix(self, host):
        return ("ip", "netns", "exec", self.names[host])

    def close(self):
        self.closed = True
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        for wire in self.wires:
            os.close(wire)


def established(port):
    """How many connections of this machine's loopback listener at the port are up."""
    count = 0
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        count += state == "01" and int(local.split(":")[1], 16) == port
    return count


def children_of(process):
    """The processes that this one has started."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(") ", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.append(int(folder.name))
    return sorted(found)
