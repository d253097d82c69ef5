"""What is measured: names, titles, and which data each task needs."""

import dataclasses

from dataset import WIDE_READ


@dataclasses.dataclass(frozen=True)
class Task:
    name: str
    title: str
    # What runs it: a function of work.py, or loads of s3proxy-load.
    kind: str
    # Of the data.
    parts: frozenset
    # Whether the same work can be done on local files.
    is_local: bool = False


def engine(name, title, part):
    return Task(name, title, "engine", frozenset([part]), is_local=True)


# In the order of the reports.
TASKS = (
    engine("tpch", "DuckDB, 22 TPC-H queries", "tpch"),
    engine("tpch_remembered", "DuckDB, 22 TPC-H queries, its own file cache on", "tpch"),
    engine("polars_column", "Polars, one column", "tpch"),
    engine("polars_group", "Polars, filter and group", "tpch"),
    engine("pyarrow_columns", "PyArrow, four columns", "tpch"),
    engine("duckdb_wide", "DuckDB, some columns of a wide table", "wide"),
    engine("duckdb_small", "DuckDB, many small files", "small"),
    engine("pyarrow_small", "PyArrow, many small files", "small"),
    engine("ranges_1", "ranges of 1 MiB, one after the other", "large"),
    engine("ranges_8", "ranges of 8 MiB, one after the other", "large"),
    engine("sequential", "a large object in one request", "large"),
    Task("readers", "readers of the same object at once", "readers", frozenset(["shared"])),
    Task("sparse", "reads of 64 KiB far from each other", "sparse", frozenset(["large"])),
    Task("points", "point reads", "points", frozenset(["points"])),
    Task("scan", "a hot set beside a scan", "scan", frozenset(["hot", "scan"])),
)
BY_NAME = {task.name: task for task in TASKS}

# With a time cold and warm, and those that are read cold only.
ENGINES = tuple(task.name for task in TASKS if task.kind == "engine")
COLD = (*ENGINES, "readers", "sparse")


def point(size, connections):
    """The name of one cell of the point reads."""
    return f"point {size} x{connections}"


def point_title(size, connections):
    return f"{size}, {connections} connection{'s' if connections > 1 else ''}"


def title(name, plan):
    """With the sizes of the run."""
    sizes = {
        "duckdb_wide": f"DuckDB, {WIDE_READ} columns of {plan.wide_columns}, {plan.wide_groups} row groups",
        "duckdb_small": f"DuckDB, {plan.small_files} small files",
        "pyarrow_small": f"PyArrow, {plan.small_files} small files",
        "ranges_1": f"{mib(plan.ranges_bytes)} in ranges of 1 MiB",
        "ranges_8": f"{mib(plan.ranges_bytes)} in ranges of 8 MiB",
        "sequential": f"{mib(plan.large_bytes)} in one request",
        "readers": f"{plan.readers} readers of one object of {mib(plan.shared_bytes)} at once",
        "sparse": f"{plan.sparse_reads} reads of 64 KiB in {mib(plan.large_bytes)}",
    }
    return sizes.get(name) or (BY_NAME[name].title if name in BY_NAME else name)


def mib(count):
    return f"{count >> 30} GiB" if count % (1 << 30) == 0 else f"{count >> 20} MiB"
