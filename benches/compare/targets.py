"""What s3proxy has to reach, and whether a run shows it."""

import dataclasses

from plan import POINT_CONNECTIONS, POINT_SIZES
from tasks import COLD, point, point_title, title

OURS = "s3proxy"
DIRECT = ("direct", "direct")

# Of nginx's CPU time for a request.
NGINX_CPU = {"4 KiB": 1.5, "64 KiB": 0.9, "1 MiB": 0.8}
NGINX_CPU_LARGE = 0.8
# Of Varnish's, everywhere.
VARNISH_CPU = 1.1
# Of what clients asked for.
ORIGIN_BYTES = 1.8


@dataclasses.dataclass(frozen=True)
class Target:
    text: str
    limit: float
    # None where it was not measured.
    measured: object
    # Whether more is better.
    is_least: bool = False

    @property
    def reached(self):
        if self.measured is None:
            return None
        median = self.measured.median
        return median >= self.limit if self.is_least else median <= self.limit


def targets(figures, plan, peers):
    """All of them. `peers` are the names of those that cache, without ours."""
    cold, warm = (OURS, "cold"), (OURS, "warm")
    found = []

    def add(text, limit, measured, **more):
        found.append(Target(text, limit, measured, **more))

    for size, limit in NGINX_CPU.items():
        for connections in POINT_CONNECTIONS:
            measured = figures.ratio(point(size, connections), warm, ("nginx", "warm"), "cpu_micros")
            add(f"{point_title(size, connections)}: CPU a request, of nginx's", limit, measured)
    large = title("sequential", plan)
    measured = figures.ratio("sequential", warm, ("nginx", "warm"), "cpu_seconds")
    add(f"{large}, warm: CPU time, of nginx's", NGINX_CPU_LARGE, measured)
    for size in POINT_SIZES:
        for connections in POINT_CONNECTIONS:
            measured = figures.ratio(point(size, connections), warm, ("varnish", "warm"), "cpu_micros")
            add(f"{point_title(size, connections)}: CPU a request, of Varnish's", VARNISH_CPU, measured)
    measured = figures.ratio("sequential", warm, ("varnish", "warm"), "cpu_seconds")
    add(f"{large}, warm: CPU time, of Varnish's", VARNISH_CPU, measured)

    measured = figures.ratio("tpch", warm, ("varnish", "warm"), "seconds")
    add("22 TPC-H queries, warm: time, of Varnish's", 1, measured)
    measured = figures.ratio_to_best("tpch", cold, [(peer, "cold") for peer in peers], "seconds")
    add("22 TPC-H queries, cold: time, of the best peer's", 0.8, measured)
    for task in ("polars_column", "polars_group"):
        add(f"{title(task, plan)}, cold: time, of direct", 1, figures.ratio(task, cold, DIRECT, "seconds"))
    swapped = figures.ratio("sequential", DIRECT, cold, "seconds")
    add(f"{large}, cold: times as fast as direct", 5, swapped, is_least=True)
    for task in ("duckdb_small", "pyarrow_small"):
        add(f"{title(task, plan)}, cold: time, of direct", 0.6, figures.ratio(task, cold, DIRECT, "seconds"))
    for task in COLD:
        measured = figures.ratio(task, cold, DIRECT, "origin_bytes")
        add(f"{title(task, plan)}, cold: bytes from the origin, of those asked for", ORIGIN_BYTES, measured)
    return found
