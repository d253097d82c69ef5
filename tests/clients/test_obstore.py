"""obstore, that is Rust's object_store: signed ranges, create-only puts, deletes in one POST."""

import datetime
import urllib.request

import obstore
import obstore.exceptions
import obstore.store
import pytest

from conftest import HIVE_KEYS, LAKE


def store(side, bucket, **more):
    return obstore.store.S3Store(
        bucket,
        access_key_id=side.access_key,
        secret_access_key=side.secret_key,
        region=side.region,
        endpoint=side.endpoint,
        client_options={"allow_http": True},
        **more,
    )


def described(entry):
    return entry["path"], entry["size"], entry["e_tag"], entry["version"]


@pytest.mark.parametrize("unsigned", [False, True])
def test_gets_whole_and_ranged(compare, lake, unsigned):
    def work(at):
        lake_store = store(at.side, LAKE, unsigned_payload=unsigned)
        answer = obstore.get(lake_store, "trades.parquet")
        return (
            described(answer.meta),
            bytes(answer.bytes()),
            bytes(obstore.get_range(lake_store, "trades.parquet", start=65_530, length=20)),
            [bytes(b) for b in obstore.get_ranges(lake_store, "trades.parquet", starts=[0, 5, 900_000, 2_000_000], lengths=[4, 9, 9, 70_000])],
            bytes(obstore.get(lake_store, "trades.parquet", options={"range": {"suffix": 8}}).bytes()),
            bytes(obstore.get(lake_store, "trades.parquet", options={"range": {"offset": 1_000_000}}).bytes()),
            described(obstore.head(lake_store, "trades.parquet")),
        )  # fmt: skip

    result, body = compare(work, turns=2), lake["trades.parquet"]
    assert result[1] == body
    assert result[4] == body[-8:]


def test_lists(compare, lake):
    def work(at):
        lake_store = store(at.side, LAKE)
        level = obstore.list_with_delimiter(lake_store, prefix="hive/year=2024")
        return (
            sorted(described(entry) for page in obstore.list(lake_store, prefix="hive", chunk_size=2) for entry in page),
            sorted(entry["path"] for page in obstore.list(lake_store, offset="hive/year=2025") for entry in page),
            sorted(level["common_prefixes"]),
        )

    listed, _, prefixes = compare(work, turns=2)
    assert len(listed) == len(HIVE_KEYS)
    assert len(prefixes) == 2


def test_puts_creates_and_updates(compare):
    def work(at):
        own = store(at.side, at.bucket)
        key = at.key("one +é")
        first = obstore.put(own, key, b"first", mode="create")
        expected = {"e_tag": first["e_tag"]}
        with pytest.raises(obstore.exceptions.AlreadyExistsError):
            obstore.put(own, key, b"second", mode="create")
        second = obstore.put(own, key, b"third", mode=expected)
        with pytest.raises(obstore.exceptions.PreconditionError):
            obstore.put(own, key, b"fourth", mode=expected)
        return first["e_tag"], second["e_tag"], bytes(obstore.get(own, key).bytes())

    assert compare(work)[2] == b"third"


def test_gets_under_conditions(compare, lake):
    def work(at):
        lake_store = store(at.side, LAKE)
        etag = obstore.head(lake_store, "small.txt")["e_tag"]
        seen = [bytes(obstore.get(lake_store, "small.txt", options={"if_match": etag}).bytes())]
        for condition in ({"if_match": '"other"'}, {"if_none_match": etag}):
            with pytest.raises(obstore.exceptions.BaseError) as error:
                obstore.get(lake_store, "small.txt", options=condition)
            seen.append(type(error.value).__name__)
        with pytest.raises(FileNotFoundError):
            obstore.get(lake_store, "missing")
        return seen

    assert compare(work, turns=2)[1:] == ["PreconditionError", "NotModifiedError"]


def test_puts_in_parts_and_with_attributes(compare):
    def work(at):
        own = store(at.side, at.bucket)
        body = bytes(range(251)) * 50_000
        obstore.put(
            own, at.key("parts"), body, chunk_size=5 << 20, max_concurrency=3,
            attributes={"Content-Type": "application/x-parts", "mine": "value"},
        )  # fmt: skip
        answer = obstore.get(own, at.key("parts"))
        return described(answer.meta), dict(answer.attributes), bytes(answer.bytes()) == body

    meta, attributes, same = compare(work)
    assert meta[2].endswith('-3"')
    assert attributes["mine"] == "value"
    assert same


@pytest.mark.parametrize("algorithm", [None, "sha256"])
def test_copies_renames_and_deletes(compare, algorithm):
    def work(at):
        own = store(at.side, at.bucket, **({"checksum_algorithm": algorithm} if algorithm else {}))
        names = [at.key(name) for name in ("a", "b +é", "c")]
        for name in names:
            obstore.put(own, name, name.encode())
        obstore.copy(own, names[1], at.key("copy +é"))
        obstore.rename(own, names[0], at.key("renamed"))
        before = sorted(e["path"] for page in obstore.list(own, prefix=at.prefix) for e in page)
        obstore.delete(own, names[1:])
        return before, sorted(e["path"] for page in obstore.list(own, prefix=at.prefix) for e in page)

    before, after = compare(work)
    assert (len(before), len(after)) == (4, 2)


def test_signs_links(compare, lake):
    def work(at):
        link = obstore.sign(store(at.side, LAKE), "GET", "small.txt", expires_in=datetime.timedelta(minutes=5))
        with urllib.request.urlopen(link, timeout=30) as response:
            return response.read()

    assert compare(work, turns=2) == lake["small.txt"]
