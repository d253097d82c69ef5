"""No cache: clients ask the store far away."""

import contextlib

import servers
from ways import Peer, Server


class Direct(Peer):
    name = "direct"
    title = "direct"
    order = 0
    credentials = servers.ORIGIN

    def version(self):
        return "no cache"

    @contextlib.contextmanager
    def serve(self, place):
        yield Server(place.origin, self.credentials, [])


PEER = Direct()
