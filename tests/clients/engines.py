"""What each engine reads when its requests are counted: one function each, run in a new process.

`WORKLOADS` says of each what its second run still asks the origin. The results are compared, so they
hold no addresses.
"""

import concurrent.futures
import hashlib
import io
import multiprocessing
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from conftest import HIVE_KEYS, LAKE, Work

CHILD_SECONDS = 100

TRADES = f"{LAKE}/trades.parquet"


def in_new_process(work, *arguments):
    """The result of a function of a module, called in an interpreter of its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result(CHILD_SECONDS)


def digest(body):
    return len(body), hashlib.sha256(body).hexdigest()


def duckdb(side):
    from test_duckdb import connect

    connection = connect(side)
    return [
        connection.execute(sql).fetchall()
        for sql in (
            f"SELECT count(*) FROM 's3://{TRADES}'",
            f"SELECT sum(quantity) FROM 's3://{TRADES}'",
            f"SELECT id, symbol, note FROM 's3://{TRADES}' WHERE id BETWEEN 54321 AND 54420 ORDER BY id",
            f"SELECT md5(string_agg(t::VARCHAR, '' ORDER BY id)) FROM 's3://{TRADES}' t",
            f"SELECT count(*), sum(id), min(note) FROM read_csv('s3://{LAKE}/trades.csv')",
        )
    ]


def duckdb_glob(side):
    from test_duckdb import connect

    return connect(side).execute(
        f"""SELECT year, month, filename, count(*), sum(quantity)
            FROM read_parquet('s3://{LAKE}/hive/*/*/*.parquet', hive_partitioning=true, filename=true)
            GROUP BY ALL ORDER BY filename"""
    ).fetchall()  # fmt: skip


def polars(side):
    import polars as pl
    from test_polars import options

    trades = pl.scan_parquet(f"s3://{TRADES}", storage_options=options(side))
    return [
        trades.select(pl.len()).collect().item(),
        trades.select(pl.sum("quantity")).collect().item(),
        trades.filter(pl.col("id").is_between(54321, 54420)).sort("id").collect().rows(),
        pl.scan_csv(f"s3://{LAKE}/trades.csv", storage_options=options(side)).select(pl.sum("id")).collect().item(),
    ]


def polars_directory(side):
    import polars as pl
    from test_polars import options

    hive = pl.scan_parquet(f"s3://{LAKE}/hive/", storage_options=options(side), hive_partitioning=True)
    return hive.group_by("year", "month").agg(pl.len(), pl.sum("id")).sort("year", "month").collect().rows()


def pyarrow(side):
    import pyarrow.dataset
    import pyarrow.parquet
    from test_pyarrow import filesystem

    files = filesystem(side)
    dataset = pyarrow.dataset.dataset(TRADES, filesystem=files)
    where = (pyarrow.dataset.field("id") >= 54321) & (pyarrow.dataset.field("id") <= 54420)
    return [
        digest(str(pyarrow.parquet.read_table(TRADES, filesystem=files).slice(0, 1000).to_pydict()).encode()),
        dataset.to_table(filter=where).to_pydict(),
        dataset.count_rows(),
    ]


def pyarrow_directory(side):
    import pyarrow.dataset
    from test_pyarrow import filesystem

    hive = pyarrow.dataset.dataset(f"{LAKE}/hive", filesystem=filesystem(side), format="parquet", partitioning="hive")
    return sorted(hive.files), sorted(hive.to_table(columns=["id"])["id"].to_pylist())


def s3fs(side):
    import pyarrow.parquet
    from test_s3fs import filesystem

    files = filesystem(side)
    with files.open(TRADES, block_size=100_000) as file:
        file.seek(65_530)
        middle = file.read(200_000)
    return [
        digest(files.cat(TRADES)),
        digest(middle),
        files.cat_file(TRADES, start=10, end=20),
        pyarrow.parquet.read_table(TRADES, filesystem=files, columns=["id", "quantity"]).num_rows,
    ]


def obstore(side):
    import obstore
    from test_obstore import described, store

    lake = store(side, LAKE)
    ranges = {"starts": [0, 5, 900_000, 2_000_000], "lengths": [4, 9, 9, 70_000]}
    return [
        described(obstore.head(lake, "trades.parquet")),
        digest(bytes(obstore.get(lake, "trades.parquet").bytes())),
        [digest(bytes(part)) for part in obstore.get_ranges(lake, "trades.parquet", **ranges)],
        digest(bytes(obstore.get(lake, "trades.parquet", options={"range": {"suffix": 65_536}}).bytes())),
    ]


def boto3(side):
    import boto3.s3.transfer

    s3 = side.boto3()
    # Parts, each with If-Match.
    parts = boto3.s3.transfer.TransferConfig(multipart_threshold=1 << 20, multipart_chunksize=1 << 20)
    whole = io.BytesIO()
    s3.download_fileobj(LAKE, "trades.parquet", whole, Config=parts)
    head = s3.head_object(Bucket=LAKE, Key="trades.parquet")
    tail = s3.get_object(Bucket=LAKE, Key="trades.parquet", Range="bytes=-262144", IfMatch=head["ETag"])
    return [
        digest(whole.getvalue()),
        [head[name] for name in ("ContentLength", "ContentType", "ETag", "LastModified", "Metadata")],
        digest(tail["Body"].read()),
        [digest(s3.get_object(Bucket=LAKE, Key=key)["Body"].read()) for key in HIVE_KEYS],
    ]


def awscli(side):
    from test_awscli import aws

    at = Work(side, "", 0)
    with tempfile.TemporaryDirectory() as directory:
        whole = Path(directory) / "trades.parquet"
        aws(at, "s3", "cp", "--no-progress", f"s3://{TRADES}", whole)
        head = aws(at, "s3api", "head-object", "--bucket", LAKE, "--key", "trades.csv", "--output", "json")
        return digest(whole.read_bytes()), head


def clickhouse(side):
    from test_clickhouse import query, s3

    at = Work(side, "", 0)
    trades = s3(at, LAKE, "trades.parquet")
    return query(
        at,
        f"SELECT count() FROM {trades}",
        f"SELECT sum(quantity) FROM {trades}",
        f"SELECT id, symbol, note FROM {trades} WHERE id BETWEEN 54321 AND 54420 ORDER BY id",
        f"SELECT sum(cityHash64(*)) FROM {trades}",
        f"SELECT count(), sum(id) FROM {s3(at, LAKE, 'trades.csv')}",
    )


def clickhouse_glob(side):
    from test_clickhouse import query, s3

    at = Work(side, "", 0)
    hive = s3(at, LAKE, "hive/**/*.parquet")
    return query(at, f"SELECT _path, count(), sum(quantity) FROM {hive} GROUP BY _path ORDER BY _path")


def delta(side, url):
    import deltalake
    import pyarrow
    from test_deltalake import options

    table = deltalake.DeltaTable(url, storage_options=options(side))
    rows = pyarrow.table(table.to_pyarrow_table()).sort_by("id")
    return table.version(), rows.to_pydict()


def lance(side, url):
    from test_lance import dataset

    table = dataset(side, url)
    return (
        table.version,
        table.to_table(columns=["id", "note"]).to_pydict(),
        table.take([0, 7, 1_500], columns=["symbol"]).to_pydict(),
    )


def iceberg(side, catalog_uri, name):
    from test_pyiceberg import catalog

    table = catalog(side, catalog_uri, "pyarrow.PyArrowFileIO").load_table(name)
    return len(table.history()), table.scan().to_arrow().sort_by("id").to_pydict()


@dataclass(frozen=True)
class Workload:
    """What an engine reads, and what of it reaches the origin each time: operation and status."""

    run: Callable
    always: dict = field(default_factory=dict)


# Lists are never cached: what is new in a bucket is to be seen at once.
LISTS = {"ListObjectsV2 200"}

WORKLOADS = [
    Workload(duckdb),
    Workload(duckdb_glob, LISTS),
    Workload(polars),
    Workload(polars_directory, LISTS),
    Workload(pyarrow),
    # It asks for the directory as if that was an object, and a missing one is asked for each time.
    Workload(pyarrow_directory, LISTS | {"HeadObject 404"}),
    Workload(s3fs),
    Workload(obstore),
    Workload(boto3),
    Workload(awscli),
    Workload(clickhouse),
    Workload(clickhouse_glob, LISTS),
]
