"""Samples in, tables out."""

import statistics

WAYS = ("local", "direct", "cold", "warm", "restarted")

TITLES = {
    "tpch": "DuckDB, 22 TPC-H queries",
    "polars_column": "Polars, one column",
    "polars_group": "Polars, filter and group",
    "pyarrow_columns": "PyArrow, four columns",
    "duckdb_small": "DuckDB, 400 small files",
    "pyarrow_small": "PyArrow, 400 small files",
    "ranges_1": "256 MiB in ranges of 1 MiB",
    "ranges_8": "256 MiB in ranges of 8 MiB",
    "sequential": "1 GiB in one request",
}


def median(samples, value):
    return statistics.median(value(sample) for sample in samples)


def seconds(sample):
    return sample["seconds"]


def requests(sample):
    # Now and then the proxy asks whether the store is there: no client's work.
    return sample["origin"]["requests"] - sample["origin"]["service"]


def megabytes(sample):
    return sample["origin"]["bytes"] / 1e6


def spread(samples):
    values = sorted(seconds(sample) for sample in samples)
    return f"{statistics.median(values):.2f} ({values[0]:.2f}–{values[-1]:.2f})"


def tables(results):
    """Markdown: time, what the origin was asked, what the proxy used."""
    time = ["| work, seconds | " + " | ".join(WAYS) + " | direct / cold | warm / local |", "|---|" + "--:|" * 7]
    origin = [
        "| origin requests, MB | direct | cold | warm | restarted |",
        "|---|" + "--:|" * 4,
    ]
    used = ["| proxy CPU seconds | cold | warm | restarted | peak RSS MiB |", "|---|" + "--:|" * 4]
    for task, ways in results.items():
        name = TITLES[task]
        middle = {way: median(ways[way], seconds) for way in WAYS}
        cells = " | ".join(spread(ways[way]) for way in WAYS)
        time.append(
            f"| {name} | {cells} | {middle['direct'] / middle['cold']:.2f} | {middle['warm'] / middle['local']:.2f} |"
        )
        asked = " | ".join(
            f"{median(ways[way], requests):.0f}, {median(ways[way], megabytes):.1f}" for way in WAYS if way != "local"
        )
        origin.append(f"| {name} | {asked} |")
        cpu = " | ".join(f"{median(ways[way], lambda s: s['cpu_seconds']):.2f}" for way in WAYS[2:])
        rss = max(sample["peak_rss_mib"] for way in WAYS[2:] for sample in ways[way])
        used.append(f"| {name} | {cpu} | {rss} |")
    return "\n\n".join("\n".join(table) for table in (time, origin, used))


def targets(results):
    """What has to be reached, as far as it was measured: the claim, the figure, whether it holds."""
    lines = []

    def claim(text, figure, holds):
        lines.append(f"| {text} | {figure} | {'yes' if holds else '**no**'} |")

    def middle(task, way, value=seconds):
        return median(results[task][way], value)

    if "tpch" in results:
        cold = middle("tpch", "cold") / middle("tpch", "direct")
        claim("22 queries: cold at most half of direct", f"{cold:.2f}", cold <= 0.5)
        warm = middle("tpch", "warm") / middle("tpch", "local")
        claim("22 queries: warm at most 1.15 of local files", f"{warm:.2f}", warm <= 1.15)
        asked = middle("tpch", "cold", requests)
        claim("22 queries: cold at most 700 origin requests", f"{asked:.0f}", asked <= 700)
        sent = middle("tpch", "cold", megabytes)
        claim("22 queries: cold at most 260 MB from the origin", f"{sent:.0f}", sent <= 260)
        again = max(requests(sample) for sample in results["tpch"]["warm"])
        claim("22 queries: warm without an origin request", f"{again}", again == 0)
    for task in ("polars_column", "polars_group"):
        if task in results:
            ratio = middle(task, "cold") / middle(task, "direct")
            claim(f"{TITLES[task]}: cold at most direct", f"{ratio:.2f}", ratio <= 1)
    if "sequential" in results:
        times = middle("sequential", "direct") / middle("sequential", "cold")
        claim("1 GiB: cold at least 4 times as fast as direct", f"{times:.2f}", times >= 4)
        cpu = middle("sequential", "warm", lambda sample: sample["cpu_seconds"])
        claim("1 GiB: warm at most 0.25 CPU seconds", f"{cpu:.2f}", cpu <= 0.25)
    return "\n".join(["| target | measured | reached |", "|---|--:|---|", *lines])


def queries(results):
    """Each TPC-H query by itself."""
    ways = results["tpch"]
    lines = ["| query, seconds | " + " | ".join(WAYS) + " |", "|---|" + "--:|" * len(WAYS)]
    for name in ways["direct"][0]["parts"]:
        cells = " | ".join(f"{median(ways[way], lambda s: s['parts'][name]):.3f}" for way in WAYS)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)
