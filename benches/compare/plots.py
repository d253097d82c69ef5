"""Pictures of a report, as SVG. The same facts always give the same files."""

from plan import POINT_CONNECTIONS, POINT_SIZES
from targets import DIRECT, OURS
from tasks import COLD, point

# Told apart by people who do not tell all colours apart: https://jfly.uni-koeln.de/color/
COLOURS = {"direct": "#999999", "local": "#cccccc", "nginx": "#009e73", "varnish": "#0072b2", "trafficserver": "#e69f00", OURS: "#d55e00"}
OTHERS = ("#cc79a7", "#56b4e9", "#f0e442")


def draw(report, out):
    """Draws what the facts have; returns the pictures' names and what they show."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "s3proxy", "font.family": "sans-serif", "font.size": 9, "axes.spines.top": False,
         "axes.spines.right": False, "axes.axisbelow": True, "legend.frameon": False, "figure.facecolor": "white"}
    )  # fmt: skip
    drawn = {}
    for name, text, picture in (
        ("point-cpu", "CPU time of the proxy for a warm read", point_cpu),
        ("point-latency", "latency of a warm read", point_latency),
        ("cold", "cold work: times the time of the fastest", cold),
        ("warm", "warm work: times the time of the fastest", warm),
        ("origin", "bytes from the origin, cold, of those that clients asked for", origin),
        ("scan", "hot set beside a scan", scan),
    ):
        figure = picture(report)
        if figure is None:
            continue
        figure.savefig(out / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
        figure.clear()
        drawn[name] = text
    return drawn


def colour(report, way):
    names = [name for name in report.ways if name not in COLOURS]
    return COLOURS.get(way) or OTHERS[names.index(way) % len(OTHERS)]


def panels(count, width, height):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis in axes:
        axis.grid(axis="y", color="#e5e5e5")
    return figure, axes


def logarithmic(axis, which):
    """With numbers as people write them."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set(**{f"{which}scale": "log"})
    scale = getattr(axis, f"{which}axis")
    scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    scale.set_minor_formatter(NullFormatter())


def point_cpu(report):
    return by_size(report, report.caches, "cpu_micros", "CPU µs a request", None)


def point_latency(report):
    return by_size(report, report.caches, "p50_ms", "ms: median; line: 99th percentile", "p99_ms")


def by_size(report, ways, figure, label, upper):
    """A panel for each size, a group of bars for each number of connections."""
    if not any(report.figures.has(point(size, 1), OURS, "warm") for size in POINT_SIZES):
        return None
    drawing, axes = panels(len(POINT_SIZES), 9, 3)
    width = 0.8 / len(ways)
    for axis, size in zip(axes, POINT_SIZES, strict=True):
        for index, way in enumerate(ways):
            spreads = [report.figures.spread(point(size, count), way, "warm", figure) for count in POINT_CONNECTIONS]
            places = [group + (index - (len(ways) - 1) / 2) * width for group in range(len(spreads))]
            there = [(place, spread) for place, spread in zip(places, spreads, strict=True) if spread]
            axis.bar(
                [place for place, _ in there], [spread.median for _, spread in there], width * 0.9,
                color=colour(report, way), label=report.title(way),
            )  # fmt: skip
            if upper:
                for place, count in zip(places, POINT_CONNECTIONS, strict=True):
                    if high := report.figures.spread(point(size, count), way, "warm", upper):
                        axis.hlines(high.median, place - width * 0.4, place + width * 0.4, color=colour(report, way))
                logarithmic(axis, "y")
            else:
                for place, spread in there:
                    axis.vlines(place, spread.least, spread.greatest, color="#333333", linewidth=0.8)
        axis.set_xticks(range(len(POINT_CONNECTIONS)), [str(count) for count in POINT_CONNECTIONS])
        axis.set_title(size)
        axis.set_xlabel("connections")
    axes[0].set_ylabel(label)
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(ways))
    return drawing


def cold(report):
    def seconds(task, way):
        state = DIRECT if way == "direct" else (way, "cold")
        return report.figures.spread(task, *state, "seconds")

    return slower(report, ["direct", *report.caches], seconds, "cold")


def warm(report):
    return slower(report, report.caches, lambda task, way: report.figures.spread(task, way, "warm", "seconds"), "warm")


def slower(report, ways, seconds, state):
    """How many times the time of the fastest each needs."""

    def values(task):
        medians = {way: found.median for way in ways if (found := seconds(task, way))}
        least = min(medians.values(), default=0)
        return {way: value / least for way, value in medians.items()} if least else {}

    return horizontal(report, ways, values, f"{state}: times the time of the fastest")


def origin(report):
    def values(task):
        found = {}
        for way in report.caches:
            if spread := report.figures.ratio(task, (way, "cold"), DIRECT, "origin_bytes"):
                found[way] = spread.median
        return found

    return horizontal(report, report.caches, values, "bytes from the origin, of those that clients asked for")


def horizontal(report, ways, values, label):
    """A group of bars for each piece of work."""
    tasks = [(task, found) for task in COLD if (found := values(task)) and len(found) > 1]
    if not tasks:
        return None
    drawing, (axis,) = panels(1, 8, 0.6 + 0.17 * len(ways) * len(tasks) + 0.25 * len(tasks))
    height = 0.8 / len(ways)
    for index, way in enumerate(ways):
        there = [(group, found[way]) for group, (_, found) in enumerate(tasks) if way in found]
        places = [group + (index - (len(ways) - 1) / 2) * height for group, _ in there]
        bars = axis.barh(
            places, [value for _, value in there], height * 0.9, color=colour(report, way), label=report.title(way)
        )
        axis.bar_label(bars, [f"{value:.2f}" for _, value in there], padding=2, fontsize=7)
    axis.set_yticks(range(len(tasks)), [report.task(task) for task, _ in tasks])
    axis.invert_yaxis()
    logarithmic(axis, "x")
    axis.axvline(1, color="#333333", linewidth=0.8)
    axis.grid(axis="y", visible=False)
    axis.grid(axis="x", color="#e5e5e5")
    axis.set_xlabel(label)
    drawing.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=len(ways))
    return drawing


def scan(report):
    ways = [way for way in report.caches if report.figures.has("scan", way, "beside")]
    if not ways or not all(report.hits(way) for way in ways):
        return None
    drawing, (left, right) = panels(2, 8, 2.8)
    for index, way in enumerate(ways):
        hits = sorted(report.hits(way))
        left.bar(index, hits[len(hits) // 2], 0.7, color=colour(report, way))
        left.vlines(index, hits[0], hits[-1], color="#333333", linewidth=0.8)
        for offset, state, shade in ((-0.2, "alone", 0.45), (0.2, "beside", 1)):
            spread = report.figures.spread("scan", way, state, "p99_ms")
            right.bar(index + offset, spread.median, 0.36, color=colour(report, way), alpha=shade)
    for axis in (left, right):
        axis.set_xticks(range(len(ways)), [report.title(way) for way in ways])
    left.set_ylabel("hits, %: answered without waiting")
    left.set_ylim(0, 100)
    right.set_ylabel("p99 ms: alone (pale), beside")
    logarithmic(right, "y")
    return drawing
