"""nginx with its slice cache: the usual way to cache ranges of a store."""

import contextlib

import servers
from ways import SIGNATURE_FIELDS, Peer, Server, listens, said_version, started

SLICE = "1m"

CONFIGURATION = """\
user root;
daemon off;
worker_processes {workers};
worker_rlimit_nofile 16384;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log {dir}/access.log combined;
    sendfile on;
    # On, it holds the last piece of an answer of several slices back for 200 ms.
    tcp_nopush off;
    tcp_nodelay on;
    # A fifth to a third less CPU time for a hit.
    open_file_cache max=16384 inactive=1h;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    proxy_cache_path {dir}/cache levels=1:2 keys_zone=slices:64m max_size={size} inactive=1h use_temp_path=off;
    upstream store {{ server {origin}; keepalive 64; keepalive_requests 100000000; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    {unsigned}
    server {{
        listen {host} backlog=1024;
        location / {{
            slice {slice};
            proxy_cache slices;
            # Without it, eight readers of one object fetch it six times, and are no sooner done.
            proxy_cache_lock on;
            proxy_cache_key $uri$is_args$args$slice_range;
            proxy_cache_valid 200 206 1h;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            {unsigned}
            proxy_set_header Range $slice_range;
            proxy_pass http://store;
        }}
        location ~ ^/[^/]+/?$ {{ proxy_pass http://store; }}
    }}
}}
"""


class Nginx(Peer):
    name = "nginx"
    title = "nginx"
    order = 10
    packages = ("nginx",)
    persists = True
    notes = (
        f"Slices of {SLICE}, on disk: what it keeps in memory is the page cache, which is not in its RSS.",
        "`tcp_nopush off`: on, warm answers of several slices stall for 200 ms.",
        "`proxy_cache_lock on`: one fetch of a slice for all who want it. `open_file_cache`: less CPU time for each hit.",
    )

    def version(self):
        return said_version(["nginx", "-v"], r"nginx/(\S+)")

    @contextlib.contextmanager
    def serve(self, place):
        (port,) = servers.free_ports(1)
        host = f"{servers.HOST}:{port}"
        file = place.directory / "nginx.conf"
        file.write_text(
            CONFIGURATION.format(
                dir=place.directory,
                workers=place.workers,
                size=place.cache_bytes,
                origin=place.origin,
                host=host,
                slice=SLICE,
                unsigned=" ".join(f'proxy_set_header {field} "";' for field in SIGNATURE_FIELDS),
            )
        )
        with started(place, "nginx", ["nginx", "-p", place.directory, "-c", file]) as running:
            running.wait_until(lambda: listens(host))
            yield Server(host, self.credentials, [running])


PEER = Nginx()
