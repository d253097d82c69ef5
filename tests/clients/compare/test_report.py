"""The arithmetic of benches/compare: what its report says has to follow from what was measured."""

import dataclasses
import sys

import pytest

import servers

sys.path.append(str(servers.ROOT / "benches/compare"))

import ways  # noqa: E402
from figures import Figures, Spread  # noqa: E402
from plan import QUICK  # noqa: E402
from report import Report  # noqa: E402
from targets import targets  # noqa: E402
from tasks import point  # noqa: E402

PEERS = ["nginx", "varnish"]


def rows(task, way, state, **figures):
    """A row for each round: `seconds=[1, 2]` is two rounds."""
    rounds = len(next(iter(figures.values())))
    at = {"task": task, "way": way, "state": state}
    return [
        at | {"round": number} | {name: values[number] for name, values in figures.items()} for number in range(rounds)
    ]


def target(found, words):
    first, *rest = words
    (one,) = [target for target in found if target.text.startswith(first) and all(word in target.text for word in rest)]
    return one


def test_ratios_are_taken_within_a_round():
    # The second round met a machine that was four times as slow.
    figures = Figures(
        rows("tpch", "s3proxy", "warm", seconds=[2, 8, 3]) + rows("tpch", "varnish", "warm", seconds=[1, 4, 2])
    )
    ratio = figures.ratio("tpch", ("s3proxy", "warm"), ("varnish", "warm"), "seconds")
    assert ratio == Spread(2, 1.5, 2)
    assert figures.spread("tpch", "s3proxy", "warm", "seconds") == Spread(3, 2, 8)


def test_a_round_that_one_side_lacks_does_not_count():
    theirs = rows("tpch", "varnish", "warm", seconds=[1, 4])[1:]
    figures = Figures(rows("tpch", "s3proxy", "warm", seconds=[2, 6]) + theirs)
    ratio = figures.ratio("tpch", ("s3proxy", "warm"), ("varnish", "warm"), "seconds")
    assert ratio == Spread(1.5, 1.5, 1.5)


def test_nothing_is_divided_by_nothing():
    figures = Figures(
        rows("tpch", "s3proxy", "warm", origin_requests=[5]) + rows("tpch", "varnish", "warm", origin_requests=[0])
    )
    assert figures.ratio("tpch", ("s3proxy", "warm"), ("varnish", "warm"), "origin_requests") is None
    assert figures.ratio("tpch", ("s3proxy", "cold"), ("varnish", "cold"), "seconds") is None


def test_the_best_peer_is_another_one_in_each_round():
    figures = Figures(
        rows("tpch", "s3proxy", "cold", seconds=[8, 6])
        + rows("tpch", "nginx", "cold", seconds=[10, 20])
        + rows("tpch", "varnish", "cold", seconds=[40, 10])
    )
    found = target(targets(figures, QUICK, PEERS), ["22 TPC-H queries, cold", "best peer"])
    assert found.measured == Spread(pytest.approx(0.7), 0.6, 0.8)
    assert found.reached


@pytest.mark.parametrize(
    "size, connections, ours, reached",
    [("4 KiB", 8, 1.5, True), ("4 KiB", 8, 1.51, False), ("64 KiB", 1, 0.91, False), ("1 MiB", 64, 0.8, True)],
)
def test_cpu_of_a_hit_is_held_against_its_own_limit(size, connections, ours, reached):
    task = point(size, connections)
    figures = Figures(
        rows(task, "s3proxy", "warm", cpu_micros=[100 * ours]) + rows(task, "nginx", "warm", cpu_micros=[100])
    )
    found = targets(figures, QUICK, PEERS)
    assert target(found, [f"{size}, {connections} connection", "nginx"]).reached is reached
    # Varnish was not measured: neither reached nor missed.
    assert target(found, [f"{size}, {connections} connection", "Varnish"]).reached is None


@pytest.mark.parametrize("direct, reached", [(5, True), (4.9, False)])
def test_a_large_object_has_to_come_in_a_fifth_of_the_time(direct, reached):
    figures = Figures(
        rows("sequential", "s3proxy", "cold", seconds=[1]) + rows("sequential", "direct", "direct", seconds=[direct])
    )
    assert target(targets(figures, QUICK, PEERS), ["64 MiB in one request, cold", "times as fast as direct"]).reached is reached


