"""s3proxy-load, the client of the point reads: it reads as SDKs do, and no wrong byte escapes it."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import servers

sys.path.append(str(servers.ROOT / "benches/compare"))

import dataset  # noqa: E402
from stand import Failed, load_row  # noqa: E402

BYTES = 300_000
# Where in the pattern, which is shorter than the object, the object begins.
FIRST = 12_345
BUCKET = "load"
MEMBER = {"path": f"/{BUCKET}/some/pattern.bin", "first": FIRST, "bytes": BYTES}


def binary():
    beside = Path(os.environ.get("S3PROXY_BIN") or "target/debug/s3proxy")
    path = servers.ROOT / beside.parent / "s3proxy-load"
    if not path.exists():
        pytest.skip(f"{path} does not exist: cargo build --features demo")
    return path


@pytest.fixture(scope="module")
def pattern(direct):
    """The pattern; the object that is made of it is stored."""
    whole = random.Random(5).randbytes(100_003)
    s3 = direct.boto3()
    s3.create_bucket(Bucket=BUCKET)
    dataset.put(s3, MEMBER, whole)
    return whole


@pytest.fixture
def read(tmp_path):
    """Reads the object whole and in ranges; returns a result for each."""

    def run(side, pattern, secret_key=None):
        file = tmp_path / "pattern"
        file.write_bytes(pattern)
        ranges = {"anywhere": {"bytes": 5_000, "distinct": 40, "seed": 1}}
        job = {
            "address": side.host, "access_key": side.access_key, "secret_key": secret_key or side.secret_key,
            "region": side.region, "pattern": str(file),
            "loads": [
                {"objects": [MEMBER], "read": "whole", "connections": 2, "requests": 3},
                {"objects": [MEMBER], "read": ranges, "connections": 4, "requests": 100, "late_micros": 10_000_000},
            ],
        }  # fmt: skip
        done = subprocess.run([binary()], input=json.dumps(job), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_it_reads_through_the_proxy_as_directly(direct, proxied, pattern, read):
    for side in filter(None, (direct, proxied)):
        whole, ranges = read(side, pattern)
        assert (whole["requests"], whole["bytes"], whole["failures"], whole["wrong"]) == (3, 3 * BYTES, 0, 0), side.name
        assert (ranges["requests"], ranges["bytes"], ranges["wrong"]) == (100, 500_000, 0), side.name
        assert ranges["late"] == 0
        assert 0 < load_row(ranges)["p50_ms"] <= load_row(ranges)["p99_ms"]


def test_one_wrong_byte_is_found(direct, pattern, read):
    altered = bytearray(pattern)
    altered[FIRST + 77] ^= 1
    whole, ranges = read(direct, altered)
    assert (whole["requests"], whole["wrong"]) == (0, 3)
    # Of the ranges, those with the byte in them, as often as the pattern repeats.
    assert 0 < ranges["wrong"] < 100
    with pytest.raises(Failed, match="wrong answers: other bytes"):
        load_row(ranges)


def test_who_is_refused_has_failed(proxy, pattern, read):
    whole, _ = read(proxy, pattern, secret_key="another")
    assert (whole["requests"], whole["failures"], whole["wrong"]) == (0, 3, 0)
    assert "403" in whole["complaint"]
    with pytest.raises(Failed, match="no answer"):
        load_row(whole)
