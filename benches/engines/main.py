"""Measures engines on local files, directly at a far store, and through s3proxy: cold, warm, and after a restart.

All ways take turns in each round, every run is a new process, and all results have to be equal. docs/performance.md tells what came of it.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import dataset
import report
from stand import ROOT, stand
from work import TASKS


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"what to measure (default: all): {', '.join(TASKS)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: 3)")
    parser.add_argument("--scale", type=float, default=1, help="TPC-H scale factor (default: 1)")
    parser.add_argument("--delay", default="30ms", help="of the first byte of each answer (default: 30ms)")
    parser.add_argument("--bandwidth", default="80MB/s", help="of each connection (default: 80MB/s)")
    parser.add_argument("--memory", default="2GiB", help="memory of the cache (default: 2GiB)")
    parser.add_argument("--disk", default="10GiB", help="disk of the cache (default: 10GiB)")
    parser.add_argument("--out", type=Path, default=ROOT / "target/engines", help="where results go")
    options = parser.parse_args()
    unknown = set(options.tasks) - set(TASKS)
    if unknown:
        parser.error(f"no such task: {', '.join(sorted(unknown))}")
    options.tasks = options.tasks or list(TASKS)
    return options


def measure(place, options):
    """All samples, by task and way."""
    results = {task: {way: [] for way in report.WAYS} for task in options.tasks}
    for number in range(options.rounds):
        for task in options.tasks:
            ways = [lambda: {"local": place.local(task)}, lambda: {"direct": place.direct(task)}, lambda: place.proxied(task)]
            # No way always meets the machine as the one before it left it.
            for way in ways[number % 3 :] + ways[: number % 3]:
                for name, sample in way().items():
                    check(results[task], name, sample, task)
                    results[task][name].append(sample)
                    asked = f"{report.requests(sample)} origin requests, {report.megabytes(sample):.1f} MB"
                    print(f"round {number + 1}  {task:<16} {name:<10} {sample['seconds']:7.2f} s  {asked}", flush=True)
    return results


def check(ways, name, sample, task):
    """A fast wrong answer is worth nothing."""
    for other, samples in ways.items():
        if samples and samples[0]["answer"] != sample["answer"]:
            raise SystemExit(f"{task}: {name} gave another result than {other}")


def machine():
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return {"processor": model, "cores": os.cpu_count(), "linux": platform.release(), "load": os.getloadavg()}


def main():
    options = arguments()
    data = options.out.absolute() / f"data-{options.scale:g}"
    print("making the data, once" if not data.exists() else "the data is there", flush=True)
    dataset.make(data, options.scale)
    # Not in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(prefix="run-", dir=options.out) as directory:
        with stand(Path(directory), data, options) as (place, sizes):
            started = machine()
            print(f"stored: {sizes}; {started}", flush=True)
            results = measure(place, options)
    text = [
        f"{options.rounds} rounds, medians (least–greatest); {options.delay} to the first byte, {options.bandwidth} a"
        f" connection; TPC-H scale {options.scale:g}, {sizes['tpch_bytes'] / 1e6:.0f} MB;"
        f" {started['cores']} x {started['processor']}, Linux {started['linux']}, load {started['load'][0]:.1f} at the start.",
        report.tables(results),
        report.targets(results),
    ]
    if "tpch" in results:
        text.append(report.queries(results))
    stamp = time.strftime("%Y%m%d-%H%M%S")
    (options.out / f"{stamp}.md").write_text("\n\n".join(text) + "\n")
    facts = {"machine": started, "sizes": sizes, "options": vars(options) | {"out": None}, "results": results}
    (options.out / f"{stamp}.json").write_text(json.dumps(facts, indent=1))
    print("\n" + "\n\n".join(text))
    print(f"\n{options.out / stamp}.md and .json")


main()
