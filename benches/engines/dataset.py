"""What is measured with: TPC-H tables as Parquet, many small files, and one large object whose bytes tell their place.

Made once and kept; the same scale factor always gives the same files.
"""

import importlib
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import duckdb

BUCKET = "lake"
LARGE_KEY = "large/sequence.bin"
MIB = 1 << 20
LARGE_BYTES = 1 << 30
SMALL_FILES = 400

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
# A prime number of different blocks: bytes from another place are other bytes.
PATTERN_BLOCKS = 61


def make(directory, scale):
    """Writes the files below `directory`, unless they are there."""
    done = directory / "queries.json"
    if done.exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    # One thread: the order of rows, and so the size of the files, is then always the same.
    connection = duckdb.connect(config={"threads": 1})
    package = Path(importlib.import_module("duckdb_extension_tpch").__file__).parent
    connection.load_extension(str(next(package.rglob("tpch.duckdb_extension"))))
    connection.execute("CALL dbgen(sf = $scale)", {"scale": scale})
    (directory / "tpch").mkdir(exist_ok=True)
    for table in TABLES:
        connection.execute(f"COPY {table} TO '{directory}/tpch/{table}.parquet' (FORMAT parquet)")
    rows = connection.execute("SELECT count(*) FROM orders").fetchone()[0]
    each = -(-rows // SMALL_FILES)
    for number in range(SMALL_FILES):
        part = directory / f"small/part={number % 20:02}"
        part.mkdir(parents=True, exist_ok=True)
        connection.execute(
            f"""COPY (SELECT * FROM orders LIMIT {each} OFFSET {number * each})
                TO '{part}/{number:04}.parquet' (FORMAT parquet)"""
        )
    with (directory / "large.bin").open("wb") as file:
        blocks = pattern()
        for number in range(LARGE_BYTES // MIB):
            file.write(blocks[number % PATTERN_BLOCKS])
    queries = connection.execute("SELECT query_nr, query FROM tpch_queries() ORDER BY query_nr").fetchall()
    done.write_text(json.dumps({f"Q{number}": text for number, text in queries}))


def pattern():
    """The blocks of the large object, in turn."""
    source = random.Random(1)
    return [source.randbytes(MIB) for _ in range(PATTERN_BLOCKS)]


def upload(directory, endpoint, credentials, region):
    """Stores everything in a new bucket, without the proxy; returns the number of files and of bytes."""
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
    )
    s3.create_bucket(Bucket=BUCKET)
    files = [path for path in sorted(directory.rglob("*.parquet"))]
    with ThreadPoolExecutor(4) as pool:
        uploads = [
            pool.submit(s3.upload_file, str(path), BUCKET, str(path.relative_to(directory))) for path in files
        ]
        uploads.append(pool.submit(s3.upload_file, str(directory / "large.bin"), BUCKET, LARGE_KEY))
        for done in uploads:
            done.result()
    tpch = [path for path in files if path.parent.name == "tpch"]
    return {
        "tpch_bytes": sum(path.stat().st_size for path in tpch),
        "small_files": len(files) - len(tpch),
        "small_bytes": sum(path.stat().st_size for path in files if path not in tpch),
    }
