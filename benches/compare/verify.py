"""Is what the cache would answer what the origin answers? All the work once more in s3proxy's verify mode, near the store."""

import time

import counting
from plan import POINT_SIZES
from stand import anywhere

COMPARED = "s3proxy_cache_comparisons_total"
DIFFERENT = "s3proxy_cache_differences_total"
CONNECTIONS = 8


def compared(place, way, tasks):
    """Comparisons and differences by task: each piece of work twice, so that the cache has something to say."""
    found = {}
    for task in tasks:
        with place.serving(way, compares=True) as server:
            for _ in range(2):
                run(place, server, task)
            counts = settled(server.admin)
            found[task.name] = {
                "comparisons": counts[0].total(),
                "differences": counts[1].total(),
                "kinds": dict(counts[1]),
            }
        print(f"verify mode  {task.name:<18} {found[task.name]}", flush=True)
    return {
        "tasks": found,
        "comparisons": sum(task["comparisons"] for task in found.values()),
        "differences": sum(task["differences"] for task in found.values()),
    }


def run(place, server, task):
    if task.kind == "engine":
        key = server.credentials
        job = {"host": server.host, "access_key": key.access_key, "secret_key": key.secret_key}
        place.work(task.name, job, server)
        return
    place.run_loads(server, *loads(place, task))


def loads(place, task):
    """The requests of the measurement, of every size at once."""
    objects, plan = place.objects, place.plan
    match task.kind:
        case "readers":
            return [place.load(objects["shared"], "whole", plan.readers, requests=plan.readers)]
        case "sparse":
            return [place.load(objects["large"], anywhere(64 << 10, plan.sparse_reads, seed=2), 8, requests=plan.sparse_reads)]
        case "points":
            return [place.point_load(size, CONNECTIONS, seed=4) for size in POINT_SIZES.values()]
        case "scan":
            hot = place.load(objects["hot"], anywhere(64 << 10, 512, seed=3), CONNECTIONS)
            whole = place.load(objects["scan"], "whole", CONNECTIONS, requests=plan.scan_objects)
            return [whole, hot | {"pause_micros": 5_000}]
    raise ValueError(task.kind)


def settled(admin):
    """The counts, once they stand still: comparing may outlive the answer."""
    before = None
    for _ in range(50):
        now = (counting.counter(admin, COMPARED), counting.counter(admin, DIFFERENT, "difference"))
        if now == before:
            break
        before = now
        time.sleep(0.5)
    return now
