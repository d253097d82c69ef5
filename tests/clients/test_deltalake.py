"""delta-rs: commits by create-only puts, a log that is read again and again, a true 404."""

import deltalake
import deltalake.exceptions
import pyarrow as pa
import pytest


def options(side):
    return {
        "aws_access_key_id": side.access_key,
        "aws_secret_access_key": side.secret_key,
        "aws_region": side.region,
        "aws_endpoint_url": side.endpoint,
        "aws_allow_http": "true",
        # Commits by If-None-Match, without a lock table.
        "aws_conditional_put": "etag",
    }


def rows(first, count):
    return pa.table({"id": list(range(first, first + count)), "part": [f"p{i % 2}" for i in range(count)]})


def test_writes_appends_and_reads(compare):
    def work(at):
        url, storage = at.url("table"), options(at.side)
        deltalake.write_deltalake(url, rows(0, 1000), storage_options=storage, partition_by=["part"])
        deltalake.write_deltalake(url, rows(1000, 500), storage_options=storage, mode="append")
        table = deltalake.DeltaTable(url, storage_options=storage)
        read = pa.table(table.to_pyarrow_table()).sort_by("id")
        old = deltalake.DeltaTable(url, version=0, storage_options=storage)
        table.delete("id < 10")
        table.create_checkpoint()
        later = deltalake.DeltaTable(url, storage_options=storage)
        return (
            table.version(),
            read.to_pydict(),
            old.to_pyarrow_table().num_rows,
            later.to_pyarrow_table().num_rows,
            [entry["operation"] for entry in later.history()],
        )

    version, read, old, later, _ = compare(work, stored=None)
    assert (version, len(read["id"]), old, later) == (2, 1500, 1000, 1490)


def test_sees_each_commit_at_once(compare):
    def work(at):
        url, storage = at.url("table"), options(at.side)
        seen = []
        for turn in range(5):
            deltalake.write_deltalake(url, rows(turn * 10, 10), storage_options=storage, mode="append")
            table = deltalake.DeltaTable(url, storage_options=storage)
            seen.append((table.version(), table.to_pyarrow_table().num_rows))
        return seen

    assert compare(work, stored=None) == [(turn, 10 * turn + 10) for turn in range(5)]


def test_two_writers_conflict(compare):
    def work(at):
        url, storage = at.url("table"), options(at.side)
        deltalake.write_deltalake(url, rows(0, 10), storage_options=storage)
        one = deltalake.DeltaTable(url, storage_options=storage)
        two = deltalake.DeltaTable(url, storage_options=storage)
        one.delete("id = 1")
        with pytest.raises(deltalake.exceptions.CommitFailedError):
            two.delete("id = 1")
        final = deltalake.DeltaTable(url, storage_options=storage)
        return final.version(), sorted(final.to_pyarrow_table()["id"].to_pylist())

    assert compare(work, stored=None) == (1, [0, *range(2, 10)])


def test_a_second_table_is_refused(compare):
    def work(at):
        url, storage = at.url("table"), options(at.side)
        deltalake.write_deltalake(url, rows(0, 10), storage_options=storage)
        with pytest.raises(deltalake.exceptions.DeltaError) as error:
            deltalake.write_deltalake(url, rows(0, 10), storage_options=storage, mode="error")
        with pytest.raises(deltalake.exceptions.TableNotFoundError):
            deltalake.DeltaTable(at.url("none"), storage_options=storage)
        return type(error.value).__name__

    compare(work, stored=None)
