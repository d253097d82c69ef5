"""Who asked whom what: counts from the metrics of the proxy, and from those of the origin itself."""

import collections
import json
import re
import time
import urllib.parse
import urllib.request

SETTLE_SECONDS = 0.4
PATIENCE_SECONDS = 20

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')


def metrics(admin):
    """Name, labels and value of each sample."""
    with urllib.request.urlopen(f"{admin}/metrics", timeout=10) as response:
        text = response.read().decode()
    for line in text.splitlines():
        if match := SAMPLE.match(line):
            yield match[1], dict(LABEL.findall(match[2] or "")), float(match[3])


def counter(admin, name, *labels):
    """A counter by the values of some labels, without zeros; by its name when there is none."""
    found = collections.Counter()
    for sample, given, value in metrics(admin):
        if sample == name and value:
            found[" ".join(given[label] for label in labels) if labels else name] += int(value)
    return found


class Counts:
    """What happens between `begin` and a look.

    `proxied` is what the proxy says it asked its origin: operation and status. `origin` is what the
    origin says it was asked: SeaweedFS's word for the operation, and the status. `results` is what
    the proxy's cache says it did, by operation.
    """

    def __init__(self, proxied, direct):
        self.proxied_admin, self.direct_admin = proxied.admin, direct.admin

    def begin(self):
        self.before = self.settled()

    def look(self):
        now = self.settled()
        return tuple(now[index] - self.before[index] for index in range(3))

    def settled(self):
        """The counts once nothing is under way any more: fills may outlive their readers."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        seen, since = self.read(), time.monotonic()
        while time.monotonic() - since < SETTLE_SECONDS:
            time.sleep(0.05)
            now = self.read()
            if now != seen:
                seen, since = now, time.monotonic()
            assert time.monotonic() < deadline, "the proxy does not come to rest"
        return seen

    def read(self):
        origin = collections.Counter()
        for name, labels, value in metrics(self.direct_admin):
            # Without a bucket: the proxy asks every few seconds whether the origin is there.
            if name == "SeaweedFS_s3_request_total" and labels["bucket"]:
                origin[f"{labels['type']} {labels['code']}"] += int(value)
        return (
            counter(self.proxied_admin, "s3proxy_upstream_requests_total", "operation", "status"),
            origin,
            counter(self.proxied_admin, "s3proxy_cache_requests_total", "operation", "result"),
            # Not looked at, only waited for.
            counter(self.proxied_admin, "s3proxy_cache_fills_total", "event"),
            counter(self.proxied_admin, "s3proxy_cache_bytes", "tier"),
        )


def purge(proxied, bucket, prefix=""):
    """Deletes from the cache, as an operator would."""
    query = urllib.parse.urlencode({"bucket": bucket, "prefix": prefix})
    order = urllib.request.Request(f"{proxied.admin}/-/purge?{query}", method="POST", headers={"x-s3proxy-purge": "1"})
    with urllib.request.urlopen(order, timeout=30) as response:
        report = json.load(response)
    assert report["failures"] == 0, report
