"""Lance: manifests by create-only puts, a directory of versions that is listed, small scattered reads."""

import lance


def options(side):
    return {
        "access_key_id": side.access_key,
        "secret_access_key": side.secret_key,
        "region": side.region,
        "endpoint": side.endpoint,
        "allow_http": "true",
    }


def dataset(side, url, **more):
    return lance.dataset(url, storage_options=options(side), **more)


def write(side, url, rows, mode):
    lance.write_dataset(rows, url, mode=mode, storage_options=options(side))


def test_writes_appends_and_reads(compare, trades):
    def work(at):
        url = at.url("table.lance")
        write(at.side, url, trades.slice(0, 20_000), "create")
        write(at.side, url, trades.slice(20_000, 10_000), "append")
        table = dataset(at.side, url)
        table.delete("id < 10")
        later = dataset(at.side, url)
        return (
            [version["version"] for version in later.versions()],
            later.count_rows(),
            dataset(at.side, url, version=1).count_rows(),
            later.to_table(columns=["id", "note"], filter="id BETWEEN 25000 AND 25009").to_pydict(),
            later.take([0, 5, 29_000], columns=["id", "symbol"]).to_pydict(),
            sum(later.to_table(columns=["quantity"])["quantity"].to_pylist()),
        )

    versions, count, first, rows, taken, _ = compare(work, stored=None)
    assert (versions, count, first) == ([1, 2, 3], 29_990, 20_000)
    assert rows["note"] == trades["note"].slice(25_000, 10).to_pylist()
    assert taken["id"] == [10, 15, 29_010]


def test_overwrites(compare, trades):
    def work(at):
        url, seen = at.url("table.lance"), []
        for turn in range(3):
            write(at.side, url, trades.slice(turn * 100, 100 + turn), "create" if turn == 0 else "overwrite")
            table = dataset(at.side, url)
            seen.append((table.version, table.to_table(columns=["id"])["id"].to_pylist()))
        return seen

    seen = compare(work, stored=None)
    assert [(version, len(ids), ids[0]) for version, ids in seen] == [(1, 100, 0), (2, 101, 100), (3, 102, 200)]


def test_says_that_a_table_is_missing(compare):
    def work(at):
        try:
            dataset(at.side, at.url("none.lance"))
        except ValueError as error:
            return "not found" in str(error)

    assert compare(work) is True
