"""What is measured with: TPC-H tables as Parquet, many small files, and objects whose bytes tell their place.

Files are made once and kept; the same plan always gives the same files.
"""

import importlib
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BUCKET = "lake"
LARGE_KEY = "large/sequence.bin"
MIB = 1 << 20

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
# A prime number of different blocks: bytes from another place are other bytes.
PATTERN_BLOCKS = 61
# Of a row group of the wide table; columns that are read of it.
WIDE_ROWS = 16_384
WIDE_READ = 8


def name(plan):
    """The folder of the files of a plan."""
    return f"data-{plan.scale:g}-{plan.small_files}-{plan.wide_columns}x{plan.wide_groups}-{plan.large_bytes // MIB}"


def make(directory, plan):
    """Writes the files below `directory`, unless they are there."""
    import duckdb

    done = directory / "queries.json"
    if done.exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    # One thread: the order of rows, and so the size of the files, is then always the same.
    connection = duckdb.connect(config={"threads": 1})
    package = Path(importlib.import_module("duckdb_extension_tpch").__file__).parent
    connection.load_extension(str(next(package.rglob("tpch.duckdb_extension"))))
    connection.execute("CALL dbgen(sf = $scale)", {"scale": plan.scale})
    (directory / "tpch").mkdir(exist_ok=True)
    for table in TABLES:
        connection.execute(f"COPY {table} TO '{directory}/tpch/{table}.parquet' (FORMAT parquet)")
    rows = connection.execute("SELECT count(*) FROM orders").fetchone()[0]
    each = -(-rows // plan.small_files)
    for number in range(plan.small_files):
        part = directory / f"small/part={number % 20:02}"
        part.mkdir(parents=True, exist_ok=True)
        connection.execute(
            f"""COPY (SELECT * FROM orders LIMIT {each} OFFSET {number * each})
                TO '{part}/{number:04}.parquet' (FORMAT parquet)"""
        )
    (directory / "wide").mkdir(exist_ok=True)
    columns = ", ".join(f"(hash(i * {plan.wide_columns} + {n}) >> 1)::BIGINT AS {wide_column(n)}" for n in range(plan.wide_columns))
    connection.execute(
        f"""COPY (SELECT {columns} FROM range({plan.wide_groups * WIDE_ROWS}) rows(i))
            TO '{directory}/wide/wide.parquet' (FORMAT parquet, ROW_GROUP_SIZE {WIDE_ROWS})"""
    )
    blocks = pattern()
    pattern_file(directory).write_bytes(b"".join(blocks))
    with large_file(directory).open("wb") as file:
        for number in range(plan.large_bytes // MIB):
            file.write(blocks[number % PATTERN_BLOCKS])
    queries = connection.execute("SELECT query_nr, query FROM tpch_queries() ORDER BY query_nr").fetchall()
    done.write_text(json.dumps({f"Q{number}": text for number, text in queries}))


def wide_column(number):
    return f"c{number:03}"


def pattern():
    """The bytes of which every object that is not Parquet is made, again and again: its blocks in turn."""
    source = random.Random(1)
    return [source.randbytes(MIB) for _ in range(PATTERN_BLOCKS)]


def pattern_file(directory):
    return directory / "pattern.bin"


def large_file(directory):
    return directory / "large.bin"


def objects(plan):
    """The objects that s3proxy-load reads, by what they are for. `first` is where in the pattern one begins."""

    def one(key, first, size):
        return {"path": f"/{BUCKET}/{key}", "first": first, "bytes": size}

    hot = plan.hot_bytes
    scan = plan.scan_bytes
    return {
        "large": [one(LARGE_KEY, 0, plan.large_bytes)],
        "shared": [one("points/shared.bin", 3 * MIB, plan.shared_bytes)],
        "points": [one("points/points.bin", 7 * MIB, plan.points_bytes)],
        "hot": [one(f"hot/{n:03}.bin", n * hot, hot) for n in range(plan.hot_objects)],
        "scan": [one(f"scan/{n:03}.bin", n * scan, scan) for n in range(plan.scan_objects)],
    }


def upload(directory, plan, parts, endpoint, credentials, region):
    """Stores what the tasks need in a new bucket, without a cache; returns the number of files and of bytes."""
    import boto3

    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
    )
    s3.create_bucket(Bucket=BUCKET)
    files = {part: sorted((directory / part).rglob("*.parquet")) for part in ("tpch", "small", "wide")}
    with ThreadPoolExecutor(2) as pool:
        uploads = []
        for part in parts & files.keys():
            for path in files[part]:
                uploads.append(pool.submit(s3.upload_file, str(path), BUCKET, str(path.relative_to(directory))))
        if "large" in parts:
            uploads.append(pool.submit(s3.upload_file, str(large_file(directory)), BUCKET, LARGE_KEY))
        whole = pattern_file(directory).read_bytes()
        for part, members in objects(plan).items():
            for member in members if part in parts and part != "large" else ():
                uploads.append(pool.submit(put, s3, member, whole))
        for done in uploads:
            done.result()
    sizes = {part: sum(path.stat().st_size for path in paths) for part, paths in files.items()}
    return {"tpch_bytes": sizes["tpch"], "small_files": len(files["small"]), "small_bytes": sizes["small"]}


def put(s3, member, whole):
    """Stores an object that is made of the pattern."""
    first = member["first"] % len(whole)
    times = (first + member["bytes"]) // len(whole) + 1
    body = (whole * times)[first : first + member["bytes"]]
    _, bucket, key = member["path"].split("/", 2)
    s3.put_object(Bucket=bucket, Key=key, Body=body)
