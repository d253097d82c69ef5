"""Measures s3proxy and others side by side: engines, point reads, large objects, scans; behind one far store, in turns, every byte checked.

All ways take turns in each round, every engine runs in a new process, all results have to be equal. docs/benchmarks/README.md
tells how to read what comes out.
"""

import argparse
import dataclasses
import json
import re
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/clients"))

import dataset  # noqa: E402
import machine  # noqa: E402
import report  # noqa: E402
import verify  # noqa: E402
import ways  # noqa: E402
from plan import QUICK, Plan  # noqa: E402
from stand import FAILURES, Failed, stand  # noqa: E402
from tasks import BY_NAME, TASKS  # noqa: E402

WORK = ROOT / "target/compare"
PUBLISHED = ROOT / "docs/benchmarks"
UNITS = {"us": 1, "ms": 1000, "s": 1_000_000}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ", ".join(task.name for task in TASKS)
    parser.add_argument("--only", type=words, default=[], metavar="TASKS", help=f"what to measure, of: {names}")
    parser.add_argument("--ways", type=words, default=[], metavar="WAYS", help="whom to measure (default: who is installed)")
    parser.add_argument("--rounds", type=int, help="how often (default: 3)")
    parser.add_argument("--minutes", type=float, default=40, help="no round begins that would end later (default: 40)")
    parser.add_argument("--quick", action="store_true", help="little data, one round: only shows that everything works")
    parser.add_argument("--restarted", action="store_true", help="engines once more after a restart, from disk")
    parser.add_argument("--no-verify", action="store_true", help="without the pass in s3proxy's verify mode")
    parser.add_argument("--delay", help="of the first byte of each answer (default: 30ms; with --quick 5ms)")
    parser.add_argument("--bandwidth", default="80MB/s", help="of each connection (default: 80MB/s)")
    parser.add_argument("--out", type=Path, help="where the report goes (default: docs/benchmarks for all of it, or target/compare/report)")
    parser.add_argument("--packages", action="store_true", help="prints which Debian packages the ways need, and ends")
    parser.add_argument("--report", type=Path, metavar="JSON", help="writes the report of an earlier run again, and ends")
    options = parser.parse_args()
    for chosen, known in ((options.only, BY_NAME), (options.ways, {peer.name for peer in ways.peers()} | {"local"})):
        if unknown := set(chosen) - set(known):
            parser.error(f"no such thing: {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    options.delay = options.delay or ("5ms" if options.quick else "30ms")
    if not (match := re.fullmatch(r"(\d+)(us|ms|s)", options.delay)):
        parser.error("--delay: a number and us, ms or s")
    options.delay_micros = int(match[1]) * UNITS[match[2]]
    is_whole = not (options.quick or options.only or options.ways)
    options.out = (options.out or (PUBLISHED if is_whole else WORK / "report")).absolute()
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def words(text):
    return [word for word in text.split(",") if word]


class Run:
    """Rows and failures of a run, round by round."""

    def __init__(self, place, chosen, tasks, with_local):
        self.place = place
        self.ways = chosen
        self.tasks = tasks
        self.with_local = with_local
        self.rows = []
        self.failures = []
        self.answers = {}
        self.begun = time.monotonic()

    def round(self, number):
        for task in self.tasks:
            turn = number % len(self.ways)
            # No way always meets the machine as the one before it left it.
            turned = self.ways[turn:] + self.ways[:turn]
            if task.kind == "points":
                for name, way, state, row in self.place.points(turned, number):
                    self.add(number, name, way.name, state, row)
                continue
            if task.is_local and self.with_local:
                self.take(number, task, "local", self.place.local(task))
            for way in turned:
                self.take(number, task, way.name, getattr(self.place, task.kind)(task, way))

    def take(self, number, task, way, states):
        try:
            for state, row in states:
                self.add(number, task.name, way, state, row)
        except FAILURES as failure:
            self.add(number, task.name, way, "-", failure)

    def add(self, number, task, way, state, row):
        if isinstance(row, dict) and "answer" in row:
            # A fast wrong answer is worth nothing.
            expected = self.answers.setdefault(task, row["answer"])
            if row["answer"] != expected:
                row = Failed("another result than the others'")
        at = {"round": number, "task": task, "way": way, "state": state}
        if isinstance(row, Exception):
            self.failures.append(at | {"failure": str(row)})
            self.tell(at, f"FAILED: {row}")
            if way in ("s3proxy", "direct", "local"):
                raise SystemExit(f"{task}: {way} failed: {row}")
            return
        self.rows.append(at | row)
        told = f"{row['seconds']:7.2f} s"
        if "p50_ms" in row:
            told += f"  p50 {row['p50_ms']:8.2f} ms  p99 {row['p99_ms']:8.2f} ms"
        if "cpu_micros" in row:
            told += f"  {row['cpu_micros']:7.1f} us/request"
        elif "cpu_seconds" in row:
            told += f"  {row['cpu_seconds']:6.2f} CPU s"
        self.tell(at, f"{told}  {row.get('origin_requests', 0)} origin requests, {row.get('origin_bytes', 0) / 1e6:.1f} MB")

    def tell(self, at, text):
        minutes, seconds = divmod(int(time.monotonic() - self.begun), 60)
        where = f"{at['task']:<18} {at['way']:<13} {at['state']:<9}"
        print(f"{minutes:02}:{seconds:02} round {at['round'] + 1}  {where} {text}", flush=True)


def measure(options, plan, tasks, chosen):
    """The facts of a whole run."""
    data = WORK / dataset.name(plan)
    print("making the data, once" if not data.exists() else "the data is there", flush=True)
    dataset.make(data, plan)
    parts = frozenset().union(*(task.parts for task in tasks))
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.described(),
        "versions": machine.versions(chosen),
        "plan": dataclasses.asdict(plan),
        "delay": options.delay,
        "bandwidth": options.bandwidth,
        "ways": [described(way) for way in chosen],
    }
    with_local = not options.ways or "local" in options.ways
    # Not in /tmp, which may be memory.
    with tempfile.TemporaryDirectory(prefix="run-", dir=WORK) as directory:
        with stand(Path(directory), data, plan, parts, options) as (far, near, sizes):
            facts["sizes"] = sizes
            run = Run(far, chosen, tasks, with_local)
            for number in range(options.rounds):
                begun = time.monotonic()
                run.round(number)
                facts |= {"rounds": number + 1, "rows": run.rows, "failures": run.failures}
                # What was measured is kept, whatever comes.
                (WORK / "last.json").write_text(json.dumps(facts))
                now = time.monotonic()
                if number + 1 < options.rounds and now - run.begun + (now - begun) > options.minutes * 60:
                    print(f"another round would take longer than {options.minutes:g} minutes", flush=True)
                    break
            facts["minutes"] = (time.monotonic() - run.begun) / 60
            ours = [way for way in chosen if way.verifies]
            if ours and not options.no_verify:
                facts["verify"] = verify.compared(near, ours[0], tasks)
    return facts


def described(way):
    return {
        "name": way.name, "title": way.title, "version": way.version(), "verifies": way.verifies, "notes": way.notes,
    }  # fmt: skip


def main():
    options = arguments()
    if options.packages:
        wanted = [peer for peer in ways.peers() if peer.packages and (not options.ways or peer.name in options.ways)]
        print(" ".join(package for peer in wanted if peer.version() is None for package in peer.packages))
        return
    if options.report:
        report.write(json.loads(options.report.read_text()), options.out)
        return
    chosen = [peer for peer in ways.peers() if not options.ways or peer.name in options.ways]
    for peer in chosen:
        if peer.version() is None:
            print(f"{peer.title} is not installed, and not measured")
    chosen = [peer for peer in chosen if peer.version() is not None]
    tasks = [task for task in TASKS if not options.only or task.name in options.only]
    WORK.mkdir(parents=True, exist_ok=True)
    facts = measure(options, QUICK if options.quick else Plan(), tasks, chosen)
    report.write(facts, options.out)
    if facts.get("verify", {}).get("differences"):
        raise SystemExit("the cache would have answered differently: see the report")


if __name__ == "__main__":
    main()
