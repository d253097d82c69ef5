"""s3proxy itself: clients are verified and authorized, requests to the origin are signed anew."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import servers
from ways import Peer, Server, started

# As long as the others keep what they have.
RULES = """\
  rules:
    - buckets: ["*"]
      freshness: 1h
"""


def binary(variable, name):
    path = Path(os.environ.get(variable) or servers.ROOT / "target/quick" / name).absolute()
    if not path.exists():
        raise SystemExit(f"{path} does not exist: cargo build --profile quick --features demo --bins, or set {variable}")
    return path


class S3proxy(Peer):
    name = "s3proxy"
    title = "s3proxy"
    order = 100
    verifies = True
    persists = True
    notes = (
        "Every signature is verified, every request authorized by rules; requests to the origin are signed.",
        "In memory and on disk; in the scan beside a hot set, where the cache is small, in memory only.",
    )

    def version(self):
        return subprocess.run([self.program(), "--version"], capture_output=True, text=True).stdout.strip().split()[-1]

    def program(self):
        return binary("S3PROXY_BIN", "s3proxy")

    @contextlib.contextmanager
    def serve(self, place):
        port, admin_port = servers.free_ports(2)
        for secret in place.directory.glob("*.secret"):
            secret.unlink()
        cache = place.directory / "cache"
        cache.mkdir(exist_ok=True, mode=0o700)
        keys = [f"memory: {place.cache_bytes}"]
        if place.has_disk:
            keys += [f"disk: {place.cache_bytes}", f'dir: "{cache}"', "min_free: 0"]
        if place.compares:
            keys.append("mode: verify")
        tiers = "".join(f"  {key}\n" for key in keys) + RULES
        text = servers.proxy_config(place.directory, port, admin_port, f"http://{place.origin}", tiers)
        file = place.directory / "s3proxy.yaml"
        file.write_text(f"threads: {place.workers}\n{text}")
        admin = f"http://{servers.HOST}:{admin_port}"
        with started(place, "s3proxy", [self.program(), "--conf", file], last_signal=signal.SIGINT) as running:
            running.wait_until(lambda: servers.http_status(f"{admin}/readyz") == 200)
            yield Server(f"{servers.HOST}:{port}", self.credentials, [running], admin)


PEER = S3proxy()
