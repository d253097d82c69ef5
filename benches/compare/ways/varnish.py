"""Varnish Cache: fetches whole objects into memory, and answers ranges from them while they arrive."""

import contextlib
import tempfile
from pathlib import Path

import servers
from ways import SIGNATURE_FIELDS, Peer, Server, listens, said_version, started

CONFIGURATION = """\
vcl 4.1;

backend store {{
    .host = "{name}";
    .port = "{port}";
    .connect_timeout = 5s;
    .first_byte_timeout = 60s;
    .between_bytes_timeout = 60s;
}}

sub vcl_recv {{
    {unsigned}
    # It would give the checksum of a whole object with every range, which the AWS SDKs refuse.
    unset req.http.x-amz-checksum-mode;
    if (req.method != "GET" && req.method != "HEAD") {{
        return (pass);
    }}
    # Lists.
    if (req.url ~ "^/[^/?]*/?([?]|$)") {{
        return (pass);
    }}
    return (hash);
}}

sub vcl_hash {{
    hash_data(req.url);
    return (lookup);
}}

sub vcl_deliver {{
    if (resp.status == 206) {{
        unset resp.http.x-amz-checksum-crc32;
        unset resp.http.x-amz-checksum-crc32c;
        unset resp.http.x-amz-checksum-crc64nvme;
        unset resp.http.x-amz-checksum-sha1;
        unset resp.http.x-amz-checksum-sha256;
    }}
}}

sub vcl_backend_response {{
    set beresp.do_stream = true;
    if (!bereq.uncacheable && beresp.status == 200) {{
        set beresp.ttl = 1h;
        return (deliver);
    }}
}}
"""


class Varnish(Peer):
    name = "varnish"
    title = "Varnish"
    order = 20
    packages = ("varnish",)
    notes = (
        "Whole objects in memory (`malloc`), streamed while they are fetched; two thread pools.",
        "Checksums of whole objects are taken off its ranges: with them, PyArrow refuses what it answers.",
        "Its log lines are written by `varnishncsa`, whose CPU time counts as its own.",
    )

    def version(self):
        return said_version(["varnishd", "-V"], r"varnish-(\S+)")

    @contextlib.contextmanager
    def serve(self, place):
        (port,) = servers.free_ports(1)
        host = f"{servers.HOST}:{port}"
        origin_name, origin_port = place.origin.split(":")
        file = place.directory / "varnish.vcl"
        unsigned = " ".join(f"unset req.http.{field};" for field in SIGNATURE_FIELDS)
        file.write_text(CONFIGURATION.format(name=origin_name, port=origin_port, unsigned=unsigned))
        # Its shared log belongs in memory, as its manual says.
        memory = Path("/dev/shm")
        with tempfile.TemporaryDirectory(prefix="varnish-", dir=memory if memory.is_dir() else place.directory) as log:
            command = [
                "varnishd", "-F", "-j", "none", "-n", log, "-f", file, "-a", host, "-s", f"malloc,{place.cache_bytes}",
                "-p", f"thread_pools={place.workers}", "-p", "http_gzip_support=off", "-p", "timeout_idle=3600",
                "-p", "backend_idle_timeout=3600", "-T", "none",
            ]  # fmt: skip
            lines = ["varnishncsa", "-n", log, "-w", place.directory / "access.log"]
            with started(place, "varnish", command) as running:
                running.wait_until(lambda: listens(host))
                with started(place, "varnishncsa", lines) as writing:
                    yield Server(host, self.credentials, [running, writing])


PEER = Varnish()
