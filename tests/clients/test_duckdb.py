"""DuckDB with httpfs: ranged reads without signed Range, hive globs, COPY in one PUT and in parts."""

import duckdb
import pytest
from pathlib import Path

import duckdb_extension_httpfs

from conftest import HIVE_KEYS, HIVE_ROWS, LAKE, TRADES_ROWS


def extension():
    """httpfs, which comes with the package of the same version: nothing is downloaded."""
    package = Path(duckdb_extension_httpfs.__file__).parent
    return next(package.glob(f"extensions/v{duckdb.__version__}/httpfs.duckdb_extension"))


def connect(side):
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "threads": 2})
    connection.execute(f"LOAD '{extension()}'")
    connection.execute(
        f"""CREATE SECRET (TYPE s3, KEY_ID '{side.access_key}', SECRET '{side.secret_key}',
            REGION '{side.region}', ENDPOINT '{side.host}', URL_STYLE 'path', USE_SSL false)"""
    )
    return connection


def read(compare, lake, sql):
    """The rows of a query on both sides; `$lake` stands for the bucket."""
    return compare(lambda at: connect(at.side).execute(sql.replace("$lake", f"s3://{LAKE}")).fetchall(), turns=2)


def test_counts_rows_from_the_footer(compare, lake):
    assert read(compare, lake, "SELECT count(*) FROM read_parquet('$lake/trades.parquet')") == [(TRADES_ROWS,)]


def test_reads_one_column(compare, lake, trades):
    rows = read(compare, lake, "SELECT sum(quantity) FROM read_parquet('$lake/trades.parquet')")
    assert rows == [(sum(trades["quantity"].to_pylist()),)]


def test_filters_to_one_row_group(compare, lake, trades):
    rows = read(
        compare,
        lake,
        "SELECT id, symbol, note FROM read_parquet('$lake/trades.parquet') WHERE id BETWEEN 54321 AND 54420 ORDER BY id",
    )
    assert [row[0] for row in rows] == list(range(54321, 54421))
    assert rows[0][2] == trades["note"][54321].as_py()


def test_reads_every_column_of_some_rows(compare, lake):
    sql = "SELECT md5(string_agg(t::VARCHAR, '' ORDER BY id)) FROM read_parquet('$lake/trades.parquet') t WHERE id < 25000"
    assert len(read(compare, lake, sql)) == 1


def test_reads_a_hive_glob_with_odd_keys(compare, lake):
    rows = read(
        compare,
        lake,
        """SELECT year, month, filename, count(*), sum(quantity)
           FROM read_parquet('$lake/hive/*/*/*.parquet', hive_partitioning=true, filename=true)
           GROUP BY ALL ORDER BY filename""",
    )
    assert {row[2] for row in rows} == {f"s3://{LAKE}/{key}" for key in HIVE_KEYS}
    assert {row[3] for row in rows} == {HIVE_ROWS}


def test_prunes_hive_partitions(compare, lake):
    rows = read(
        compare,
        lake,
        """SELECT count(*) FROM read_parquet('$lake/hive/**/*.parquet', hive_partitioning=true)
           WHERE year = 2024 AND month = 2""",
    )
    assert rows == [(HIVE_ROWS,)]


def test_lists_by_glob(compare, lake):
    rows = read(compare, lake, "SELECT file FROM glob('$lake/hive/year=2024/**') ORDER BY file")
    assert [row[0] for row in rows] == sorted(f"s3://{LAKE}/{key}" for key in HIVE_KEYS if "2024" in key)


def test_reads_csv(compare, lake):
    rows = read(compare, lake, "SELECT count(*), sum(id), min(note) FROM read_csv('$lake/trades.csv')")
    assert rows[0][:2] == (20_000, sum(range(20_000)))


def test_reads_without_a_range(compare, lake):
    def work(at):
        connection = connect(at.side)
        connection.execute("SET force_download = true")
        return connection.execute(f"SELECT sum(id) FROM read_parquet('s3://{LAKE}/trades.parquet')").fetchall()

    assert compare(work, turns=2) == [(sum(range(TRADES_ROWS)),)]


def test_says_that_an_object_is_missing(compare, lake):
    def work(at):
        with pytest.raises(duckdb.Error) as error:
            connect(at.side).execute(f"FROM read_parquet('s3://{LAKE}/no-such.parquet')")
        return type(error.value).__name__, "404" in str(error.value)

    assert compare(work) == ("HTTPException", True)


def test_copies_to_one_parquet_file(compare, lake, trades):
    def work(at):
        connection = connect(at.side)
        rows = trades.slice(0, 30_000)
        connection.register("trades", rows)
        url = at.url("out dir/copy 1+x=ü.parquet")
        connection.execute(f"COPY trades TO '{url}' (FORMAT parquet, ROW_GROUP_SIZE 10000)")
        return connection.execute(f"SELECT count(*), sum(id), sum(price) FROM '{url}'").fetchall()

    assert compare(work)[0][:2] == (30_000, sum(range(30_000)))


def test_copies_in_parts(compare, lake, trades):
    def work(at):
        connection = connect(at.side)
        connection.register("trades", trades)
        # Parts are a ten-thousandth of this, but never below 5 MiB.
        connection.execute("SET s3_uploader_max_filesize = '50GB'")
        url = at.url("large.csv")
        connection.execute(f"COPY trades TO '{url}' (FORMAT csv)")
        size = connection.execute(f"SELECT size FROM read_blob('{url}')").fetchone()[0]
        return size, connection.execute(f"SELECT count(*), sum(id) FROM '{url}'").fetchall()

    size, rows = compare(work)
    assert size > 6 * 1024 * 1024
    assert rows == [(TRADES_ROWS, sum(range(TRADES_ROWS)))]


def test_copies_partitioned(compare, lake, trades):
    def work(at):
        connection = connect(at.side)
        connection.register("trades", trades.slice(0, 10_000))
        connection.execute("SET threads = 1")
        url = at.url("by symbol")
        connection.execute(
            f"""COPY (SELECT *, id % 3 AS bucket_id, symbol[:4] || ' +é' AS part FROM trades ORDER BY id)
                TO '{url}' (FORMAT parquet, PARTITION_BY (bucket_id, part))"""
        )
        return connection.execute(
            f"""SELECT bucket_id, part, count(*), sum(id)
                FROM read_parquet('{url}/**/*.parquet', hive_partitioning=true) GROUP BY ALL ORDER BY ALL"""
        ).fetchall()

    rows = compare(work)
    assert sum(row[2] for row in rows) == 10_000


def test_overwrites_and_reads_the_new_rows(compare):
    def work(at):
        seen = []
        for value in (1, 2):
            url = at.url("changing.parquet")
            connection = connect(at.side)
            connection.execute(f"COPY (SELECT {value} AS v, repeat('x', {value}) AS w) TO '{url}'")
            seen.append(connect(at.side).execute(f"FROM '{url}'").fetchall())
        return seen

    assert compare(work) == [[(1, "x")], [(2, "xx")]]
