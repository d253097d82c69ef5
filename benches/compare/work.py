"""One piece of work in a process of its own, so that no client remembers anything.

Reads a job as JSON from standard input: the name of a task, the plan, and where the data is (`root` on disk, or an S3 endpoint
with a key pair). Prints one JSON object: seconds, their parts, and a digest of the result. Importing libraries does not count.
"""

import ctypes
import datetime
import hashlib
import json
import socket
import sys
import time
from pathlib import Path

from dataset import BUCKET, LARGE_KEY, MIB, PATTERN_BLOCKS, TABLES, WIDE_READ, large_file, pattern, wide_column

ROOT = Path(__file__).resolve().parents[2]

# Of prctl(2).
PR_SET_THP_DISABLE = 41
EMPTY_SHA256 = hashlib.sha256().hexdigest()


class Clock:
    """Times the parts of a task."""

    def __init__(self):
        self.parts = {}
        self.begun = time.perf_counter()

    def lap(self, name):
        now = time.perf_counter()
        self.parts[name] = now - self.begun
        self.begun = now


def tpch(job):
    """The 22 queries of TPC-H in DuckDB. Each asks again for every byte: it is the network that is compared."""
    return run_queries(job, duckdb_connection(job))


def tpch_remembered(job):
    """The same with DuckDB's external file cache on, as it is without a word."""
    return run_queries(job, duckdb_connection(job, remembers=True))


def run_queries(job, connection):
    queries = json.loads(Path(job["queries"]).read_text())
    clock = Clock()
    for table in TABLES:
        connection.execute(f"CREATE VIEW {table} AS FROM read_parquet('{url(job, f'tpch/{table}.parquet')}')")
    clock.lap("open")
    answers = []
    for name, sql in queries.items():
        answers.append(connection.execute(sql).fetchall())
        clock.lap(name)
    return clock, answers


def duckdb_small(job):
    """A filter over many small files, found by listing."""
    connection = duckdb_connection(job)
    clock = Clock()
    rows = connection.execute(
        f"""SELECT part, count(*), sum(o_totalprice) FROM read_parquet('{url(job, "small/*/*.parquet")}')
            WHERE o_orderpriority = '1-URGENT' GROUP BY part ORDER BY part"""
    ).fetchall()
    clock.lap("query")
    assert len(rows) == 20
    return clock, rows


