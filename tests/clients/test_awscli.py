"""The AWS command line: transfers in parts with If-Match, sync, recursive removal, links."""

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path

import pytest

from conftest import LAKE

AWS = Path(sysconfig.get_path("scripts")) / "aws"


def aws(at, *words, check=True):
    """Runs `aws s3 ...` and returns what it prints, without times and progress."""
    ran = subprocess.run(
        [sys.executable, AWS, *words], env=at.side.environment() | {"AWS_PAGER": ""},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    if check:
        assert ran.returncode == 0, ran.stderr
        return sorted(re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", line) for line in ran.stdout.splitlines())
    return ran.returncode, ran.stderr.strip()


@pytest.fixture
def files(tmp_path):
    """A directory with a file of more than one part and names that need encoding.

    No empty file beside others: botocore asks for 100 Continue even then, SeaweedFS answers 200 at
    once, and the next request on that connection loses its answer (60 seconds until the retry).
    """
    source = tmp_path / "source"
    for name, body in {
        "large.bin": b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(2000)) * 150,
        "small.txt": b"small\n",
        "sub dir/a+b=c.txt": b"plus\n",
        "sub dir/ü é.txt": b"unicode\n",
    }.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        # `sync` compares times, and the origin's are whole seconds: a file this new is always newer.
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return source


def content(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_copies_up_and_down(compare, files, tmp_path):
    def work(at):
        (files / "empty").touch()
        for name in ("large.bin", "sub dir/a+b=c.txt", "empty"):
            aws(at, "s3", "cp", "--no-progress", files / name, at.url(name))
            back = tmp_path / at.side.name / name
            aws(at, "s3", "cp", "--no-progress", at.url(name), back)
            assert back.read_bytes() == (files / name).read_bytes()
        aws(at, "s3", "cp", "--no-progress", at.url("large.bin"), at.url("copy.bin"))
        return aws(at, "s3", "ls", "--recursive", at.url(""))

    lines = compare(work)
    assert [line.split()[1] for line in lines if "bin" in line] == [str(9_600_000)] * 2


def test_syncs_both_ways(compare, files, tmp_path):
    def work(at):
        url, back = at.url("synced"), tmp_path / at.side.name
        first = aws(at, "s3", "sync", "--no-progress", files, url)
        nothing = aws(at, "s3", "sync", "--no-progress", files, url)
        aws(at, "s3", "sync", "--no-progress", url, back)
        assert content(back) == content(files)
        (back / "small.txt").unlink()
        removed = aws(at, "s3", "sync", "--no-progress", "--delete", back, url)
        return [len(first), nothing, len(removed)], aws(at, "s3", "ls", "--recursive", url)

    counts, _ = compare(work)
    assert counts == [4, [], 1]


def test_lists_and_removes(compare, files):
    def work(at):
        aws(at, "s3", "cp", "--no-progress", "--recursive", files, at.url("tree"))
        seen = [aws(at, "s3", "ls", at.url("tree/")), aws(at, "s3", "ls", "--recursive", "--summarize", at.url("tree/"))]
        aws(at, "s3", "rm", at.url("tree/small.txt"))
        aws(at, "s3", "mv", "--no-progress", at.url("tree/sub dir/ü é.txt"), at.url("tree/moved é"))
        seen.append(aws(at, "s3", "ls", "--recursive", at.url("tree/")))
        aws(at, "s3", "rm", "--recursive", at.url("tree"))
        seen.append(aws(at, "s3", "ls", "--recursive", at.url("tree/"), check=False)[0])
        return seen

    seen = compare(work)
    assert len(seen[2]) == 3
    # `ls` of nothing fails.
    assert seen[3] == 1


def test_presigns_with_sigv4(compare, lake, tmp_path):
    def work(at):
        link = presigned(at, f"s3://{LAKE}/small.txt", tmp_path / "config")
        with urllib.request.urlopen(link, timeout=30) as response:
            return response.status, response.read()

    assert compare(work, turns=2) == (200, lake["small.txt"])


def presigned(at, url, config):
    """A SigV4 link: without `signature_version`, which only a file can say, it would be SigV2."""
    config.write_text("[default]\ns3 =\n    signature_version = s3v4\n    addressing_style = path\n")
    ran = subprocess.run(
        [sys.executable, AWS, "s3", "presign", "--expires-in", "600", url],
        env=at.side.environment() | {"AWS_CONFIG_FILE": str(config)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    link = ran.stdout.strip()
    assert "X-Amz-Signature=" in link
    return link


def test_calls_the_api(compare, lake):
    def work(at):
        head = aws(at, "s3api", "head-object", "--bucket", LAKE, "--key", "trades.parquet", "--output", "json")
        listed = aws(
            at, "s3api", "list-objects-v2", "--bucket", LAKE, "--prefix", "hive/", "--max-items", "2",
            "--page-size", "1", "--output", "text", "--query", "Contents[].[Key,Size,ETag]",
        )  # fmt: skip
        return head, listed

    _, listed = compare(work, turns=2)
    assert len(listed) >= 2


def test_says_that_an_object_is_missing(compare, lake):
    def work(at):
        return aws(at, "s3", "cp", f"s3://{LAKE}/missing", "-", check=False)

    code, message = compare(work)
    assert code == 1 and "404" in message