@pytest.fixture
def facts():
    """Of a run of TPC-H and of one cell of the point reads, in which nginx is better at one figure of each."""
    cell = point("4 KiB", 1)
    load = {"requests": [10, 10], "rate": [5, 5], "p50_ms": [1, 1], "p99_ms": [2, 2]}
    found = (
        rows("tpch", "direct", "direct", seconds=[50, 52], origin_requests=[9, 9], origin_bytes=[100, 100])
        + rows("tpch", "nginx", "cold", seconds=[9, 9], cpu_seconds=[1, 1], origin_requests=[3, 3], origin_bytes=[150, 150], rss_mib=[20, 20])
        + rows("tpch", "s3proxy", "cold", seconds=[7, 8], cpu_seconds=[2, 2.2], origin_requests=[3, 3], origin_bytes=[120, 170], rss_mib=[20, 20])
        + rows(cell, "nginx", "warm", seconds=[1, 1], cpu_micros=[20, 20], **load)
        + rows(cell, "s3proxy", "warm", seconds=[1, 1], cpu_micros=[24, 26], **load)
    )  # fmt: skip
    way = {"version": "1", "verifies": False, "notes": ()}
    return {
        "date": "2000-01-01",
        "machine": {"processor": "CPU", "family": "1", "model": "2", "is_virtual": True, "cores": 2, "memory_gib": 4,
                    "linux": "6", "system": "Debian", "load": 0.5},
        "versions": {"nginx": "1"},
        "plan": dataclasses.asdict(QUICK),
        "delay": "30ms", "bandwidth": "80MB/s", "rounds": 2, "minutes": 1.0,
        "sizes": {"tpch_bytes": 1e6},
        "ways": [way | {"name": name, "title": name} for name in ("direct", "nginx", "s3proxy")],
        "rows": found,
        "failures": [],
        "verify": {"comparisons": 7, "differences": 1, "tasks": {"tpch": {"comparisons": 7, "differences": 1, "kinds": {"body": 1}}}},
    }  # fmt: skip


def test_the_report_says_where_a_peer_is_better(facts):
    text = Report(facts).markdown({})
    better = text.split("## Where each peer is better")[1].split("\n## ")[0]
    assert "- DuckDB, 22 TPC-H queries, cold: CPU time (2.10 (2.00–2.20))\n" in better
    assert "- 4 KiB, 1 connection, warm: CPU a request (1.25 (1.20–1.30))" in better
    # Where both are equal, or ours is better, there is nothing to say.
    assert len([line for line in better.splitlines() if line.startswith("-")]) == 2


def test_the_report_says_what_was_missed(facts):
    text = Report(facts).markdown({})
    assert "| 4 KiB, 1 connection: CPU a request, of nginx's | ≤ 1.5 | 1.25 (1.20–1.30) | yes |" in text
    assert "cold: bytes from the origin, of those asked for | ≤ 1.8 | 1.45 (1.20–1.70) | yes |" in text
    assert "| verify mode: differences over all work | 0 | 1 | **no** |" in text
    assert "**7 answers, 1 difference**" in text


def test_every_adapter_is_found_and_says_what_it_is():
    found = {peer.name: peer for peer in ways.peers()}
    assert {"direct", "nginx", "varnish", "s3proxy"} <= found.keys()
    # Ours is the last in tables, the store the first.
    assert (next(iter(found)), list(found)[-1]) == ("direct", "s3proxy")
    for peer in found.values():
        assert peer.title and (peer.packages or peer.name in ("direct", "s3proxy"))


def test_the_report_says_who_lost_the_hot_set(facts):
    beside = {"requests": [100], "seconds": [1], "p50_ms": [1], "p99_ms": [2]}
    facts["rows"] += (
        rows("scan", "nginx", "beside", again_bytes=[0], late=[1], **beside)
        + rows("scan", "nginx", "alone", **beside)
        + rows("scan", "s3proxy", "beside", again_bytes=[96e6], late=[12], **beside)
        + rows("scan", "s3proxy", "alone", **beside)
    )
    text = Report(facts).markdown({})
    assert "- hot set beside a scan: MB fetched again (96 against 0), answers that waited (12 against 1)" in text
    assert "| s3proxy | 96.0 (96.0–96.0) | 88.0 (88.0–88.0) |" in text
