"""Who is compared: every file of this folder is an adapter, and a new one is found by itself.

An adapter holds one `PEER`, an instance of a class that extends `Peer`: what it is called, which Debian packages it needs, how
it is configured and started. Rules that hold for all, so that what is compared is comparable:

- it caches at most `place.cache_bytes`, with `place.workers` workers or threads for requests, for an hour and without asking again;
- it starts in `place.directory`, which is empty for a cold read, and keeps everything there;
- it writes one access log line a request, into a file;
- it passes lists through, and answers GET and HEAD of objects from its cache;
- who does not sign requests itself takes the client's signature off: the origin lets anyone read.
"""

import contextlib
import dataclasses
import importlib
import os
import pkgutil
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import servers

# The client's signature does not fit what is asked of the origin, which takes unsigned requests.
SIGNATURE_FIELDS = ("authorization", "x-amz-date", "x-amz-content-sha256")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an adapter works, and what it may use."""

    directory: Path
    # HOST:PORT of the store far away.
    origin: str
    cache_bytes: int
    workers: int = 2
    # Whether who caches in memory may keep as much on disk, too.
    has_disk: bool = True
    # Of s3proxy alone: forward and compare instead of answering.
    compares: bool = False


class Peer:
    # In results and files.
    name = ""
    # In reports.
    title = ""
    # Where it stands in reports; s3proxy is the last.
    order = 50
    # What it needs of Debian.
    packages = ()
    # Whether it checks who asks.
    verifies = False
    # Whether its cache outlives it.
    persists = False
    # What a reader has to know of how it was set up.
    notes = ()
    # The key pair that clients sign with.
    credentials = servers.ANALYST

    def version(self):
        """What it says of itself; None where it is not installed."""
        raise NotImplementedError

    def serve(self, place):
        """A context manager that yields a running `Server`."""
        raise NotImplementedError


class Server:
    """Running processes, where they listen, and what the system says of them."""

    TICKS = os.sysconf("SC_CLK_TCK")

    def __init__(self, host, credentials, running, admin=None):
        self.host = host
        self.credentials = credentials
        self.running = running
        self.admin = admin

    def cpu_seconds(self):
        """User and system time of all processes so far."""

        def ticks(pid):
            fields = read(pid, "stat").rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])

        return sum(ticks(pid) for pid in self.pids()) / self.TICKS

    def forget_peak(self):
        """Begins a new peak of memory, where that is allowed: see `clear_refs` in proc(5)."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_rss_mib(self):
        """The most that was resident. What processes share is counted for each."""
        return self.sum_kib("status", "VmHWM") // 1024

    def pss_mib(self):
        """What is resident now. What processes share is divided among them."""
        return self.sum_kib("smaps_rollup", "Pss") // 1024

    def sum_kib(self, file, field):
        found = (re.search(rf"^{field}:\s+(\d+) kB", read(pid, file), re.M) for pid in self.pids())
        return sum(int(match[1]) for match in found if match)

    def pids(self):
        """The started processes and all that they started."""
        known, new = [], [running.popen.pid for running in self.running]
        while new:
            known += new
            new = [child for pid in new for child in children(pid)]
        return known

    def tail(self):
        lines = [line for running in self.running for line in running.log.read_text(errors="replace").splitlines()]
        return "\n".join(lines[-20:])


def children(pid):
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def read(pid, name):
    return Path(f"/proc/{pid}/{name}").read_text()


@contextlib.contextmanager
def started(place, name, command, environment=None, last_signal=signal.SIGTERM):
    """Starts one process with its output in a file of the place."""
    environment = clean_environment() | (environment or {})
    with servers.process(command, place.directory / f"{name}.log", environment, last_signal) as running:
        yield running


def listens(host):
    name, port = host.split(":")
    with socket.create_connection((name, int(port)), timeout=1):
        return True


def clean_environment():
    """Ours without anything that would decide for a client or a server; with Debian's folders of servers in the path."""
    words = ("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "S3PROXY_")
    exact = ("ENDPOINT", "PORT", "LISTEN", "ADMIN", "CACHE_DIR", "CACHE_MEMORY", "CACHE_DISK")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(words) and name.upper() not in exact
    }
    return kept | {"PATH": f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"}


def said_version(command, pattern):
    """The version in what a command prints; None where there is no such command."""
    path = shutil.which(command[0], path=clean_environment()["PATH"])
    if path is None:
        return None
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown"


def peers():
    """All adapters, in their order."""
    modules = [importlib.import_module(f"ways.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return sorted((module.PEER for module in modules), key=lambda peer: (peer.order, peer.name))
