"""Engines that read some columns of a file of many row groups: what the proxy fetches ahead of them, by the file's footer."""

import duckdb
import polars
import pyarrow.parquet as pq
import pytest

from counting import counter, purge
from test_duckdb import connect

KEY = "strides/wide.parquet"
ROW_GROUPS = 30
ROWS = ROW_GROUPS * 20480
SQL = "SELECT sum(c3), max(c11), sum(c17) FROM read_parquet('{}')"
COLUMNS = ("c3", "c11", "c17")


@pytest.fixture(scope="module")
def wide(direct, tmp_path_factory):
    path = tmp_path_factory.mktemp("strides") / "wide.parquet"
    columns = ", ".join(f"(hash(i * {c} + {c}) % 100000)::INTEGER AS c{c}" for c in range(20))
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(
        f"COPY (SELECT {columns} FROM range({ROWS}) rows(i)) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 20480)"
    )
    direct.boto3().upload_file(str(path), direct.bucket, KEY)
    return path


def prefetched(proxy):
    """Bytes fetched ahead, and those of them that were read."""
    names = ("s3proxy_cache_prefetched_bytes_total", "s3proxy_cache_prefetch_used_bytes_total")
    return [counter(proxy.admin, name)[name] for name in names]


def test_duckdb_finds_columns_that_it_has_not_asked_for(direct, proxy, wide):
    metadata = pq.ParquetFile(wide).metadata
    assert metadata.num_row_groups == ROW_GROUPS
    chunks = [metadata.row_group(group).column(column) for group in range(ROW_GROUPS) for column in range(20)]
    bytes_of_columns = sum(chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema in COLUMNS)
    purge(proxy, direct.bucket)
    before = prefetched(proxy)
    expected = duckdb.execute(SQL.format(wide)).fetchall()
    connection = connect(proxy)
    connection.execute("SET enable_external_file_cache = false")
    assert connection.execute(SQL.format(f"s3://{direct.bucket}/{KEY}")).fetchall() == expected
    fetched, used = (now - then for now, then in zip(prefetched(proxy), before, strict=True))
    assert used > bytes_of_columns / 2
    assert fetched - used <= (4 << 20) + fetched / 4
    # There is nothing left to fetch for who reads the same again.
    after = prefetched(proxy)
    assert connection.execute(SQL.format(f"s3://{direct.bucket}/{KEY}")).fetchall() == expected
    assert prefetched(proxy)[0] == after[0]


def test_polars_reads_the_same(direct, proxy, wide):
    purge(proxy, direct.bucket)
    options = {
        "aws_endpoint_url": proxy.endpoint,
        "aws_allow_http": "true",
        "aws_region": proxy.region,
        "aws_access_key_id": proxy.access_key,
        "aws_secret_access_key": proxy.secret_key,
    }
    columns = [polars.col("c3").sum(), polars.col("c11").max()]
    remote = polars.scan_parquet(f"s3://{direct.bucket}/{KEY}", storage_options=options).select(columns).collect()
    assert remote.rows() == polars.scan_parquet(wide).select(columns).collect().rows()
