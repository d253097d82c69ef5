"""The measuring stand: SeaweedFS, the distance in front of it, and one piece of work at a time.

Starting and ending processes is `tests/clients/servers.py`'s business, and that of the adapters in `ways`.
"""

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import counting
import dataset
import servers
from plan import KIB, POINT_CONNECTIONS, POINT_SIZES
from tasks import point
from ways import Place, clean_environment
from ways.s3proxy import binary

HERE = Path(__file__).resolve().parent

# Ranges of the point reads: as many different ones are signed before the clock starts.
DISTINCT = 4096
# Of the hot set: readers that rest between two reads.
HOT_CONNECTIONS = 4
HOT_PAUSE_MICROS = 5_000
SCAN_CONNECTIONS = 4


class Failed(Exception):
    """A way did not do the work, or not right."""


# Besides, a server that does not start, and one whose processes are gone.
FAILURES = (Failed, RuntimeError, OSError)


class Relay:
    """A distance in front of the store, and what it counts."""

    def __init__(self, host):
        self.host = host

    def reset(self):
        request = urllib.request.Request(f"http://{self.host}/-/stats", method="DELETE")
        urllib.request.urlopen(request, timeout=5).close()

    def counted(self):
        stats = servers.http_json(f"http://{self.host}/-/stats")
        # Now and then s3proxy asks whether the store is there: no client's work.
        return {
            "origin_requests": stats["requests"] - stats["service"],
            "origin_bytes": stats["bytes"],
            "origin_connections": stats["connections"],
        }


class Stand:
    """Everything that runs, and the ways to let clients work on it. What they return are rows without their round."""

    def __init__(self, directory, data, plan, relay, options):
        self.directory = directory
        self.data = data
        self.plan = plan
        self.relay = relay
        self.delay_micros = options.delay_micros
        self.has_restart = options.restarted
        self.objects = dataset.objects(plan)

    @contextlib.contextmanager
    def serving(self, way, cache_bytes=None, keeps=False, **more):
        """A way with an empty cache; or with what it `keeps` from before."""
        directory = self.directory / way.name
        if not keeps:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
        place = Place(directory, self.relay.host, cache_bytes or self.plan.cache_bytes, **more)
        with way.serve(place) as server:
            yield server
        if not keeps and not way.persists:
            shutil.rmtree(directory, ignore_errors=True)

    def local(self, task):
        job = {"root": str(self.data)}
        yield "local", self.work(task.name, job)

    def engine(self, task, way):
        """A piece of work on an empty cache and again; at wish once more after a restart."""

        def run(server, settles=0):
            def work():
                key = server.credentials
                job = {"host": server.host, "access_key": key.access_key, "secret_key": key.secret_key}
                return self.work(task.name, job, server)

            return self.measured(server, work, settles)

        with self.serving(way) as server:
            if way.name == "direct":
                yield "direct", run(server)
                return
            yield "cold", run(server, self.plan.settle_seconds)
            yield "warm", run(server)
        if self.has_restart and way.persists:
            with self.serving(way, keeps=True) as server:
                yield "restarted", run(server)

    def readers(self, _, way):
        """Readers of one object that nobody read before."""
        load = self.load(self.objects["shared"], "whole", self.plan.readers, requests=self.plan.readers)
        yield from self.cold_load(way, load)

    def sparse(self, _, way):
        """Reads of a large object, far from each other."""
        reads = anywhere(64 * KIB, self.plan.sparse_reads, seed=2)
        load = self.load(self.objects["large"], reads, 8, requests=self.plan.sparse_reads)
        yield from self.cold_load(way, load)

    def cold_load(self, way, load):
        with self.serving(way) as server:
            state = "direct" if way.name == "direct" else "cold"
            yield state, self.measured(server, lambda: self.run_loads(server, load)[0], self.plan.settle_seconds)

    def scan(self, _, way):
        """A hot set by itself, and beside a scan of several times the cache."""
        hot = self.load(self.objects["hot"], anywhere(64 * KIB, DISTINCT, seed=3), HOT_CONNECTIONS)
        hot |= {"pause_micros": HOT_PAUSE_MICROS, "late_micros": self.delay_micros or None}
        whole = self.load(self.objects["scan"], "whole", SCAN_CONNECTIONS, requests=self.plan.scan_objects)
        with self.serving(way, self.plan.scan_cache_bytes, has_disk=False) as server:
            self.warm(server, self.objects["hot"])
            seconds = self.plan.point_seconds
            yield "alone", self.measured(server, lambda: self.run_loads(server, hot | {"seconds": seconds})[0])

            def beside():
                scanned, read = self.run_loads(server, whole, hot)
                return read | {"scan_seconds": scanned["seconds"], "failures": scanned["failures"] + read["failures"]}

            row = self.measured(server, beside)
            # The scan itself has to be fetched, the hot set has not.
            row["again_bytes"] = max(0, row["origin_bytes"] - self.plan.scan_objects * self.plan.scan_bytes)
            yield "beside", row

    def points(self, ways, turn):
        """Every size and number of connections, all ways in turn: yields cell, way, state and row."""
        with contextlib.ExitStack() as stack:
            running = []
            for way in ways:
                try:
                    server = stack.enter_context(self.serving(way))
                    self.warm(server, self.objects["points"])
                    running.append((way, server))
                except FAILURES as failure:
                    yield "points", way, "warm", failure
            for size, count in POINT_SIZES.items():
                for connections in POINT_CONNECTIONS:
                    turn += 1
                    first = turn % len(running)
                    for way, server in running[first:] + running[:first]:
                        load = self.point_load(count, connections, seed=turn)
                        try:
                            row = self.measured(server, lambda: self.run_loads(server, load)[0])
                        except FAILURES as failure:
                            row = failure
                        yield point(size, connections), way, "direct" if way.name == "direct" else "warm", row

    def point_load(self, count, connections, seed, **more):
        reads = anywhere(count, DISTINCT, seed)
        return self.load(self.objects["points"], reads, connections, seconds=self.plan.point_seconds, **more)

    def warm(self, server, objects):
        """Reads objects until the origin is not asked any more, where there is a cache."""
        if not server.running:
            return
        load = self.load(objects, "whole", 1, requests=len(objects))
        for _ in range(5):
            self.relay.reset()
            self.run_loads(server, load)
            time.sleep(0.3)
            if not self.relay.counted()["origin_requests"]:
                return
        raise Failed("it asks the origin again and again for what it has read")

    def load(self, objects, reads, connections, **more):
        return {"objects": objects, "read": reads, "connections": connections, **more}

    def measured(self, server, work, settles=0):
        """A row: what the work says, what the origin was asked, and what the server's processes used."""
        self.relay.reset()
        server.forget_peak()
        used = server.cpu_seconds()
        ahead = fetched_ahead(server)
        row = work()
        time.sleep(settles)
        row |= self.relay.counted()
        if server.running:
            row["cpu_seconds"] = server.cpu_seconds() - used
            row["rss_mib"] = server.peak_rss_mib()
            row["pss_mib"] = server.pss_mib()
            row |= {name: count - ahead[name] for name, count in fetched_ahead(server).items()}
            if row.get("requests"):
                row["cpu_micros"] = row["cpu_seconds"] / row["requests"] * 1e6
        return row

    def work(self, task, job, server=None):
        """Runs one task of work.py in a new process."""
        job |= {
            "task": task,
            "plan": dataclasses.asdict(self.plan),
            "queries": str(self.data / "queries.json"),
            "region": servers.REGION,
        }
        return self.run([sys.executable, HERE / "work.py"], job, server)

    def run_loads(self, server, *loads):
        """Runs loads of s3proxy-load at the same time; a row for each."""
        key = server.credentials
        job = {
            "address": server.host,
            "access_key": key.access_key,
            "secret_key": key.secret_key,
            "region": servers.REGION,
            "pattern": str(dataset.pattern_file(self.data)),
            "loads": loads,
        }
        rows = self.run([binary("S3PROXY_LOAD_BIN", "s3proxy-load")], job, server)
        return [load_row(figures) for figures in rows]

    def run(self, command, job, server):
        try:
            done = subprocess.run(
                command, input=json.dumps(job), capture_output=True, text=True, env=clean_environment(), timeout=900
            )
        except subprocess.TimeoutExpired as late:
            raise Failed("not done in a quarter of an hour") from late
        if done.returncode:
            log = "\n" + server.tail() if server else ""
            raise Failed(f"{done.stderr.strip()}{log}")
        return json.loads(done.stdout)