def duckdb_wide(job):
    """A few columns of a wide table that lie far from each other, row group after row group."""
    connection = duckdb_connection(job)
    columns = job["plan"]["wide_columns"]
    each = columns // WIDE_READ
    read = [wide_column(number) for number in range(each // 2, columns, each)][:WIDE_READ]
    clock = Clock()
    rows = connection.execute(
        f"""SELECT count(*), {", ".join(f"sum({name})" for name in read)}
            FROM read_parquet('{url(job, "wide/wide.parquet")}')"""
    ).fetchall()
    clock.lap("query")
    return clock, rows


def polars_column(job):
    """One column of the largest table."""
    import polars as pl

    scan = pl.scan_parquet(url(job, "tpch/lineitem.parquet"), storage_options=polars_options(job))
    return polars_collect(scan.select(pl.col("l_quantity").sum(), pl.len().alias("rows")))


def polars_group(job):
    """Six columns of the largest table, filtered and grouped."""
    import polars as pl

    scan = pl.scan_parquet(url(job, "tpch/lineitem.parquet"), storage_options=polars_options(job))
    return polars_collect(
        scan.filter(pl.col("l_shipdate") <= datetime.date(1998, 9, 2))
        .group_by("l_returnflag", "l_linestatus")
        .agg(pl.col("l_quantity").sum(), pl.col("l_extendedprice").sum(), pl.col("l_discount").max(), pl.len())
        .sort("l_returnflag", "l_linestatus")
    )


def polars_collect(query):
    clock = Clock()
    rows = query.collect().rows()
    clock.lap("query")
    return clock, rows


def pyarrow_columns(job):
    """Four columns of the largest table, read into memory."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = ["l_orderkey", "l_quantity", "l_extendedprice", "l_shipdate"]
    name, filesystem = pyarrow_source(job, "tpch/lineitem.parquet")
    clock = Clock()
    table = pq.read_table(name, columns=columns, filesystem=filesystem)
    clock.lap("read")
    return clock, [table.num_rows, pc.sum(table["l_quantity"]), pc.sum(table["l_orderkey"]), pc.max(table["l_shipdate"])]


def pyarrow_small(job):
    """All columns of many small files, found by listing."""
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    name, filesystem = pyarrow_source(job, "small")
    clock = Clock()
    table = ds.dataset(name, format="parquet", partitioning="hive", filesystem=filesystem).to_table()
    clock.lap("read")
    return clock, [table.num_rows, pc.sum(table["o_orderkey"]), pc.sum(table["o_totalprice"]), pc.max(table["part"])]


def sequential(job):
    """The large object in one request, every byte compared."""
    return read_large(job, [None], job["plan"]["large_bytes"])


def ranges_1(job):
    """A part of it in ranges of 1 MiB, one after the other on one connection, every byte compared."""
    return read_ranges(job, MIB)


def ranges_8(job):
    """The same in ranges of 8 MiB, as SDKs download."""
    return read_ranges(job, 8 * MIB)


def read_ranges(job, length):
    expected = job["plan"]["ranges_bytes"]
    asked = [f"bytes={at}-{at + length - 1}" for at in range(0, expected, length)]
    return read_large(job, asked, expected)


def read_large(job, asked, expected):
    blocks = pattern()
    buffer = bytearray(MIB)
    seen = 0
    clock = Clock()
    first = None
    with open_large(job) as source:
        for field in asked:
            left = source.ask(field)
            while left:
                wanted = memoryview(buffer)[: min(MIB, left)]
                source.read(wanted)
                first = first or time.perf_counter() - clock.begun
                if buffer != blocks[(seen // MIB) % PATTERN_BLOCKS]:
                    raise SystemExit(f"wrong bytes after {seen}")
                seen += len(wanted)
                left -= len(wanted)
    clock.lap("all")
    clock.parts["first MiB"] = first
    return clock, [seen == expected]


class LargeFile:
    """The large object on disk."""

    def __init__(self, path):
        self.file = open(path, "rb", buffering=0)
        self.bytes = path.stat().st_size

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def ask(self, field):
        if field is None:
            return self.bytes
        first, last = map(int, field.removeprefix("bytes=").split("-"))
        self.file.seek(first)
        return last - first + 1

    def read(self, view):
        if self.file.readinto(view) != len(view):
            raise SystemExit("the file is too short")


class LargeObject:
    """The large object by HTTP: as little between the socket and the bytes as Python allows."""

    def __init__(self, job):
        sys.path.insert(0, str(ROOT / "tests/clients/corpus"))
        import sigv4

        key = type("Key", (), {"access_key": job["access_key"], "secret_key": job["secret_key"]})
        self.signer = sigv4.Signer(key, datetime.datetime.now(datetime.UTC))
        self.host = job["host"]
        name, port = self.host.split(":")
        self.socket = socket.create_connection((name, int(port)), timeout=60)
        self.early = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, field):
        path = f"/{BUCKET}/{LARGE_KEY}"
        fields = [("host", self.host)] + ([("range", field)] if field else [])
        fields, _ = self.signer.header_signed("GET", path, "", fields, EMPTY_SHA256)
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self.socket.recv(65_536)
            if not piece:
                raise SystemExit("the connection ended before an answer")
            received += piece
        head, _, self.early = received.partition(b"\r\n\r\n")
        status, *answered = head.decode().split("\r\n")
        if status.split()[1] != ("206" if field else "200"):
            raise SystemExit(f"{status}: {self.early[:500]}")
        lengths = [line.split(":")[1] for line in answered if line.lower().startswith("content-length:")]
        return int(lengths[0])

    def read(self, view):
        filled = min(len(view), len(self.early))
        view[:filled] = self.early[:filled]
        self.early = self.early[filled:]
        while filled < len(view):
            count = self.socket.recv_into(view[filled:], 0, socket.MSG_WAITALL)
            if not count:
                raise SystemExit("the body was cut short")
            filled += count


def open_large(job):
    return LargeFile(large_file(Path(job["root"]))) if "root" in job else LargeObject(job)


def url(job, name):
    return f"{job['root']}/{name}" if "root" in job else f"s3://{BUCKET}/{name}"


def duckdb_connection(job, remembers=False):
    import duckdb
    import duckdb_extension_httpfs

    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "threads": 2})
    package = Path(duckdb_extension_httpfs.__file__).parent
    connection.execute(f"LOAD '{next(package.glob('extensions/*/httpfs.duckdb_extension'))}'")
    connection.execute(f"SET enable_external_file_cache = {str(remembers).lower()}")
    if "host" in job:
        connection.execute(
            f"""CREATE SECRET (TYPE s3, KEY_ID '{job["access_key"]}', SECRET '{job["secret_key"]}',
                REGION '{job["region"]}', ENDPOINT '{job["host"]}', URL_STYLE 'path', USE_SSL false)"""
        )
    return connection


def polars_options(job):
    if "root" in job:
        return None
    return {
        "aws_endpoint_url": f"http://{job['host']}",
        "aws_allow_http": "true",
        "aws_region": job["region"],
        "aws_access_key_id": job["access_key"],
        "aws_secret_access_key": job["secret_key"],
    }


def pyarrow_source(job, name):
    if "root" in job:
        return f"{job['root']}/{name}", None
    import pyarrow.fs

    filesystem = pyarrow.fs.S3FileSystem(
        endpoint_override=job["host"],
        scheme="http",
        region=job["region"],
        access_key=job["access_key"],
        secret_key=job["secret_key"],
    )
    return f"{BUCKET}/{name}", filesystem


TASKS = {
    task.__name__: task
    for task in (
        tpch, tpch_remembered, polars_column, polars_group, pyarrow_columns, duckdb_wide, duckdb_small, pyarrow_small, ranges_1, ranges_8, sequential,
    )
}  # fmt: skip


def main():
    # Allocators of engines ask for huge pages, which the kernel makes by moving other pages together: that took 0.2 or 1.5 s of
    # one and the same read of PyArrow's, by chance.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    job = json.load(sys.stdin)
    clock, answer = TASKS[job["task"]](job)
    print(
        json.dumps(
            {
                "seconds": sum(seconds for part, seconds in clock.parts.items() if part != "first MiB"),
                "parts": clock.parts,
                "answer": hashlib.sha256(repr(answer).encode()).hexdigest(),
            }
        )
    )


if __name__ == "__main__":
    main()
