"""Polars: suffix ranges, every column chunk at once, UNSIGNED-PAYLOAD on plain HTTP."""

import polars as pl
import pytest

from conftest import HIVE_KEYS, HIVE_ROWS, LAKE, TRADES_ROWS


def options(side):
    return {
        "aws_access_key_id": side.access_key,
        "aws_secret_access_key": side.secret_key,
        "aws_region": side.region,
        "aws_endpoint_url": side.endpoint,
        "aws_allow_http": "true",
    }


def scan(at, name="trades.parquet", **more):
    return pl.scan_parquet(f"s3://{LAKE}/{name}", storage_options=options(at.side), **more)


def test_counts_rows_from_the_footer(compare, lake):
    assert compare(lambda at: scan(at).select(pl.len()).collect().item(), turns=2) == TRADES_ROWS


def test_reads_one_column(compare, lake, trades):
    total = compare(lambda at: scan(at).select(pl.col("quantity").sum()).collect().item(), turns=2)
    assert total == sum(trades["quantity"].to_pylist())


def test_filters_to_one_row_group(compare, lake):
    def work(at):
        rows = scan(at).filter(pl.col("id").is_between(54321, 54420)).select("id", "symbol", "note").sort("id")
        return rows.collect().rows()

    assert [row[0] for row in compare(work, turns=2)] == list(range(54321, 54421))


def test_reads_the_whole_file(compare, lake, trades):
    rows = compare(lambda at: scan(at).collect().rows(), turns=2)
    assert rows[77_777] == tuple(trades.slice(77_777, 1).to_pylist()[0].values())


def test_reads_a_small_file_by_a_suffix_longer_than_it(compare, lake):
    rows = compare(lambda at: scan(at, "hive/year=2025/month=01/part-0.parquet").collect().rows(), turns=2)
    assert len(rows) == HIVE_ROWS


def test_reads_a_hive_directory(compare, lake):
    def work(at):
        rows = scan(at, "hive/", hive_partitioning=True).group_by("year", "month").agg(pl.len(), pl.sum("id"))
        return rows.sort("year", "month").collect().rows()

    assert [row[:3] for row in compare(work, turns=2)] == [
        (2024, 1, 2 * HIVE_ROWS),
        (2024, 2, HIVE_ROWS),
        (2025, 1, HIVE_ROWS),
    ]


def test_reads_a_glob(compare, lake):
    def work(at):
        rows = scan(at, "hive/year=2024/**/*.parquet", include_file_paths="path").select("path").unique()
        return sorted(rows.collect()["path"])

    assert len(compare(work, turns=2)) == len([key for key in HIVE_KEYS if "2024" in key])


def test_reads_csv(compare, lake):
    def work(at):
        return pl.scan_csv(f"s3://{LAKE}/trades.csv", storage_options=options(at.side)).collect().rows()

    assert len(compare(work, turns=2)) == 20_000


def test_says_that_an_object_is_missing(compare, lake):
    def work(at):
        with pytest.raises(OSError) as error:
            scan(at, "no-such.parquet").collect()
        return type(error.value).__name__, "404" in str(error.value)

    assert compare(work) == ("FileNotFoundError", True)


def test_writes_parquet(compare, trades):
    def work(at):
        frame = pl.from_arrow(trades.slice(0, 20_000))
        url = at.url("write 1+x=ü.parquet")
        frame.write_parquet(url, storage_options=options(at.side), row_group_size=5_000)
        back = pl.read_parquet(url, storage_options=options(at.side))
        return back.equals(frame)

    assert compare(work) is True


def test_sinks_parquet_in_parts(compare, trades):
    def work(at):
        frame = pl.concat([pl.from_arrow(trades)] * 4)
        url = at.url("sink.parquet")
        # Uncompressed: more than one part.
        frame.lazy().sink_parquet(url, storage_options=options(at.side), compression="uncompressed", row_group_size=50_000)
        back = pl.scan_parquet(url, storage_options=options(at.side))
        return back.select(pl.len(), pl.sum("id"), pl.sum("price"), pl.col("note").hash().sum()).collect().rows()

    assert compare(work)[0][:2] == (4 * TRADES_ROWS, 4 * sum(range(TRADES_ROWS)))


def test_sinks_csv(compare, trades):
    def work(at):
        url = at.url("sink.csv")
        pl.from_arrow(trades.slice(0, 1_000)).lazy().sink_csv(url, storage_options=options(at.side))
        return pl.scan_csv(url, storage_options=options(at.side)).collect().rows()

    assert len(compare(work)) == 1_000


def test_overwrites_and_reads_the_new_rows(compare):
    def work(at):
        url = at.url("changing.parquet")
        seen = []
        for rows in (10, 20):
            pl.DataFrame({"a": range(rows)}).lazy().sink_parquet(url, storage_options=options(at.side))
            seen.append(pl.scan_parquet(url, storage_options=options(at.side)).select(pl.sum("a")).collect().item())
        return seen

    assert compare(work) == [sum(range(10)), sum(range(20))]
