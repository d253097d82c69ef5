"""A restart: what lies on disk is served again, after one question for each object whether it is still good."""

import signal

import pytest

import engines
import servers
from conftest import proxied_side
from counting import Counts, counter
from engines import in_new_process


@pytest.mark.parametrize(
    "last_signal, workloads",
    [
        (signal.SIGTERM, [engines.duckdb, engines.polars]),
        (signal.SIGKILL, [engines.pyarrow, engines.clickhouse]),
    ],
    ids=["stopped", "killed"],
)
def test_the_data_are_still_there_after_a_restart(direct, proxy, lake, tmp_path, last_signal, workloads):
    expected = [workload(direct) for workload in workloads]
    with servers.s3proxy(tmp_path, direct.endpoint, last_signal=last_signal) as served:
        side = proxied_side(served, "first")
        assert [in_new_process(workload, side) for workload in workloads] == expected
        # Until everything is on disk.
        Counts(side, direct).settled()
        assert counter(side.admin, "s3proxy_cache_bytes", "tier")["disk"] > 4 << 20
    with servers.s3proxy(tmp_path, direct.endpoint) as served:
        side = proxied_side(served, "second")
        counts = Counts(side, direct)
        counts.begin()
        assert [in_new_process(workload, side) for workload in workloads] == expected
        asked, arrived, results = counts.look()
        # Once for each of the two objects, without a byte.
        assert asked.keys() <= {"HeadObject 304", "GetObject 304"} and 0 < asked.total() <= 2
        assert arrived.total() == asked.total()
        assert not counter(side.admin, "s3proxy_cache_fetched_bytes_total")
        assert results["GetObject hit"] > 0
        assert counter(side.admin, "s3proxy_cache_served_bytes_total", "tier")["disk"] > 4 << 20
