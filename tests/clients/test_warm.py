"""Warm reads: an engine in a new process reads what another one read, and the origin hears nothing of it.

Counted twice: the proxy's metrics say what it asked, the origin's what it was asked.
"""

import deltalake
import pytest
from pyiceberg.expressions import EqualTo

import engines
import test_deltalake
import test_lance
import test_pyiceberg
from conftest import LAKE
from counting import Counts, purge
from engines import LISTS, in_new_process


@pytest.fixture
def counts(direct, proxy):
    return Counts(proxy, direct)


def expect_cold(counts, proxy, bucket, expected, read):
    """After a purge the reading has this result, and the origin is asked for objects."""
    purge(proxy, bucket)
    counts.begin()
    assert read() == expected
    asked, arrived, _ = counts.look()
    assert any(name.startswith("GetObject") for name in asked)
    expect_honest(asked, arrived)


def expect_warm(counts, expected, always, read):
    """The reading has this result, and asks the origin for nothing else than `always`."""
    counts.begin()
    assert read() == expected
    asked, arrived, results = counts.look()
    assert asked.keys() == set(always)
    expect_honest(asked, arrived)
    # Everything else was answered from the cache.
    assert reads(asked) == sum(count for name, count in results.items() if not name.endswith(" hit") and is_read(name))
    assert any(name.endswith(" hit") for name in results)


def expect_honest(asked, arrived):
    """The proxy counted what the origin was asked; one that it gave up may have got there or not."""
    given_up = sum(count for name, count in asked.items() if name.endswith(" given_up"))
    assert asked.total() - given_up <= arrived.total() <= asked.total()


def is_read(name):
    return name.startswith(("GetObject ", "HeadObject "))


def reads(asked):
    return sum(count for name, count in asked.items() if is_read(name))


@pytest.mark.parametrize("workload", engines.WORKLOADS, ids=lambda workload: workload.run.__name__)
def test_a_second_process_asks_the_origin_for_no_object(direct, proxy, lake, counts, workload):
    def read():
        return in_new_process(workload.run, proxy)

    expected = workload.run(direct)
    expect_cold(counts, proxy, LAKE, expected, read)
    expect_warm(counts, expected, workload.always, read)


def test_a_delta_table_is_warm_and_never_old(direct, proxy, counts):
    """The log is listed and its pointer validated each time: commits are seen at once, whoever makes
    them, and neither they nor the data are fetched twice."""
    url = f"s3://{proxy.bucket}/warm/delta"

    def append(side, first):
        storage = test_deltalake.options(side)
        deltalake.write_deltalake(url, test_deltalake.rows(first, 100), storage_options=storage, mode="append")

    def checkpoint(side):
        deltalake.DeltaTable(url, storage_options=test_deltalake.options(side)).create_checkpoint()

    def read():
        return engines.delta(proxy, url)

    append(direct, 0)
    append(direct, 100)
    expected = engines.delta(direct, url)
    expect_cold(counts, proxy, proxy.bucket, expected, lambda: in_new_process(engines.delta, proxy, url))
    # There is no pointer yet, which is asked each time as well.
    expect_warm(counts, expected, LISTS | {"GetObject 404"}, lambda: in_new_process(engines.delta, proxy, url))
    # Behind the proxy, and through it.
    for number, side in enumerate([direct, proxy, direct]):
        append(side, 200 + 100 * number)
        expected = engines.delta(direct, url)
        assert expected[0] == 2 + number
        assert read() == expected
        expect_warm(counts, expected, LISTS | {"GetObject 404"}, read)
    # The pointer is the one object that is overwritten.
    for number, side in enumerate([direct, direct, proxy]):
        checkpoint(side)
        append(direct, 500 + 100 * number)
        expected = engines.delta(direct, url)
        assert read() == expected
        expect_warm(counts, expected, LISTS | {"GetObject 304"}, read)


def test_a_lance_table_is_warm_and_never_old(direct, proxy, counts, trades):
    """Its versions are listed each time, every file is written once."""
    url = f"s3://{proxy.bucket}/warm/table.lance"

    def read():
        return engines.lance(proxy, url)

    test_lance.write(direct, url, trades.slice(0, 5_000), "create")
    expected = engines.lance(direct, url)
    expect_cold(counts, proxy, proxy.bucket, expected, lambda: in_new_process(engines.lance, proxy, url))
    expect_warm(counts, expected, LISTS, lambda: in_new_process(engines.lance, proxy, url))
    # Behind the proxy, and through it.
    for number, (side, mode) in enumerate([(direct, "append"), (proxy, "append"), (direct, "overwrite")]):
        test_lance.write(side, url, trades.slice(5_000 * (number + 1), 2_000), mode)
        expected = engines.lance(direct, url)
        assert expected[0] == number + 2
        assert read() == expected
        expect_warm(counts, expected, LISTS, read)


def test_an_iceberg_table_is_warm_and_never_old(direct, proxy, counts, tmp_path, trades):
    """Every file is written once; which one is current the catalog says."""
    uri, io, name = f"sqlite:///{tmp_path}/catalog.db", "pyarrow.PyArrowFileIO", "lake.trades"
    data = trades.slice(0, 2_000).select(["id", "symbol", "price"])
    own = test_pyiceberg.catalog(direct, uri, io, f"s3://{proxy.bucket}/warm/iceberg")
    own.create_namespace("lake")
    own.create_table(name, schema=data.schema).append(data)

    def read():
        return engines.iceberg(proxy, uri, name)

    expected = engines.iceberg(direct, uri, name)
    expect_cold(counts, proxy, proxy.bucket, expected, lambda: in_new_process(engines.iceberg, proxy, uri, name))
    expect_warm(counts, expected, {}, lambda: in_new_process(engines.iceberg, proxy, uri, name))
    # Behind the proxy, and through it.
    for number, side in enumerate([direct, proxy]):
        table = test_pyiceberg.catalog(side, uri, io).load_table(name)
        table.append(trades.slice(2_000 + 100 * number, 100).select(data.column_names))
        table.delete(EqualTo("id", 5 + number))
        expected = engines.iceberg(direct, uri, name)
        assert len(expected[1]["id"]) == 2_000 + (number + 1) * 99
        assert read() == expected
        expect_warm(counts, expected, {}, read)
