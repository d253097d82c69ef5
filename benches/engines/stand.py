"""The measuring stand: SeaweedFS, the distance in front of it, and s3proxy, which is started anew for each cold read.

Starting and ending processes is `tests/clients/servers.py`'s business.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import dataset

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/clients"))

import servers  # noqa: E402

# On a busy machine the 22 queries may take longer than the minute that a meta is fresh without this.
FRESH = """\
  rules:
    - buckets: ["*"]
      freshness: 1h
"""

# Long enough for blocks that are still on their way to the disk after a cold read.
SETTLE_SECONDS = 1.5
TICKS = os.sysconf("SC_CLK_TCK")


def binary(variable, name):
    path = Path(os.environ.get(variable) or ROOT / "target/quick" / name).absolute()
    if not path.exists():
        raise SystemExit(f"{path} does not exist: cargo build --profile quick --features demo, or set {variable}")
    return path


class Stand:
    """Everything that runs, and one way to let a client work on it."""

    def __init__(self, directory, data, relay, options):
        self.directory = directory
        self.data = data
        self.relay = relay
        self.options = options

    def local(self, task):
        return self.work(task, {"root": str(self.data)})

    def direct(self, task):
        return self.work(task, s3_job(self.relay, servers.ORIGIN))

    def proxied(self, task):
        """The same work on an empty cache, again, and again after a restart."""
        cache = self.directory / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        with self.proxy(cache) as proxy:
            cold = self.work(task, s3_job(proxy.host, servers.ANALYST), proxy)
            warm = self.work(task, s3_job(proxy.host, servers.ANALYST), proxy)
            time.sleep(SETTLE_SECONDS)
        with self.proxy(cache) as proxy:
            restarted = self.work(task, s3_job(proxy.host, servers.ANALYST), proxy)
        shutil.rmtree(cache, ignore_errors=True)
        return {"cold": cold, "warm": warm, "restarted": restarted}

    def work(self, task, job, proxy=None):
        """Runs one task in a new process; adds what the origin and the proxy had to do for it."""
        reset = urllib.request.Request(f"http://{self.relay}/-/stats", method="DELETE")
        urllib.request.urlopen(reset, timeout=5).close()
        used = proxy.cpu_seconds() if proxy else 0
        job |= {"task": task, "queries": str(self.data / "queries.json"), "region": servers.REGION}
        done = subprocess.run(
            [sys.executable, HERE / "work.py"],
            input=json.dumps(job), capture_output=True, text=True, env=clean_environment(),
        )  # fmt: skip
        if done.returncode:
            log = "\n" + proxy.tail() if proxy else ""
            raise SystemExit(f"{task} failed: {done.stderr.strip()}{log}")
        sample = json.loads(done.stdout)
        sample["origin"] = servers.http_json(f"http://{self.relay}/-/stats")
        if proxy:
            sample["cpu_seconds"] = proxy.cpu_seconds() - used
            sample["peak_rss_mib"] = proxy.peak_rss_mib()
        return sample

    @contextlib.contextmanager
    def proxy(self, cache):
        cache.mkdir(exist_ok=True, mode=0o700)
        port, admin_port = servers.free_ports(2)
        for secret in self.directory.glob("*.secret"):
            secret.unlink()
        config = self.directory / "s3proxy.yaml"
        tiers = f"  memory: {self.options.memory}\n  disk: {self.options.disk}\n  dir: {cache}\n  min_free: 0\n{FRESH}"
        text = servers.proxy_config(self.directory, port, admin_port, f"http://{self.relay}", tiers)
        config.write_text("threads: 2\n" + text)
        command = [binary("S3PROXY_BIN", "s3proxy"), "--conf", config]
        log = self.directory / "s3proxy.log"
        with servers.process(command, log, clean_environment(), signal.SIGINT) as running:
            ready = f"http://{servers.HOST}:{admin_port}/readyz"
            running.wait_until(lambda: servers.http_status(ready) == 200)
            yield Proxy(f"{servers.HOST}:{port}", running)


class Proxy:
    """A running proxy, and what the system says of its process."""

    def __init__(self, host, running):
        self.host = host
        self.running = running

    def cpu_seconds(self):
        fields = self.read("stat").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_rss_mib(self):
        line = next(line for line in self.read("status").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) // 1024

    def read(self, name):
        return Path(f"/proc/{self.running.popen.pid}/{name}").read_text()

    def tail(self):
        return "\n".join(self.running.log.read_text(errors="replace").splitlines()[-20:])


@contextlib.contextmanager
def stand(directory, data, options):
    """Starts the store and its distance, stores the data, and yields the stand."""
    with servers.seaweedfs(directory) as store:
        endpoint = store.url
        sizes = dataset.upload(data, endpoint, servers.ORIGIN, servers.REGION)
        (port,) = servers.free_ports(1)
        relay = f"{servers.HOST}:{port}"
        command = [
            binary("S3PROXY_DEMO_BIN", "s3proxy-demo"), "distance",
            "--to", endpoint.removeprefix("http://"), "--listen", relay,
            "--first-byte-delay", options.delay, "--bandwidth", options.bandwidth,
        ]  # fmt: skip
        with servers.process(command, directory / "distance.log", clean_environment()) as running:
            running.wait_until(lambda: servers.http_status(f"http://{relay}/-/stats") == 200)
            yield Stand(directory, data, relay, options), sizes


def s3_job(host, credentials):
    return {"host": host, "access_key": credentials.access_key, "secret_key": credentials.secret_key}


def clean_environment():
    """Ours without anything that would decide for a client or the proxy."""
    words = ("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "S3PROXY_")
    exact = ("ENDPOINT", "PORT", "LISTEN", "ADMIN", "CACHE_DIR", "CACHE_MEMORY", "CACHE_DISK")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(words) and name.upper() not in exact
    }
