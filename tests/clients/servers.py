"""The two servers under the tests: SeaweedFS as origin, and s3proxy in front of it.

Both live on free loopback ports and in a temporary directory, each in its own process group that
ends with the session. Nothing here knows a client.
"""

import contextlib
import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
REGION = "us-east-1"
START_SECONDS = 60
STOP_SECONDS = 15

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Credentials:
    access_key: str
    secret_key: str


# What the origin knows: an administrator, used by the direct side and by the proxy.
ORIGIN = Credentials("AKIAORIGIN0000000000", "origin/secret+with=odd/characters0000000")
# What only the proxy knows.
ANALYST = Credentials("AKIAANALYST000000000", "analyst/secret+with=odd/characters000000")
READER = Credentials("AKIAREADER0000000000", "reader/secret+with=odd/characters0000000")

# The only bucket READER may use, and only to read and list.
READER_BUCKET = "lake"


# What the proxy keeps and for how long: all rules as they are without a word.
CACHE_ON = """\
  memory: 64MiB
  dir: "{directory}/cache"
  disk: 1GiB
  min_free: 0
"""
CACHE_OFF = """\
  mode: off
"""


@dataclass(frozen=True)
class Served:
    """A running server: where it speaks S3, and where it shows `/metrics`."""

    url: str
    admin: str


def proxy_config(directory, port, admin_port, origin_url, cache=CACHE_ON, admin_token=None):
    """The proxy's YAML: the only place that knows its keys."""

    def secret(name, credentials):
        return secret_file(name, credentials.secret_key)

    def secret_file(name, value):
        path = directory / f"{name}.secret"
        path.touch(mode=0o600)
        path.write_text(value)
        return path

    admin = f'"{HOST}:{admin_port}"'
    if admin_token:
        admin = f"{{listen: {admin}, token_file: {secret_file('admin', admin_token)}}}"

    return f"""\
listen:
  - tcp: "{HOST}:{port}"
admin: {admin}
grace_period_seconds: 1
origins:
  - name: main
    endpoint: "{origin_url}"
    region: {REGION}
    credentials:
      static:
        access_key_id: {ORIGIN.access_key}
        secret_access_key_file: {secret("origin", ORIGIN)}
clients:
  - name: analyst
    access_key_id: {ANALYST.access_key}
    secret_access_key_file: {secret("analyst", ANALYST)}
    allow:
      - buckets: ["*"]
        actions: ["*"]
  - name: reader
    access_key_id: {READER.access_key}
    secret_access_key_file: {secret("reader", READER)}
    allow:
      - buckets: ["{READER_BUCKET}"]
        actions: [read, list]
cache:
{cache.format(directory=directory)}"""


