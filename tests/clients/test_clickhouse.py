"""ClickHouse by chdb: If-Match on every read, an un-ranged read it gives up, writes by INSERT.

Each query runs in a process of its own: ClickHouse keeps a region and connections per process, and
its allocator is no guest in a process full of other engines.
"""

import json
import subprocess
import sys

from conftest import HIVE_ROWS, LAKE, TRADES_ROWS

CHILD = """
import json, sys, chdb
for sql in json.load(sys.stdin):
    try:
        text = str(chdb.query(sql, "JSONCompact"))
        print(json.dumps({"rows": json.loads(text)["data"] if text else []}))
    except Exception as error:
        print(json.dumps({"error": str(error)}))
"""


def query(at, *statements):
    """The rows of each statement; the message where one fails."""
    ran = subprocess.run(
        [sys.executable, "-c", CHILD], input=json.dumps(statements), env=at.side.environment(),
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    return [answer.get("rows", answer.get("error")) for answer in answers]


def s3(at, bucket, key, more=""):
    # ClickHouse wants the key percent-encoded where a URL does, and knows globs.
    url = f"{at.side.endpoint}/{bucket}/{key.replace(' ', '%20')}"
    return f"s3('{url}', '{at.side.access_key}', '{at.side.secret_key}'{more})"


def test_reads_parquet(compare, lake, trades):
    def work(at):
        table = s3(at, LAKE, "trades.parquet")
        return query(
            at,
            f"SELECT count() FROM {table}",
            f"SELECT sum(quantity) FROM {table}",
            f"SELECT id, symbol, note FROM {table} WHERE id BETWEEN 54321 AND 54420 ORDER BY id",
        )

    count, total, rows = compare(work, turns=2)
    assert int(count[0][0]) == TRADES_ROWS
    assert int(total[0][0]) == sum(trades["quantity"].to_pylist())
    assert [int(row[0]) for row in rows] == list(range(54321, 54421))


def test_reads_a_glob(compare, lake):
    def work(at):
        table = s3(at, LAKE, "hive/**/*.parquet")
        return query(at, f"SELECT _path, count(), sum(quantity) FROM {table} GROUP BY _path ORDER BY _path")

    rows = compare(work, turns=2)[0]
    assert [int(row[1]) for row in rows] == [HIVE_ROWS] * 4


def test_reads_csv(compare, lake):
    def work(at):
        return query(at, f"SELECT count(), sum(id) FROM {s3(at, LAKE, 'trades.csv')}")

    assert [int(n) for n in compare(work, turns=2)[0][0]] == [20_000, sum(range(20_000))]


def test_inserts_and_reads_back(compare):
    def work(at):
        out = s3(at, at.bucket, at.key("out dir/inserted 1.parquet"))
        return query(
            at,
            f"INSERT INTO FUNCTION {out} SELECT number AS id, toString(number) AS name FROM numbers(50000)",
            f"SELECT count(), sum(id), max(name) FROM {out}",
        )

    answers = compare(work, stored="names")
    assert [int(n) for n in answers[1][0][:2]] == [50_000, sum(range(50_000))]


def test_inserts_in_parts(compare):
    def work(at):
        out = s3(at, at.bucket, at.key("large.csv"))
        settings = "SETTINGS s3_min_upload_part_size = 5242880, s3_max_single_part_upload_size = 5242880, max_threads = 1"
        return query(
            at,
            f"INSERT INTO FUNCTION {out} SELECT number, sipHash64(number), toString(number) FROM numbers(500000) {settings}",
            f"SELECT count(), sum(c1) FROM {out}",
        )

    answers = compare(work)
    assert [int(n) for n in answers[1][0]] == [500_000, sum(range(500_000))]


def test_says_that_an_object_is_missing(compare, lake):
    def work(at):
        answer = query(at, f"SELECT * FROM {s3(at, LAKE, 'missing.parquet')}")[0]
        return isinstance(answer, str) and "404" in answer

    assert compare(work) is True
