"""PyArrow, that is the AWS SDK for C++: chunked parts with an unsigned trailer, signed extra headers."""

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest

from conftest import HIVE_KEYS, HIVE_ROWS, LAKE, TRADES_ROWS


def filesystem(side):
    return pa.fs.S3FileSystem(
        access_key=side.access_key,
        secret_key=side.secret_key,
        region=side.region,
        endpoint_override=side.host,
        scheme="http",
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
    )


def path(at, name):
    return f"{at.bucket}/{at.key(name)}"


def described(information):
    return [(i.path, i.type.name, i.size if i.is_file else None) for i in sorted(information, key=lambda i: i.path)]


def test_reads_a_table(compare, lake, trades):
    def work(at):
        return pa.parquet.read_table(f"{LAKE}/trades.parquet", filesystem=filesystem(at.side)).equals(trades)

    assert compare(work, turns=2) is True


def test_reads_columns_of_one_row_group(compare, lake, trades):
    def work(at):
        with filesystem(at.side).open_input_file(f"{LAKE}/trades.parquet") as file:
            parquet = pa.parquet.ParquetFile(file)
            return parquet.num_row_groups, parquet.read_row_group(5, ["id", "note"]).to_pydict()

    groups, rows = compare(work, turns=2)
    assert groups == 12
    assert rows["note"] == trades["note"].slice(50_000, 10_000).to_pylist()


def test_scans_a_hive_dataset(compare, lake):
    def work(at):
        dataset = pa.dataset.dataset(
            f"{LAKE}/hive", filesystem=filesystem(at.side), format="parquet", partitioning="hive"
        )
        rows = dataset.to_table(columns=["id", "year", "month"], filter=pa.dataset.field("year") == 2024)
        return sorted(dataset.files), rows.num_rows, sorted(rows["id"].to_pylist())

    files, count, _ = compare(work, turns=2)
    assert files == sorted(f"{LAKE}/{key}" for key in HIVE_KEYS)
    assert count == 3 * HIVE_ROWS


def test_filters_a_dataset(compare, lake):
    def work(at):
        dataset = pa.dataset.dataset(f"{LAKE}/trades.parquet", filesystem=filesystem(at.side))
        where = (pa.dataset.field("id") >= 54321) & (pa.dataset.field("id") <= 54420)
        return dataset.to_table(filter=where).to_pydict(), dataset.count_rows()

    rows, count = compare(work, turns=2)
    assert rows["id"] == list(range(54321, 54421))
    assert count == TRADES_ROWS


def test_reads_bytes_at_every_offset(compare, lake):
    def work(at):
        with filesystem(at.side).open_input_file(f"{LAKE}/trades.parquet") as file:
            size = file.size()
            offsets = [(0, 1), (0, 100), (65_530, 12), (size - 1, 1), (size - 8, 8), (size - 4, 100), (1_000_000, 300_000)]
            return [file.read_at(length, offset) for offset, length in offsets]

    body = lake["trades.parquet"]
    assert compare(work, turns=2)[2] == body[65_530:65_542]


def test_reads_csv(compare, lake):
    def work(at):
        with filesystem(at.side).open_input_stream(f"{LAKE}/trades.csv") as stream:
            return pa.csv.read_csv(stream).num_rows

    assert compare(work, turns=2) == 20_000


def test_describes_files_directories_and_nothing(compare, lake):
    def work(at):
        names = ["trades.parquet", "hive", "hive/year=2024/", "missing", "missing/deeper", "empty"]
        return described(filesystem(at.side).get_file_info([f"{LAKE}/{name}" for name in names]))

    assert [kind for _, kind, _ in compare(work, turns=2)] == [
        "File", "Directory", "Directory", "NotFound", "NotFound", "File",
    ]  # fmt: skip


def test_lists_recursively(compare, lake):
    def work(at):
        selector = pa.fs.FileSelector(f"{LAKE}/hive", recursive=True)
        return described(filesystem(at.side).get_file_info(selector))

    assert len(compare(work, turns=2)) == len(HIVE_KEYS) + 5


def test_opening_a_missing_object_fails(compare, lake):
    def work(at):
        with pytest.raises(OSError) as error:
            filesystem(at.side).open_input_file(f"{LAKE}/missing")
        return type(error.value).__name__

    assert compare(work) == "FileNotFoundError"


def test_writes_a_table(compare, trades):
    def work(at):
        target = path(at, "write 1+x=ü.parquet")
        pa.parquet.write_table(trades.slice(0, 20_000), target, filesystem=filesystem(at.side), row_group_size=5_000)
        return pa.parquet.read_table(target, filesystem=filesystem(at.side)).equals(trades.slice(0, 20_000))

    assert compare(work) is True


def test_writes_a_stream_in_many_parts(compare):
    def work(at):
        target = path(at, "stream")
        block = bytes(range(256)) * 4096
        with filesystem(at.side).open_output_stream(target, metadata={"Content-Type": "application/x-lake"}) as stream:
            for _ in range(24):
                stream.write(block)
        with filesystem(at.side).open_input_stream(target) as stream:
            return stream.read() == block * 24, filesystem(at.side).get_file_info(target).size

    assert compare(work) == (True, 24 * 1024 * 1024)


@pytest.mark.parametrize("size", [0, 1, 100, 65_535, 65_536, 65_537])
def test_writes_a_small_file(compare, size):
    def work(at):
        target = path(at, "small")
        with filesystem(at.side).open_output_stream(target) as stream:
            stream.write(b"x" * size)
        with filesystem(at.side).open_input_stream(target) as stream:
            return stream.read()

    assert compare(work) == b"x" * size


def test_writes_a_partitioned_dataset(compare, trades):
    def work(at):
        base = path(at, "dataset")
        pa.dataset.write_dataset(
            trades.slice(0, 5_000).append_column("part", pa.array([f"é {i % 3}" for i in range(5_000)])),
            base,
            filesystem=filesystem(at.side),
            format="parquet",
            partitioning=pa.dataset.partitioning(pa.schema([("part", pa.string())]), flavor="hive"),
            basename_template="part-{i}.parquet",
        )
        back = pa.dataset.dataset(base, filesystem=filesystem(at.side), partitioning="hive")
        return sorted(back.files), back.to_table().sort_by("id").to_pydict()

    files, rows = compare(work)
    assert len(files) == 3
    assert len(rows["id"]) == 5_000


def test_creates_moves_and_deletes(compare):
    def work(at):
        fs = filesystem(at.side)
        seen = []
        base = path(at, "tree")
        fs.create_dir(f"{base}/a/b", recursive=True)
        for name in ("a/1", "a/b/2", "a/b/3 +é"):
            with fs.open_output_stream(f"{base}/{name}") as stream:
                stream.write(name.encode())
        fs.copy_file(f"{base}/a/1", f"{base}/a/copy +é")
        fs.move(f"{base}/a/b/2", f"{base}/a/b/moved")
        seen.append(described(fs.get_file_info(pa.fs.FileSelector(base, recursive=True))))
        fs.delete_file(f"{base}/a/1")
        fs.delete_dir_contents(f"{base}/a/b")
        seen.append(described(fs.get_file_info(pa.fs.FileSelector(base, recursive=True))))
        fs.delete_dir(base)
        # SeaweedFS forgets an emptied directory some time later: only files tell.
        left = fs.get_file_info(pa.fs.FileSelector(base, recursive=True, allow_not_found=True))
        seen.append([i.path for i in left if i.is_file])
        return seen

    before, between, after = compare(work)
    assert len(before) > len(between)
    assert after == []
