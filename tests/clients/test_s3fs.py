"""s3fs, that is aiobotocore: If-Match on every read, whole-column read-ahead, empty delimiters."""

import pyarrow.parquet
import pytest
import s3fs

from conftest import HIVE_KEYS, LAKE, TRADES_ROWS


def filesystem(side):
    return s3fs.S3FileSystem(
        key=side.access_key,
        secret=side.secret_key,
        client_kwargs={"endpoint_url": side.endpoint, "region_name": side.region},
        skip_instance_cache=True,
        use_listings_cache=False,
        default_block_size=5 << 20,
    )


def test_reads(compare, lake):
    def work(at):
        fs = filesystem(at.side)
        with fs.open(f"{LAKE}/trades.parquet", block_size=100_000) as file:
            file.seek(-8, 2)
            tail = file.read()
            file.seek(65_530)
            middle = file.read(200_000)
        return (
            fs.cat(f"{LAKE}/trades.parquet"),
            tail,
            middle,
            fs.cat_file(f"{LAKE}/trades.parquet", start=10, end=20),
            fs.cat_file(f"{LAKE}/trades.parquet", start=-10),
            fs.cat_ranges([f"{LAKE}/trades.parquet"] * 3, [0, 5, 500_000], [5, 1000, 600_000]),
        )

    body = lake["trades.parquet"]
    result = compare(work, turns=2)
    assert result[0] == body
    assert result[2] == body[65_530:265_530]


def test_reads_parquet(compare, lake, trades):
    def work(at):
        table = pyarrow.parquet.read_table(
            f"{LAKE}/trades.parquet", filesystem=filesystem(at.side), columns=["id", "note"]
        )
        return table.num_rows, table.equals(trades.select(["id", "note"]))

    assert compare(work, turns=2) == (TRADES_ROWS, True)


def test_lists(compare, lake):
    def work(at):
        fs = filesystem(at.side)
        described = fs.info(f"{LAKE}/trades.parquet")
        return (
            sorted(fs.find(f"{LAKE}/hive")),
            sorted(fs.glob(f"{LAKE}/hive/*/month=01/*")),
            sorted(fs.ls(f"{LAKE}/hive", detail=False)),
            [fs.exists(f"{LAKE}/{name}") for name in ("hive", "trades.parquet", "missing")],
            [described[name] for name in ("name", "size", "type", "ETag", "ContentType")],
            fs.isdir(f"{LAKE}/hive"),
            sorted(fs.du(f"{LAKE}/hive", total=False).items()),
        )

    found, _, _, exist, _, is_directory, _ = compare(work, turns=2)
    assert found == sorted(f"{LAKE}/{key}" for key in HIVE_KEYS)
    assert (exist, is_directory) == ([True, True, False], True)


def test_writes(compare):
    def work(at):
        fs = filesystem(at.side)
        base = f"{at.bucket}/{at.prefix}"
        body = bytes(range(251)) * 60_000
        with fs.open(f"{base}/large +é", "wb", block_size=5 << 20) as file:
            for start in range(0, len(body), 1_000_000):
                file.write(body[start : start + 1_000_000])
        fs.pipe({f"{base}/one": b"1", f"{base}/two": b"2"})
        fs.copy(f"{base}/one", f"{base}/copy")
        fs.mv(f"{base}/two", f"{base}/moved")
        assert fs.cat(f"{base}/large +é") == body
        before = sorted(fs.find(base))
        fs.rm(f"{base}/one")
        fs.pipe(f"{base}/copy", b"overwritten")
        return before, sorted(fs.find(base)), fs.cat(f"{base}/copy")

    before, after, body = compare(work)
    assert (len(before), len(after), body) == (4, 3, b"overwritten")


def test_removes_recursively(compare):
    def work(at):
        fs = filesystem(at.side)
        base = f"{at.bucket}/{at.prefix}/tree"
        fs.pipe({f"{base}/{i}/x": b"x" for i in range(5)})
        fs.rm(base, recursive=True)
        # SeaweedFS forgets an emptied directory some time later: ask for what was in it.
        return [fs.exists(f"{base}/{i}/x") for i in range(5)]

    assert compare(work) == [False] * 5


def test_says_that_an_object_is_missing(compare, lake):
    def work(at):
        with pytest.raises(FileNotFoundError):
            filesystem(at.side).cat(f"{LAKE}/missing")

    compare(work)
