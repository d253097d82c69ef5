"""How much is read: of a real run, and of one that only shows that everything works."""

import dataclasses

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Plan:
    # TPC-H scale factor.
    scale: float = 1
    small_files: int = 400
    # Of 64 KiB to 128 KiB a column chunk.
    wide_columns: int = 120
    wide_groups: int = 30
    large_bytes: int = GIB
    # Of the large object, what is read range by range.
    ranges_bytes: int = 128 * MIB
    # The object that many read at the same time, and how many they are.
    shared_bytes: int = 128 * MIB
    readers: int = 8
    # The object of the point reads.
    points_bytes: int = 64 * MIB
    point_seconds: float = 1.5
    # Reads that lie far from each other.
    sparse_reads: int = 256
    # What is read all the time, and what is read once beside it, in a cache of a quarter of that.
    hot_objects: int = 16
    hot_bytes: int = 4 * MIB
    scan_objects: int = 64
    scan_bytes: int = 16 * MIB
    scan_cache_bytes: int = 256 * MIB
    # What every cache may keep otherwise: more than there is.
    cache_bytes: int = 2 * GIB
    # After a cold read: what is on its way into the cache arrives, and what it costs is counted.
    settle_seconds: float = 1


QUICK = Plan(
    scale=0.05,
    small_files=40,
    wide_columns=24,
    wide_groups=8,
    large_bytes=64 * MIB,
    ranges_bytes=16 * MIB,
    shared_bytes=16 * MIB,
    points_bytes=16 * MIB,
    point_seconds=0.15,
    sparse_reads=32,
    hot_objects=8,
    hot_bytes=MIB,
    scan_objects=32,
    scan_bytes=4 * MIB,
    scan_cache_bytes=32 * MIB,
    cache_bytes=512 * MIB,
    settle_seconds=0.2,
)

POINT_SIZES = {"4 KiB": 4 * KIB, "64 KiB": 64 * KIB, "1 MiB": MIB}
POINT_CONNECTIONS = (1, 8, 64)
