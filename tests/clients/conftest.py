"""Fixtures: the servers, the data, and `compare`, which runs one piece of work on both sides."""

import datetime
import hashlib
import os
import random
import re
from dataclasses import dataclass

import boto3
import botocore.config
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

import servers

DIRECT_ONLY = os.environ.get("S3PROXY_CLIENTS_DIRECT_ONLY") == "1"

# What the read tests read. Nobody writes to it after the session's start.
LAKE = servers.READER_BUCKET
TRADES_ROWS = 120_000
TRADES_ROW_GROUP = 10_000
# As DuckDB, Spark and people write them: a space, a plus, an equals sign, more than ASCII, marks.
HIVE_KEYS = [
    "hive/year=2024/month=01/part 1+x.parquet",
    "hive/year=2024/month=01/part-ü~é!.parquet",
    "hive/year=2024/month=02/part@2,(b)&c.parquet",
    "hive/year=2025/month=01/part-0.parquet",
]
HIVE_ROWS = 4_000


@dataclass(frozen=True)
class Side:
    """One way to the same origin: directly, or through the proxy."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    # Where this side writes. The names are equally long, so are the answers.
    bucket: str
    # Where what answers there shows its metrics.
    admin: str
    region: str = servers.REGION

    @property
    def host(self):
        return self.endpoint.removeprefix("http://")

    def environment(self):
        """The process environment of a client that reads the AWS variables."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        return clean | {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def boto3(self, credentials=None, **options):
        """A boto3 client of this side; `credentials` replaces the side's own key pair."""
        credentials = credentials or servers.Credentials(self.access_key, self.secret_key)
        s3 = {"addressing_style": "path"} | options.pop("s3", {})
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            region_name=self.region,
            config=botocore.config.Config(s3=s3, retries={"max_attempts": 1}, **options),
        )


@dataclass(frozen=True)
class Work:
    """Where one test may write on one side."""

    side: Side
    prefix: str
    # 0, then 1 when the same work runs again and the proxy's cache is warm.
    turn: int

    @property
    def bucket(self):
        return self.side.bucket

    def key(self, name):
        return f"{self.prefix}/{name}"

    def url(self, name):
        return f"s3://{self.bucket}/{self.key(name)}"


@pytest.fixture(scope="session", autouse=True)
def hermetic_environment():
    """Takes the machine's own AWS settings away from every client in this process."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def direct_side(served):
    key = servers.ORIGIN
    return Side("direct", served.url, key.access_key, key.secret_key, "work-a", served.admin)


def proxied_side(served, name="proxied"):
    key = servers.ANALYST
    return Side(name, served.url, key.access_key, key.secret_key, "work-b", served.admin)


@pytest.fixture(scope="session")
def direct(tmp_path_factory):
    with servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as served:
        side = direct_side(served)
        side.boto3().create_bucket(Bucket="work-a")
        side.boto3().create_bucket(Bucket="work-b")
        yield side


@pytest.fixture(scope="session")
def proxied(direct, tmp_path_factory):
    """The side through the proxy; None when the session leaves it out."""
    if DIRECT_ONLY:
        yield None
        return
    with servers.s3proxy(tmp_path_factory.mktemp("s3proxy"), direct.endpoint) as served:
        yield proxied_side(served)


@pytest.fixture(scope="session")
def proxy(proxied):
    """The side through the proxy, for what only the proxy answers."""
    if proxied is None:
        pytest.skip("S3PROXY_CLIENTS_DIRECT_ONLY=1")
    return proxied


@pytest.fixture(scope="session")
def trades():
    """A table of a few megabytes whose every value is determined by its row number."""
    source = random.Random(20_240_101)
    start = datetime.datetime(2024, 1, 1)
    return pa.table(
        {
            "id": pa.array(range(TRADES_ROWS), pa.int64()),
            "at": pa.array([start + datetime.timedelta(seconds=i) for i in range(TRADES_ROWS)], pa.timestamp("us")),
            "symbol": pa.array([f"SYM{i * 7919 % 500:03}" for i in range(TRADES_ROWS)], pa.string()),
            "price": pa.array([source.randrange(1, 1_000_000) / 64 for _ in range(TRADES_ROWS)], pa.float64()),
            "quantity": pa.array([i * 31 % 1000 for i in range(TRADES_ROWS)], pa.int32()),
            # Incompressible, so that a column chunk is not a few bytes.
            "note": pa.array([source.randbytes(9).hex() for _ in range(TRADES_ROWS)], pa.string()),
        }
    )


@pytest.fixture(scope="session")
def lake(direct, trades):
    """The bucket that the read tests share: its keys with their bytes."""
    return fill_lake(direct, trades)


def fill_lake(direct, trades):
    """Fills that bucket, and returns its keys with their bytes."""
    objects = {
        "trades.parquet": parquet_bytes(trades, row_group_size=TRADES_ROW_GROUP),
        "trades.csv": csv_bytes(trades.slice(0, 20_000)),
        "empty": b"",
        "small.txt": b"a few bytes\n",
    }
    for number, key in enumerate(HIVE_KEYS):
        rows = trades.slice(number * HIVE_ROWS, HIVE_ROWS)
        objects[key] = parquet_bytes(rows, row_group_size=1_000)
    s3 = direct.boto3()
    s3.create_bucket(Bucket=LAKE)
    for key, body in objects.items():
        s3.put_object(Bucket=LAKE, Key=key, Body=body, Metadata={"rows": "some"})
    return objects


@pytest.fixture
def compare(direct, proxied, request):
    """Runs one piece of work on every side and asserts that all results are equal.

    `compare(work)` calls `work(at)` with a `Work`, twice through the proxy with `turns=2`, and
    returns the result of the direct side. Names of buckets and endpoints inside a result are made
    neutral. What the work stored is compared too, by a direct look at the origin: `stored` is
    "bytes" for whole objects, "names" where a client picks random bytes, None where it picks
    random names.
    """

    def run(work, stored="bytes", turns=1):
        prefix = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
        expected = None
        for side in [direct, proxied]:
            if side is None:
                continue
            for turn in range(1 if side is direct else turns):
                at = Work(side, prefix, turn)
                result = neutral(work(at), side)
                if stored:
                    result = (result, stored_objects(direct, side.bucket, prefix + "/", stored))
                else:
                    result = (result, None)
                if expected is None:
                    expected = result
                assert result == expected, f"{side.name}, turn {turn}, differs from the direct side"
        return expected[0]

    return run


def neutral(value, side):
    """`value` without the names that have to differ between the sides."""
    if isinstance(value, str):
        return value.replace(side.host, "ENDPOINT").replace(side.bucket, "BUCKET")
    if isinstance(value, dict):
        return {neutral(k, side): neutral(v, side) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(neutral(item, side) for item in value)
    return value


def stored_objects(direct, bucket, prefix, detail):
    """What the origin holds under a prefix, seen without the proxy."""
    s3 = direct.boto3()
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            if detail == "names":
                found[entry["Key"]] = None
                continue
            answer = s3.get_object(Bucket=bucket, Key=entry["Key"])
            body = answer["Body"].read()
            found[entry["Key"]] = {
                "size": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
                "etag": answer["ETag"],
                "type": answer.get("ContentType"),
                "encoding": answer.get("ContentEncoding"),
                "metadata": answer["Metadata"],
            }
    return found


def parquet_bytes(table, row_group_size):
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, row_group_size=row_group_size)
    return sink.getvalue().to_pybytes()


def csv_bytes(table):
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()
