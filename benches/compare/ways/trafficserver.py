"""Apache Traffic Server with its slice plugin: ranges in blocks, in memory and on disk."""

import contextlib
import re
import subprocess

import servers
from ways import SIGNATURE_FIELDS, Peer, Server, clean_environment, listens, said_version, started

SLICE = "1m"

RECORDS = """\
CONFIG proxy.config.http.server_ports STRING {port}:ipv4:ip-in={name}
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT {workers}
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.task_threads INT 1
CONFIG proxy.config.http.wait_for_cache INT 1
CONFIG proxy.config.http.cache.required_headers INT 0
CONFIG proxy.config.http.cache.heuristic_min_lifetime INT 3600
CONFIG proxy.config.http.cache.heuristic_max_lifetime INT 86400
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 3600
CONFIG proxy.config.http.keep_alive_no_activity_timeout_out INT 3600
CONFIG proxy.config.http.insert_request_via_str INT 0
CONFIG proxy.config.http.normalize_ae INT 0
CONFIG proxy.config.url_remap.remap_required INT 1
CONFIG proxy.config.url_remap.pristine_host_hdr INT 1
CONFIG proxy.config.cache.ram_cache.size INT {size}
CONFIG proxy.config.cache.min_average_object_size INT 65536
CONFIG proxy.config.diags.show_location INT 0
CONFIG proxy.config.log.logging_enabled INT 3
"""

# Lists end after the bucket and are not cut into slices.
REMAP = """\
map http://{host}/ http://{origin}/ @plugin=header_rewrite.so @pparam={dir}/etc/unsigned.config \
@plugin=slice.so @pparam=--blockbytes={slice} @pparam=--exclude-regex=^[a-z]+://[^/]+/[^/?]*/?([?]|$) \
@plugin=cache_range_requests.so
"""

LOGGING = """\
logging:
  formats:
    - name: line
      format: '%<chi> [%<cqtn>] "%<cqhm> %<cqup>" %<pssc> %<pscl> %<crc>'
  logs:
    - filename: access
      format: line
      mode: ascii
"""

ALLOWED = """\
ip_allow:
  - apply: in
    ip_addrs: 127.0.0.1
    action: allow
    methods: ALL
"""


class TrafficServer(Peer):
    name = "trafficserver"
    title = "Traffic Server"
    order = 30
    # The second has the slice plugin.
    packages = ("trafficserver", "trafficserver-experimental-plugins")
    persists = True
    notes = (
        f"Slices of {SLICE} (`slice`, `cache_range_requests`), in memory and in a file of the same size.",
        "Built-in log of the same fields, written in batches.",
    )

    def version(self):
        return said_version(["traffic_server", "-V"], r"traffic_server - (\d\S*)")

    @contextlib.contextmanager
    def serve(self, place):
        (port,) = servers.free_ports(1)
        host = f"{servers.HOST}:{port}"
        write(place, host)
        environment = {"TS_RUNROOT": str(place.directory / "runroot.yaml")}
        with started(place, "trafficserver", ["traffic_server"], environment) as running:
            running.wait_until(lambda: listens(host))
            yield Server(host, self.credentials, [running])


def write(place, host):
    """Its files: all that is not in Debian's folders."""
    top = place.directory
    folders = {"sysconfdir": "etc", "localstatedir": "var", "runtimedir": "run", "logdir": "log", "cachedir": "cache"}
    for folder in folders.values():
        (top / folder).mkdir(exist_ok=True)
    installed = subprocess.run(
        ["traffic_layout", "info"], capture_output=True, text=True, env=clean_environment()
    ).stdout
    layout = {key: str(top / folder) for key, folder in folders.items()}
    layout |= {"prefix": str(top), "exec_prefix": str(top), "datadir": str(top / "etc")}
    layout |= {name.lower(): path for name, path in re.findall(r"^(BINDIR|LIBDIR): (\S+)$", installed, re.M)}
    layout["libexecdir"] = re.search(r"^PLUGINDIR: (\S+)$", installed, re.M)[1]
    (top / "runroot.yaml").write_text("".join(f"{key}: {path}\n" for key, path in layout.items()))
    name, port = host.split(":")
    files = {
        "records.config": RECORDS.format(name=name, port=port, workers=place.workers, size=place.cache_bytes),
        "remap.config": REMAP.format(host=host, origin=place.origin, dir=top, slice=SLICE),
        "storage.config": f"{top / 'cache'} {place.cache_bytes}\n",
        "logging.yaml": LOGGING,
        "ip_allow.yaml": ALLOWED,
        "unsigned.config": "".join(f"rm-header {field}\n" for field in SIGNATURE_FIELDS),
        "plugin.config": "",
    }
    for file, text in files.items():
        (top / "etc" / file).write_text(text)


PEER = TrafficServer()