@contextlib.contextmanager
def seaweedfs(directory, anyone=()):
    """Runs SeaweedFS and yields where it is. `anyone` is what unsigned requests may do."""
    ports = free_ports(9)
    identities = {
        "identities": [
            {
                "name": "origin",
                "credentials": [{"accessKey": ORIGIN.access_key, "secretKey": ORIGIN.secret_key}],
                "actions": ["Admin", "Read", "List", "Tagging", "Write"],
            }
        ]
    }
    if anyone:
        identities["identities"].append({"name": "anonymous", "actions": list(anyone)})
    (directory / "s3.json").write_text(json.dumps(identities))
    (directory / "data").mkdir()
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    command = [
        weed, f"-logdir={directory}", "server",
        f"-dir={directory / 'data'}", f"-ip={HOST}", f"-ip.bind={HOST}",
        "-master.telemetry=false", f"-master.port={ports[0]}", f"-master.port.grpc={ports[1]}",
        # Each bucket takes volumes of its own: small ones, and as many as it likes.
        "-master.volumeSizeLimitMB=64", "-volume.max=400", "-volume.minFreeSpace=1",
        f"-volume.port={ports[2]}", f"-volume.port.grpc={ports[3]}",
        "-filer", f"-filer.port={ports[4]}", f"-filer.port.grpc={ports[5]}",
        f"-filer.localSocket={directory / 'filer.sock'}",
        "-s3", f"-s3.port={ports[6]}", f"-s3.port.grpc={ports[7]}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.localSocket={directory / 's3.sock'}",
        f"-s3.config={directory / 's3.json'}", f"-metricsPort={ports[8]}",
        # As S3 does: a missing bucket stays missing, a full one is not deleted.
        "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false",
    ]  # fmt: skip
    environment = os.environ | {f"WEED_MASTER_VOLUME_GROWTH_COPY_{n}": "1" for n in ("1", "2", "3", "OTHER")}
    url = f"http://{HOST}:{ports[6]}"
    # Its orderly end takes 15 seconds and would save data that goes away with the directory.
    with process(command, directory / "seaweedfs.log", environment, signal.SIGKILL) as running:
        # An answer to the unsigned request, 403 unless anyone may ask, says that the gateway is up; the filer behind it
        # has joined the master when a volume can be assigned.
        running.wait_until(lambda: http_status(url) in (200, 403))
        running.wait_until(lambda: "fid" in http_json(f"http://{HOST}:{ports[0]}/dir/assign"))
        yield Served(url, f"http://{HOST}:{ports[8]}")


@contextlib.contextmanager
def s3proxy(directory, origin_url, cache=CACHE_ON, last_signal=signal.SIGTERM, admin_token=None):
    """Runs the proxy in front of `origin_url` and yields where it is.

    In a directory in which one ran before, it finds that one's cache.
    """
    binary = Path(os.environ.get("S3PROXY_BIN") or ROOT / "target/debug/s3proxy")
    if not binary.is_absolute():
        binary = ROOT / binary
    if not binary.exists():
        raise RuntimeError(f"{binary} does not exist: run `cargo build` or set S3PROXY_BIN")
    port, admin_port = free_ports(2)
    config = directory / "s3proxy.yaml"
    config.write_text(proxy_config(directory, port, admin_port, origin_url, cache, admin_token))
    # The environment's own credentials or settings must not decide anything.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and name not in ("ENDPOINT", "PORT", "LISTEN", "ADMIN")
    }
    admin = f"http://{HOST}:{admin_port}"
    with process([binary, "--conf", config], directory / "s3proxy.log", environment, last_signal) as running:
        running.wait_until(lambda: http_status(f"{admin}/readyz") == 200)
        yield Served(f"http://{HOST}:{port}", admin)


class Running:
    """A started process and its log."""

    def __init__(self, popen, log):
        self.popen = popen
        self.log = log

    def wait_until(self, ready):
        """Waits for `ready()`; says what the process logged when that does not come."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.popen.poll() is not None:
                break
            with contextlib.suppress(OSError, ValueError):
                if ready():
                    return
            time.sleep(0.1)
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
        raise RuntimeError(f"{self.popen.args[0]} is not ready, exit code {self.popen.poll()}:\n{tail}")


@contextlib.contextmanager
def process(command, log, environment, first_signal=signal.SIGTERM):
    """Runs a command in its own process group, and ends the whole group."""
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=environment, start_new_session=True, preexec_fn=end_with_parent,
        )  # fmt: skip
        try:
            yield Running(popen, log)
        finally:
            end_group(popen, first_signal)


def end_with_parent():
    """Asks Linux for a SIGKILL when the test session is itself killed."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_group(popen, first_signal):
    for number in (first_signal, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(STOP_SECONDS)
            break
    # Whatever outlived the first process of the group.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)


def free_ports(count):
    """Ports nobody listens on, below the range that outgoing connections take theirs from."""
    sockets = []
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            if len(sockets) == count:
                return [s.getsockname()[1] for s in sockets]
            candidate = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                candidate.bind((HOST, random.randrange(20_000, 32_000)))
                sockets.append(candidate)
    raise RuntimeError("no free ports")


def http_status(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def http_json(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)
