"""The snippets of docs/engines.md, as a reader would run them, through the proxy."""

import os
import re
import subprocess
import sys
import sysconfig

import pytest

import servers
from conftest import LAKE
from test_duckdb import extension

DOCUMENT = servers.ROOT / "docs/engines.md"
UNTESTED = "(not tested)"

# What runs a snippet, by language; SQL is asked of the engine in the heading.
PYTHON = [sys.executable, "-c"]
SHELL = ["bash", "-euc"]
DUCKDB = """
import sys, duckdb
connection = duckdb.connect(config={"autoinstall_known_extensions": False})
connection.execute("LOAD '%s'")
connection.execute(sys.argv[1])
"""
CLICKHOUSE = """
import sys, chdb
for sql in filter(str.strip, sys.argv[1].split(";")):
    chdb.query(sql, "JSONCompact")
"""


def snippets():
    """Heading, language and text of each snippet that claims to be tested."""
    sections = re.split(r"^## ", DOCUMENT.read_text(), flags=re.M)[1:]
    for section in sections:
        heading = section.splitlines()[0]
        if UNTESTED not in heading:
            for language, text in re.findall(r"^```(\w+)\n(.*?)^```", section, flags=re.M | re.S):
                yield pytest.param(heading, language, text, id=heading)


def command(heading, language):
    match language, heading:
        case "python", _:
            return PYTHON
        case "sh", _:
            return SHELL
        case "sql", "DuckDB":
            return [*PYTHON, DUCKDB % extension()]
        case "sql", "ClickHouse":
            return [*PYTHON, CLICKHOUSE]
    raise AssertionError(f"nothing runs {language} below {heading}")


@pytest.mark.parametrize("heading, language, text", list(snippets()))
def test_runs_as_written(proxy, lake, tmp_path, heading, language, text):
    for written, actual in {
        "127.0.0.1:3000": proxy.host,
        "ETLKEY": proxy.access_key,
        "ETLSECRET": proxy.secret_key,
        "scratch/": f"{proxy.bucket}/documents/",
    }.items():
        text = text.replace(written, actual)
    assert LAKE == "lake"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = clean | {
        "PATH": f"{sysconfig.get_path('scripts')}:{clean['PATH']}",
        "HOME": str(tmp_path),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    ran = subprocess.run(
        [*command(heading, language), text], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
