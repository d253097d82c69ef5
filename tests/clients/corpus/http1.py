"""The smallest HTTP/1.1 client that sends a target untouched and shows the answer as it came."""

import socket
import urllib.parse
from dataclasses import dataclass

TIMEOUT_SECONDS = 30
CONTINUE_SECONDS = 2
MAX_ANSWER_BYTES = 64 << 20


@dataclass(frozen=True)
class Answer:
    status: int
    # Names in lower case, in wire order.
    fields: list
    body: bytes
    # Whether a 100 came before.
    continued: bool

    def field(self, name):
        return next((value for other, value in self.fields if other == name), None)


def exchange(endpoint, method, target, fields, body, chunked=False):
    """Sends one request on its own connection and reads the whole answer."""
    place = urllib.parse.urlsplit(endpoint)
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    elif body or method in ("PUT", "POST"):
        lines.append(f"Content-Length: {len(body)}")
    expects = any(name.lower() == "expect" for name, _ in fields)
    with socket.create_connection((place.hostname, place.port), TIMEOUT_SECONDS) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        reader = connection.makefile("rb")
        head = None
        if expects:
            connection.settimeout(CONTINUE_SECONDS)
            try:
                head = read_head(reader)
            finally:
                connection.settimeout(TIMEOUT_SECONDS)
        continued = head is not None and head[0] == 100
        if head is None or continued:
            try:
                connection.sendall(http_chunks(body) if chunked else body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # A refusal may come before the body is read.
            head = read_head(reader)
        while head[0] == 100:
            continued, head = True, read_head(reader)
        status, fields = head
        return Answer(status, fields, read_body(reader, method, status, dict(fields)), continued)


def http_chunks(body, size=10_000):
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


def read_head(reader):
    status_line = reader.readline(65_536)
    if not status_line.startswith(b"HTTP/1."):
        raise ConnectionError(f"no answer but {status_line!r}")
    fields = []
    while (line := reader.readline(65_536)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        fields.append((name.strip().lower(), value.strip()))
    return int(status_line.split()[1]), fields


def read_body(reader, method, status, fields):
    if method == "HEAD" or status in (204, 304):
        return b""
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int(reader.readline(100).split(b";")[0], 16):
            body += exactly(reader, size)
            reader.readline(100)
        while reader.readline(65_536) not in (b"\r\n", b""):
            pass
        return body
    if "content-length" in fields:
        return exactly(reader, int(fields["content-length"]))
    return reader.read(MAX_ANSWER_BYTES)


def exactly(reader, size):
    if size > MAX_ANSWER_BYTES:
        raise ConnectionError(f"an answer of {size} bytes")
    body = reader.read(size)
    if len(body) != size:
        raise ConnectionError(f"the body ended after {len(body)} of {size} bytes")
    return body
