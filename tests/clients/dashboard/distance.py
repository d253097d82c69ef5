"""A way to the origin that is longer than loopback, and that can be cut."""

import contextlib
import select
import socket
import threading
import time
import urllib.parse

import servers


class Distance:
    """Forwards connections to a server; what is sent there comes a while later, what comes back at once."""

    def __init__(self, url, seconds):
        place = urllib.parse.urlsplit(url)
        self.server = (place.hostname, place.port)
        self.seconds = seconds
        self.is_cut = False
        self.connections = set()
        self.listener = socket.create_server((servers.HOST, 0))
        self.url = f"http://{servers.HOST}:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.is_cut:
                near.close()
                continue
            threading.Thread(target=self.carry, args=[near], daemon=True).start()

    def carry(self, near):
        with near, contextlib.suppress(OSError), socket.create_connection(self.server) as far:
            self.connections |= {near, far}
            try:
                while not self.is_cut:
                    for source in select.select([near, far], [], [], 0.2)[0]:
                        piece = source.recv(1 << 16)
                        if not piece:
                            return
                        if source is near:
                            time.sleep(self.seconds)
                        (far if source is near else near).sendall(piece)
            finally:
                self.connections -= {near, far}

    @contextlib.contextmanager
    def cut(self):
        """Nothing gets there meanwhile."""
        self.is_cut = True
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        try:
            yield
        finally:
            self.is_cut = False

    def close(self):
        with self.cut():
            self.listener.close()
