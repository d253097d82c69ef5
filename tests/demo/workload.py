"""Drives DuckDB for `s3proxy-demo run`.

Reads one job as JSON from standard input. With a scale factor it writes TPC-H tables through the first route and
prints one line about them; otherwise it runs each query on each route and prints one JSON object per run.
"""

import importlib
import json
import pathlib
import sys
import time
import urllib.request

import duckdb

# Small enough for many ranged requests, as a large table in a lake has them.
ROW_GROUP_SIZE = 61_440

QUERIES = {
    "Q1 pricing": """
        SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice),
               sum(l_extendedprice * (1 - l_discount)), sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)), count(*)
        FROM lineitem WHERE l_shipdate <= DATE '1998-09-02' GROUP BY ALL ORDER BY ALL""",
    "Q3 shipping": """
        SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate, o_shippriority
        FROM customer JOIN orders ON c_custkey = o_custkey JOIN lineitem ON l_orderkey = o_orderkey
        WHERE c_mktsegment = 'BUILDING' AND o_orderdate < DATE '1995-03-15' AND l_shipdate > DATE '1995-03-15'
        GROUP BY ALL ORDER BY revenue DESC, o_orderdate, l_orderkey LIMIT 10""",
    "Q6 forecast": """
        SELECT sum(l_extendedprice * l_discount) FROM lineitem
        WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
          AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24""",
    "one order": "SELECT * EXCLUDE year FROM lineitem WHERE l_orderkey = 4711 ORDER BY ALL",
}


def load(connection, name):
    """Loads an extension from its wheel: nothing is fetched while the queries run."""
    package = pathlib.Path(importlib.import_module(f"duckdb_extension_{name}").__file__).parent
    connection.load_extension(str(next(package.rglob(f"{name}.duckdb_extension"))))


def connect(route):
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    load(connection, "httpfs")
    # Each run asks again for every byte: it is the network that is compared, not DuckDB's memory.
    connection.execute("SET enable_external_file_cache = false")
    connection.execute("SET enable_progress_bar = false")
    connection.execute(
        f"""CREATE SECRET demo (TYPE s3, KEY_ID '{route["key_id"]}', SECRET '{route["secret"]}',
            REGION 'us-east-1', ENDPOINT '{route["endpoint"]}', URL_STYLE 'path', USE_SSL false)"""
    )
    return connection


def generate(job):
    connection = connect(job["routes"][0])
    load(connection, "tpch")
    connection.execute("CALL dbgen(sf = $scale)", {"scale": job["scale"]})
    target = f"s3://{job['bucket']}/tpch"
    options = f"FORMAT parquet, ROW_GROUP_SIZE {ROW_GROUP_SIZE}"
    for table in ("customer", "orders"):
        connection.execute(f"COPY {table} TO '{target}/{table}.parquet' ({options})")
    connection.execute(
        f"""COPY (SELECT *, year(l_shipdate) AS year FROM lineitem ORDER BY year, l_orderkey)
            TO '{target}/lineitem' ({options}, PARTITION_BY (year))"""
    )
    files, size, groups = connection.execute(
        f"""SELECT count(DISTINCT file_name), sum(total_compressed_size), count(DISTINCT (file_name, row_group_id))
            FROM parquet_metadata('{target}/**/*.parquet')"""
    ).fetchone()
    print(f"{files} Parquet files, {size / 1e6:.0f} MB, {groups} row groups in s3://{job['bucket']}/tpch/", flush=True)


def measure(job):
    for turn in range(job["rounds"]):
        for query, sql in QUERIES.items():
            for route in job["routes"]:
                try:
                    sample = run(job, route, query, sql)
                except duckdb.Error as error:
                    sys.exit(f"{query}, {route['name']}, round {turn + 1}: {error}")
                print(json.dumps(sample | {"round": turn}), flush=True)


def run(job, route, query, sql):
    connection = connect(route)
    source = f"s3://{job['bucket']}/tpch"
    views = {"customer": "customer.parquet", "orders": "orders.parquet", "lineitem": "lineitem/*/*.parquet"}
    before = stats(job)
    start = time.perf_counter()
    for name, files in views.items():
        if name in sql:
            connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{source}/{files}')")
    rows = connection.execute(sql).fetchall()
    seconds = time.perf_counter() - start
    after = stats(job)
    connection.close()
    return {
        "route": route["name"],
        "query": query,
        "seconds": seconds,
        "requests": after["requests"] - before["requests"],
        "bytes": after["bytes"] - before["bytes"],
        "answer": str(rows),
    }


def stats(job):
    with urllib.request.urlopen(job["stats"], timeout=10) as answer:
        return json.load(answer)


def main():
    job = json.load(sys.stdin)
    if job["scale"] is None:
        measure(job)
    else:
        try:
            generate(job)
        except duckdb.Error as error:
            sys.exit(f"writing the data: {error}")


main()