def fetched_ahead(server):
    """What s3proxy fetched that nobody had asked for, and how much of that was asked for since."""
    if not server.admin:
        return {}
    names = {"ahead_bytes": "prefetched", "used_bytes": "prefetch_used"}
    return {row: counting.counter(server.admin, f"s3proxy_cache_{name}_bytes_total").total() for row, name in names.items()}


def anywhere(count, distinct, seed):
    return {"anywhere": {"bytes": count, "distinct": distinct, "seed": seed}}


def load_row(figures):
    """Of what s3proxy-load says; times in milliseconds."""
    if figures["wrong"]:
        raise Failed(f"{figures['wrong']} wrong answers: {figures['complaint']}")
    if figures["failures"] and not figures["requests"]:
        raise Failed(f"no answer: {figures['complaint']}")
    row = {key: figures[key] for key in ("requests", "bytes", "seconds", "late", "failures", "complaint")}
    row["rate"] = figures["requests"] / figures["seconds"]
    for part, name in (("whole", ""), ("first", "first_")):
        for percentile in ("p50", "p99", "max"):
            row[f"{name}{percentile}_ms"] = figures[part][percentile] / 1000
    return row


@contextlib.contextmanager
def relay(directory, name, endpoint, *arguments):
    (port,) = servers.free_ports(1)
    host = f"{servers.HOST}:{port}"
    command = [binary("S3PROXY_DEMO_BIN", "s3proxy-demo"), "distance", "--to", endpoint, "--listen", host, *arguments]
    with servers.process(command, directory / f"{name}.log", clean_environment()) as running:
        running.wait_until(lambda: servers.http_status(f"http://{host}/-/stats") == 200)
        yield Relay(host)


@contextlib.contextmanager
def stand(directory, data, plan, parts, options):
    """Starts the store and its distances, stores the data, and yields the stand and one without a distance."""
    with servers.seaweedfs(directory, anyone=("Read", "List")) as store:
        sizes = dataset.upload(data, plan, parts, store.url, servers.ORIGIN, servers.REGION)
        endpoint = store.url.removeprefix("http://")
        distance = ["--first-byte-delay", options.delay, "--bandwidth", options.bandwidth]
        nowhere = ["--first-byte-delay", "0s", "--bandwidth", "0"]
        with (
            relay(directory, "distance", endpoint, *distance) as far,
            relay(directory, "nearness", endpoint, *nowhere) as near,
        ):
            yield Stand(directory, data, plan, far, options), Stand(directory, data, plan, near, options), sizes
