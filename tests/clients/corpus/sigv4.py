"""A SigV4 signer written from the public documents, independent of the proxy's and of botocore's.

It signs what it is given: the raw path and query go on the wire as they are, canonicalization looks
at them only for the signature.
"""

import base64
import hashlib
import hmac
import re
import zlib

UNSIGNED = "UNSIGNED-PAYLOAD"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"

CHECKSUMS = {
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "x-amz-checksum-sha1": lambda body: hashlib.sha1(body).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
}
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Signer:
    """Signs the requests of one key pair at one moment."""

    def __init__(self, credentials, now, region="us-east-1"):
        self.credentials = credentials
        self.moment = now.strftime("%Y%m%dT%H%M%SZ")
        self.region = region
        self.scope = f"{self.moment[:8]}/{region}/s3/aws4_request"

    def header_signed(self, method, path, query, headers, payload_hash, signed=None, path_as_is=False):
        """`headers` with date, payload hash and Authorization; and the signature."""
        headers = [*headers, ("x-amz-date", self.moment)]
        if payload_hash is not None:
            headers.append(("x-amz-content-sha256", payload_hash))
        names = sorted({name.lower() for name, _ in headers} & set(signed or [])) if signed else sorted(
            {name.lower() for name, _ in headers if must_sign(name)}
        )  # fmt: skip
        canonical = canonical_request(method, path, query, headers, names, payload_hash or UNSIGNED, path_as_is)
        signature = self.sign(f"AWS4-HMAC-SHA256\n{self.moment}\n{self.scope}\n{hexdigest(canonical.encode())}")
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={self.credentials.access_key}/{self.scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )
        return [*headers, ("Authorization", authorization)], signature

    def presigned(self, method, path, query, headers, expires, payload_hash=UNSIGNED):
        """`query` with the signature in it. Signs `host` only."""
        credential = encode(f"{self.credentials.access_key}/{self.scope}".encode(), slash=False)
        ours = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={self.moment}"
            f"&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host"
        )
        query = f"{query}&{ours}" if query else ours
        canonical = canonical_request(method, path, query, headers, ["host"], payload_hash, False)
        signature = self.sign(f"AWS4-HMAC-SHA256\n{self.moment}\n{self.scope}\n{hexdigest(canonical.encode())}")
        return f"{query}&X-Amz-Signature={signature}"

    def chunks(self, body, sizes, seed, trailer):
        """A body in signed chunks, with a signed trailer if a checksum's name is given."""
        previous, framed = seed, b""
        for chunk in [*split(body, sizes), b""]:
            previous = self.sign(
                f"AWS4-HMAC-SHA256-PAYLOAD\n{self.moment}\n{self.scope}\n{previous}\n{hexdigest(b'')}\n{hexdigest(chunk)}"
            )
            framed += f"{len(chunk):x};chunk-signature={previous}\r\n".encode()
            framed += chunk + b"\r\n" if chunk else b""
        if trailer:
            value = checksum(trailer, body)
            line = f"{trailer}:{value}\n"
            signature = self.sign(
                f"AWS4-HMAC-SHA256-TRAILER\n{self.moment}\n{self.scope}\n{previous}\n{hexdigest(line.encode())}"
            )
            framed += f"{trailer}:{value}\r\nx-amz-trailer-signature:{signature}\r\n".encode()
        return framed + b"\r\n"

    def sign(self, text):
        key = f"AWS4{self.credentials.secret_key}".encode()
        for part in self.scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def unsigned_chunks(body, sizes, trailer, value=None):
    """A body in aws-chunked framing without signatures, ended by a checksum."""
    framed = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in split(body, sizes))
    return framed + f"0\r\n{trailer}:{value or checksum(trailer, body)}\r\n\r\n".encode()


def split(body, sizes):
    """Pieces of the given sizes, the last size as often as needed."""
    pieces, sizes = [], list(sizes)
    while body:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        pieces.append(body[:size])
        body = body[size:]
    return pieces


def checksum(name, body):
    return base64.b64encode(CHECKSUMS[name](body)).decode()


def must_sign(name):
    name = name.lower()
    return name == "host" or name.startswith("x-amz-") or name in ("content-md5", "range")


def canonical_request(method, path, query, headers, names, payload_hash, path_as_is):
    lines = []
    for name in names:
        values = [" ".join(value.split()) for other, value in headers if other.lower() == name]
        lines.append(f"{name}:{','.join(values)}\n")
    path = path if path_as_is else encode(decode(path), slash=True)
    return f"{method}\n{path}\n{canonical_query(query)}\n{''.join(lines)}\n{';'.join(names)}\n{payload_hash}"


def canonical_query(query):
    pairs = []
    for part in query.split("&") if query else []:
        name, _, value = part.partition("=")
        pairs.append((encode(decode(name), slash=False), encode(decode(value), slash=False)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def decode(text):
    """Percent-decodes once; a percent sign that starts no escape stays."""
    return re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), text.encode())


def encode(raw, slash):
    kept = UNRESERVED | {ord("/")} if slash else UNRESERVED
    return "".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in raw)


def hexdigest(body):
    return hashlib.sha256(body).hexdigest()
