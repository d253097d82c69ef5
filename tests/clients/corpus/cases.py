"""The requests: one line each, in the order in which they are sent.

`@name@` is filled in: the side's bucket and host, and what earlier cases kept. A body that is a
number is so many bytes of PATTERN. `status` is what SeaweedFS answers; where S3 answers otherwise,
a comment says so.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Callable

from corpus import sigv4

PATTERN = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(10_000))
MD5_EMPTY = "1B2M2Y8AsgTpgAmY7PhCfg=="


@dataclass(frozen=True)
class Case:
    name: str
    status: int
    method: str
    path: str
    query: str = ""
    fields: tuple = ()
    body: str | int = ""
    # How the body is signed: None is its SHA-256.
    payload: str | None = None
    sizes: tuple = (65_536,)
    trailer: str = "x-amz-checksum-crc32"
    trailer_value: str | None = None
    chunked: bool = False
    auth: str = "header"
    expires: int = 600
    clock: int = 0
    path_as_is: bool = False
    question_mark: bool = False
    # Changes path, query, fields and body after they were signed.
    tamper: Callable | None = None
    # Name -> "<Element>" of the XML answer, or a field: for later cases.
    keep: dict = field(default_factory=dict)
    pause: float = 0


CASES = []


def case(name, status, method, target, *fields, **more):
    path, mark, query = target.partition("?")
    CASES.append(Case(name, status, method, path, query, fields, question_mark=bool(mark), **more))


B = "/@bucket@"

# Buckets.
case("create-bucket", 200, "PUT", B)
case("create-bucket-again", 409, "PUT", B)
case("head-bucket", 200, "HEAD", B)
case("head-bucket-slash", 200, "HEAD", B + "/")
case("head-bucket-missing", 404, "HEAD", B + "-missing")
case("bucket-location", 200, "GET", B + "?location")
case("bucket-location-equals", 200, "GET", B + "/?location=")
case("bucket-versioning-never-set", 200, "GET", B + "?versioning")
case("bucket-acl", 200, "GET", B + "?acl")
case("bucket-policy-none", 404, "GET", B + "?policy")
case("bucket-cors-none", 404, "GET", B + "?cors")
case("bucket-lifecycle-none", 404, "GET", B + "?lifecycle")
case("bucket-tagging-none", 404, "GET", B + "?tagging")
case("bucket-encryption-none", 404, "GET", B + "?encryption")
case("bucket-object-lock-none", 404, "GET", B + "?object-lock")
case("bucket-request-payment", 200, "GET", B + "?requestPayment")
case("bucket-ownership-none", 200, "GET", B + "?ownershipControls")
case("bucket-public-access-block-none", 501, "GET", B + "?publicAccessBlock")
case("bucket-website", 404, "GET", B + "?website")
case("bucket-notification", 200, "GET", B + "?notification")
case("bucket-logging", 200, "GET", B + "?logging")
case("bucket-replication", 404, "GET", B + "?replication")
case("bucket-accelerate", 200, "GET", B + "?accelerate")
case("bucket-session", 501, "GET", B + "?session")
case("create-bucket-bad-name", 400, "PUT", "/A_b")
case("list-empty-bucket-v1", 200, "GET", B)
case("list-empty-bucket-v2", 200, "GET", B + "?list-type=2")

# Objects to read.
META = (("x-amz-meta-plain", "value"), ("x-amz-meta-two", "a  b"), ("Content-Type", "text/x-plain"))
case("put-plain", 200, "PUT", B + "/plain", *META, body=1000, keep={"etag": "etag"})
case("put-large", 200, "PUT", B + "/large.bin", ("Content-Type", "application/x-large"), body=300_000, keep={"large": "etag"})
case("put-empty", 200, "PUT", B + "/empty", ("Content-Type", "text/x-empty"))
case("put-no-type", 200, "PUT", B + "/no-type", body=10)
case(
    "put-all-fields", 200, "PUT", B + "/fields",
    ("Cache-Control", "max-age=60, public"), ("Content-Disposition", 'attachment; filename="a b.txt"'),
    ("Content-Encoding", "gzip"), ("Content-Language", "en, de"), ("Expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
    ("Content-Type", "text/plain; charset=utf-8"), ("x-amz-meta-UPPER", "Kept"), ("x-amz-storage-class", "STANDARD"), body=77,
)  # fmt: skip

# Whole reads.
for method in ("GET", "HEAD"):
    m = method.lower()
    case(f"{m}-plain", 200, method, B + "/plain", keep={"modified": "last-modified"})
    case(f"{m}-large", 200, method, B + "/large.bin")
    case(f"{m}-empty", 200, method, B + "/empty")
    case(f"{m}-no-type", 200, method, B + "/no-type")
    case(f"{m}-all-fields", 200, method, B + "/fields")
    case(f"{m}-missing", 404, method, B + "/missing")
    case(f"{m}-missing-bucket", 404, method, B + "-missing/plain")
    case(f"{m}-x-id", 200, method, B + "/plain?x-id=GetObject")
    case(f"{m}-checksum-mode", 200, method, B + "/plain", ("x-amz-checksum-mode", "ENABLED"))
    case(f"{m}-checksum-mode-lower", 200, method, B + "/plain", ("x-amz-checksum-mode", "enabled"))

# Ranges.
for name, status, wanted in (
    ("first-byte", 206, "bytes=0-0"),
    ("first-hundred", 206, "bytes=0-99"),
    ("middle", 206, "bytes=12345-23456"),
    ("one-block", 206, "bytes=65536-131071"),
    ("across-blocks", 206, "bytes=65535-65536"),
    ("across-many-blocks", 206, "bytes=1-299998"),
    ("open", 206, "bytes=299000-"),
    ("open-from-zero", 206, "bytes=0-"),
    ("last-byte", 206, "bytes=299999-299999"),
    ("last-byte-open", 206, "bytes=299999-"),
    ("end-beyond", 206, "bytes=200000-52428799"),
    ("end-far-beyond", 206, "bytes=0-9223372036854775806"),
    ("whole", 206, "bytes=0-299999"),
    ("suffix-one", 206, "bytes=-1"),
    ("suffix", 206, "bytes=-65537"),
    ("suffix-whole", 206, "bytes=-300000"),
    ("suffix-beyond", 206, "bytes=-524288"),
    ("suffix-zero", 416, "bytes=-0"),
    ("start-at-size", 416, "bytes=300000-"),
    ("start-beyond", 416, "bytes=300000-300001"),
    # S3 ignores a Range that is none, SeaweedFS refuses it.
    ("backwards", 416, "bytes=5-2"),
    ("many", 200, "bytes=0-1,5-6"),
    ("not-a-number", 416, "bytes=a-b"),
    ("other-unit", 200, "items=0-1"),
    ("no-value", 200, "bytes="),
    ("only-dash", 206, "bytes=-"),
    ("overflow", 416, "bytes=0-99999999999999999999999"),
    ("upper-case", 200, "Bytes=0-9"),
    ("spaces", 200, "bytes = 0-9"),
):
    case(f"range-{name}", status, "GET", B + "/large.bin", ("Range", wanted))
case("range-unsigned", 206, "GET", B + "/large.bin", tamper=lambda p, q, f, b: (p, q, [*f, ("Range", "bytes=10-19")], b))
# S3 answers 206 to HEAD with Range, SeaweedFS ignores the Range.
case("range-head", 200, "HEAD", B + "/large.bin", ("Range", "bytes=100-199"))
case("range-head-suffix", 200, "HEAD", B + "/large.bin", ("Range", "bytes=-262144"))
case("range-head-beyond", 200, "HEAD", B + "/large.bin", ("Range", "bytes=300000-"))
case("range-empty-object", 416, "GET", B + "/empty", ("Range", "bytes=0-9"))
case("range-empty-object-suffix", 416, "GET", B + "/empty", ("Range", "bytes=-9"))
case("range-small-object-suffix", 206, "GET", B + "/plain", ("Range", "bytes=-262144"))
case("range-missing", 404, "GET", B + "/missing", ("Range", "bytes=0-9"))
case("range-checksum-mode", 206, "GET", B + "/large.bin", ("Range", "bytes=0-99"), ("x-amz-checksum-mode", "ENABLED"))
case("range-if-range-etag", 206, "GET", B + "/large.bin", ("Range", "bytes=0-9"), ("If-Range", "@large@"))

# Preconditions of reads.
OLD, NEW = "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2038 00:00:00 GMT"
for method in ("GET", "HEAD"):
    m = method.lower()
    for name, status, conditions in (
        ("match", 200, (("If-Match", "@etag@"),)),
        ("match-other", 412, (("If-Match", '"0123"'),)),
        ("match-list", 200, (("If-Match", '"0123", @etag@'),)),
        ("match-star", 200, (("If-Match", "*"),)),
        ("none-match", 304, (("If-None-Match", "@etag@"),)),
        ("none-match-other", 200, (("If-None-Match", '"0123"'),)),
        # 304 on S3, which compares weakly.
        ("none-match-weak", 200, (("If-None-Match", "W/@etag@"),)),
        ("none-match-star", 304, (("If-None-Match", "*"),)),
        ("modified-since-old", 200, (("If-Modified-Since", OLD),)),
        ("modified-since-same", 304, (("If-Modified-Since", "@modified@"),)),
        ("unmodified-since-old", 412, (("If-Unmodified-Since", OLD),)),
        ("unmodified-since-same", 200, (("If-Unmodified-Since", "@modified@"),)),
        # S3 ignores a date that is none.
        ("bad-date", 400, (("If-Modified-Since", "yesterday"),)),
        ("match-beats-unmodified", 200, (("If-Match", "@etag@"), ("If-Unmodified-Since", OLD))),
        ("none-match-beats-modified", 200, (("If-None-Match", '"0123"'), ("If-Modified-Since", "@modified@"))),
        ("match-and-range", 206, (("If-Match", "@etag@"), ("Range", "bytes=1-2"))),
        ("match-other-and-range", 412, (("If-Match", '"0123"'), ("Range", "bytes=1-2"))),
        ("none-match-and-range", 304, (("If-None-Match", "@etag@"), ("Range", "bytes=1-2"))),
        ("match-and-bad-range", 416, (("If-Match", "@etag@"), ("Range", "bytes=5000-"))),
    ):
        # SeaweedFS ignores a Range on HEAD.
        ranged = status in (206, 416) and method == "HEAD"
        case(f"if-{m}-{name}", 200 if ranged else status, method, B + "/plain", *conditions)
case("if-match-missing", 404, "GET", B + "/missing", ("If-Match", "*"))

# Fields of the answer chosen by the request.
case(
    "response-fields", 200, "GET",
    B + "/plain?response-content-type=text%2Fx-other&response-cache-control=no-store&response-content-language=fr"
    "&response-content-encoding=identity&response-expires=Thu%2C%2001%20Dec%201994%2016%3A00%3A00%20GMT"
    "&response-content-disposition=attachment%3B%20filename%3D%22b%20c%22",
)  # fmt: skip
case("response-fields-head", 200, "HEAD", B + "/plain?response-content-type=text%2Fx-other")
case("part-number", 206, "GET", B + "/plain?partNumber=1")
case("unknown-query", 200, "GET", B + "/plain?made-up=1")
case("accept-encoding", 200, "GET", B + "/large.bin", ("Accept-Encoding", "gzip, br"))

# Odd keys: put, get, head, ranged get, copy, delete. Encoded by hand where a second spelling exists.
for name, written in {
    "space": "with%20space",
    "plus": "a%2Bb",
    "plus-raw": "c+d",
    "equals": "e%3Df",
    "equals-raw": "g=h",
    "percent": "100%25",
    "percent-encoded-percent": "a%2520b",
    "unicode": "%C3%BC%20%E6%97%A5%E6%9C%AC",
    "emoji": "%F0%9F%A6%86",
    "lower-case-escapes": "%c3%a9",
    "needless-escapes": "%61%62%63",
    "question-hash": "a%3Fb%23c",
    "marks": "%21%27%28%29%2A%2C%3B%3A%40%26%24",
    "marks-raw": "!'()*,;:@&$m",
    "tilde": "~a~",
    "tilde-encoded": "b%7E",
    "quotes": "%22a%22%60",
    "angles": "%3Ca%26b%3E",
    "braces": "%7Ba%7D%5Bb%5D%7Cc%5E",
    "slash-encoded": "a%2Fencoded%2Fslash",
    "dots": "...",
    "dots-inside": "a..b/..c/d..",
    "deep": "1/2/3/4/5/6/7/8/9/10",
    "long": "l" * 200,
    "very-long": "/".join(["v" * 150] * 6),
    "control": "a%01b%7F",
    "tab-newline": "a%09b%0Ac",
}.items():
    path = f"{B}/odd/{written}"
    case(f"odd-{name}-put", 200, "PUT", path, ("Content-Type", "text/x-odd"), body=f"body of {name}")
    case(f"odd-{name}-get", 200, "GET", path)
    case(f"odd-{name}-head", 200, "HEAD", path)
    case(f"odd-{name}-range", 206, "GET", path, ("Range", "bytes=-4"))
    case(f"odd-{name}-copy", 200, "PUT", f"{path}.copy", ("x-amz-copy-source", path))
    case(f"odd-{name}-get-copy", 200, "GET", f"{path}.copy")
    case(f"odd-{name}-delete", 204, "DELETE", f"{path}.copy")
for name, written in {
    "double-slash": "a//b",
    "leading-slash": "/a",
    "dot-segment": "a/./b",
    "dot-dot-segment": "a/../b",
    "dot-dot-encoded": "a/%2E%2E/b",
    "escape-bucket": "../plain",
    "directory": "dir/",
    "only-dot": ".",
}.items():
    path = f"{B}/{'odd/' if name != 'escape-bucket' else ''}{written}"
    # S3 takes dot segments as they are, SeaweedFS refuses them.
    refused = "dot" in name or name == "escape-bucket"
    case(f"path-{name}-put", 400 if refused else 200, "PUT", path, ("Content-Type", "text/x-odd"))
    case(f"path-{name}-get", 400 if refused else 200, "GET", path)
    case(f"path-{name}-head", 400 if refused else 200, "HEAD", path)
    case(f"path-{name}-delete", 400 if refused else 204, "DELETE", path)
# curl signs so; the proxy understands it.
case("path-signed-as-is", 403, "GET", B + "/odd/g=h", path_as_is=True)
# 400 KeyTooLongError on S3.
case("path-too-long", 404, "GET", f"{B}/{'k' * 1100}")
case("path-bad-escape", 400, "GET", B + "/bad%zz")
case("path-bad-utf-8", 403, "GET", B + "/bad%FF%FE")

# Lists.
case("list-put-1", 200, "PUT", B + "/list/a", body="a")
case("list-put-2", 200, "PUT", B + "/list/b%20%2B%C3%BC", body="b")
case("list-put-3", 200, "PUT", B + "/list/sub/c", body="c")
case("list-put-4", 200, "PUT", B + "/list/sub/d%26%3C", body="d")
case("list-put-5", 200, "PUT", B + "/list/z", body="z")
V2, P = "?list-type=2", "prefix=list%2F"
for name, status, query in (
    ("v2-prefix", 200, f"{V2}&{P}"),
    ("v2-unsorted", 200, "?prefix=list%2F&list-type=2&delimiter=%2F"),
    ("v2-delimiter", 200, f"{V2}&{P}&delimiter=%2F"),
    ("v2-delimiter-empty", 200, f"{V2}&{P}&delimiter="),
    ("v2-delimiter-other", 200, f"{V2}&{P}&delimiter=b"),
    ("v2-url", 200, f"{V2}&{P}&encoding-type=url"),
    ("v2-url-delimiter", 200, f"{V2}&{P}&delimiter=%2F&encoding-type=url"),
    # 400 on S3.
    ("v2-bad-encoding", 200, f"{V2}&{P}&encoding-type=base64"),
    ("v2-max-keys-0", 200, f"{V2}&{P}&max-keys=0"),
    ("v2-max-keys-1000", 200, f"{V2}&{P}&max-keys=1000"),
    ("v2-max-keys-many", 200, f"{V2}&{P}&max-keys=5000"),
    ("v2-max-keys-negative", 400, f"{V2}&{P}&max-keys=-1"),
    ("v2-max-keys-word", 400, f"{V2}&{P}&max-keys=few"),
    ("v2-start-after", 200, f"{V2}&{P}&start-after=list%2Fb"),
    ("v2-start-after-last", 200, f"{V2}&{P}&start-after=list%2Fzz"),
    ("v2-fetch-owner", 200, f"{V2}&{P}&fetch-owner=true"),
    ("v2-no-match", 200, f"{V2}&prefix=nothing"),
    ("v2-prefix-empty", 200, f"{V2}&prefix=&delimiter=%2F"),
    ("v2-prefix-unicode", 200, f"{V2}&prefix=list%2Fb%20%2B%C3%BC"),
    ("v2-prefix-part", 200, f"{V2}&prefix=list%2Fsu&delimiter=%2F"),
    ("v1-prefix", 200, f"?{P}"),
    ("v1-delimiter", 200, f"?{P}&delimiter=%2F"),
    ("v1-marker", 200, f"?{P}&marker=list%2Fb"),
    ("v1-max-keys", 200, f"?{P}&max-keys=2"),
    ("v1-max-keys-delimiter", 200, f"?{P}&max-keys=2&delimiter=%2F"),
    ("v1-url", 200, f"?{P}&encoding-type=url"),
    ("v1-type-1", 200, f"?list-type=1&{P}"),
    ("versions", 200, f"?versions&{P}"),
    ("versions-delimiter", 200, f"?versions&{P}&delimiter=%2F"),
    ("versions-max-keys", 200, f"?versions&{P}&max-keys=2"),
    ("uploads-none", 200, f"?uploads&{P}"),
):
    case(f"list-{name}", status, "GET", B + query)
case("list-slash", 200, "GET", f"{B}/{V2}&{P}")
case("list-page-1", 200, "GET", f"{B}{V2}&{P}&max-keys=2", keep={"token": "<NextContinuationToken>"})
case("list-page-2", 200, "GET", f"{B}{V2}&{P}&max-keys=2&continuation-token=@token@", keep={"token2": "<NextContinuationToken>"})
case("list-missing-bucket", 404, "GET", f"{B}-missing{V2}")

# Ways to sign.
case("sign-unsigned-payload", 200, "PUT", B + "/sign/unsigned", body=1000, payload=sigv4.UNSIGNED)
case("sign-get-unsigned-payload", 200, "GET", B + "/plain", payload=sigv4.UNSIGNED)
case("sign-lower-case-names", 200, "GET", B + "/plain", ("range-not", "x"), ("accept", "*/*"))
case("sign-inner-spaces", 200, "PUT", B + "/sign/spaces", ("x-amz-meta-spaces", "a    b   c"), body="x")
case("sign-wrong-secret", 403, "GET", B + "/plain", auth="wrong-secret")
case("sign-wrong-secret-put", 403, "PUT", B + "/sign/wrong", auth="wrong-secret", body=1000)
case("sign-unknown-key", 403, "GET", B + "/plain", auth="unknown-key")
case("sign-anonymous", 403, "GET", B + "/plain", auth="anonymous")
case("sign-anonymous-list", 403, "GET", B + V2, auth="anonymous")
case("sign-anonymous-put", 403, "PUT", B + "/sign/anonymous", auth="anonymous", body=10)
case("sign-clock-behind", 403, "GET", B + "/plain", clock=-3600)
case("sign-clock-ahead", 403, "GET", B + "/plain", clock=3600)
case("sign-clock-a-little-behind", 200, "GET", B + "/plain", clock=-300)
case("sign-tampered-path", 403, "GET", B + "/plain", tamper=lambda p, q, f, b: (p[:-1], q, f, b))
case("sign-tampered-query", 403, "GET", B + V2, tamper=lambda p, q, f, b: (p, q + "&prefix=x", f, b))
case("sign-tampered-range", 403, "GET", B + "/plain", ("Range", "bytes=0-1"),
     tamper=lambda p, q, f, b: (p, q, [(n, "bytes=0-9" if n == "Range" else v) for n, v in f], b))  # fmt: skip
# SeaweedFS does not compare the body with its signed hash.
case("sign-tampered-body", 200, "PUT", B + "/sign/tampered", body=1000, payload="wrong")
case("sign-tampered-body-not-stored", 200, "GET", B + "/sign/tampered")
# Too long to be checked before the origin hears of it.
for size in (70_000, 500_000):
    case(f"sign-tampered-body-{size}", 200, "PUT", B + f"/sign/tampered-{size}", body=size, payload="wrong")
    case(f"sign-tampered-body-{size}-not-stored", 200, "GET", B + f"/sign/tampered-{size}")
case("sign-garbage", 400, "GET", B + "/plain", ("Authorization", "AWS4-HMAC-SHA256 nonsense"), auth="anonymous")
case("sign-basic", 403, "GET", B + "/plain", ("Authorization", "Basic dTpw"), auth="anonymous")
case("sign-v2", 403, "GET", B + "/plain", ("Authorization", "AWS AKIAORIGIN0000000000:c2lnbmF0dXJl"), auth="anonymous")
case("sign-v2-link", 403, "GET", B + "/plain?AWSAccessKeyId=AKIAORIGIN0000000000&Expires=9999999999&Signature=c2ln", auth="anonymous")
case("link-get", 200, "GET", B + "/plain", auth="presigned")
case("link-head", 200, "HEAD", B + "/plain", auth="presigned")
case("link-range", 206, "GET", B + "/large.bin", ("Range", "bytes=5-9"), auth="presigned")
case("link-list", 200, "GET", B + f"{V2}&{P}", auth="presigned")
case("link-odd-key", 200, "GET", B + "/odd/with%20space", auth="presigned")
case("link-put", 200, "PUT", B + "/sign/link", ("Content-Type", "text/x-link"), body=1000, auth="presigned")
case("link-get-what-was-put", 200, "GET", B + "/sign/link", auth="presigned")
case("link-delete", 204, "DELETE", B + "/sign/link", auth="presigned")
case("link-expired", 403, "GET", B + "/plain", auth="presigned", clock=-700)
case("link-too-long", 400, "GET", B + "/plain", auth="presigned", expires=604_801)
case("link-longest", 200, "GET", B + "/plain", auth="presigned", expires=604_800)
case("link-zero", 403, "GET", B + "/plain", auth="presigned", expires=0)
case("link-wrong-secret", 403, "GET", B + "/plain", auth="presigned-wrong")
case("link-tampered", 403, "GET", B + "/plain", auth="presigned", tamper=lambda p, q, f, b: (p + "x", q, f, b))

# Bodies in aws-chunked framing.
for number, (payload, short) in enumerate(
    ((sigv4.UNSIGNED_TRAILER, "unsigned"), (sigv4.SIGNED_CHUNKS, "signed"), (sigv4.SIGNED_CHUNKS_TRAILER, "signed-trailer"))
):
    for name, size, sizes in (
        ("empty", 0, (65_536,)),
        ("one-byte", 1, (65_536,)),
        ("one-chunk", 65_536, (65_536,)),
        ("many-chunks", 200_000, (65_536,)),
        ("uneven-chunks", 70_000, (8_192, 20_000, 8_193)),
    ):
        path = f"{B}/chunked/{short}-{name}"
        case(f"chunked-{short}-{name}-put", 200, "PUT", path, ("Content-Type", "text/x-chunked"), body=size, payload=payload, sizes=sizes)
        case(f"chunked-{short}-{name}-get", 200, "GET", path)
for trailer in ("x-amz-checksum-crc32", "x-amz-checksum-sha1", "x-amz-checksum-sha256"):
    path = f"{B}/chunked/{trailer}"
    case(f"chunked-{trailer}-put", 200, "PUT", path, body=100_000, payload=sigv4.UNSIGNED_TRAILER, trailer=trailer)
    case(f"chunked-{trailer}-get", 200, "GET", path, ("x-amz-checksum-mode", "ENABLED"))
case("chunked-transfer-encoding-put", 200, "PUT", B + "/chunked/te", body=100_000, payload=sigv4.UNSIGNED_TRAILER, chunked=True)
case("chunked-transfer-encoding-get", 200, "GET", B + "/chunked/te")
case("chunked-gzip-put", 200, "PUT", B + "/chunked/gzip", ("Content-Encoding", "aws-chunked,gzip"), body=1000, payload=sigv4.UNSIGNED_TRAILER)
case("chunked-gzip-get", 200, "GET", B + "/chunked/gzip")
case("chunked-wrong-checksum", 400, "PUT", B + "/chunked/wrong", body=1000, payload=sigv4.UNSIGNED_TRAILER, trailer_value="AAAAAA==")
case("chunked-wrong-checksum-not-stored", 404, "GET", B + "/chunked/wrong")
case("chunked-tampered-chunk", 500, "PUT", B + "/chunked/tampered", body=1000, payload=sigv4.SIGNED_CHUNKS,
     tamper=lambda p, q, f, b: (p, q, f, b[:500] + bytes([b[500] ^ 1]) + b[501:]))  # fmt: skip
case("chunked-tampered-chunk-not-stored", 404, "GET", B + "/chunked/tampered")
case("chunked-expect", 200, "PUT", B + "/chunked/expect", ("Expect", "100-continue"), body=100_000, payload=sigv4.UNSIGNED_TRAILER)

# Writes.
case("put-expect", 200, "PUT", B + "/write/expect", ("Expect", "100-continue"), body=100_000)
case("put-content-md5", 200, "PUT", B + "/write/md5", ("Content-MD5", MD5_EMPTY))
case("put-wrong-md5", 400, "PUT", B + "/write/wrong-md5", ("Content-MD5", MD5_EMPTY), body="not empty")
case("put-bad-md5", 400, "PUT", B + "/write/bad-md5", ("Content-MD5", "nonsense"), body="x")
case("put-crc32", 200, "PUT", B + "/write/crc32", ("x-amz-checksum-crc32", "NhCmhg=="), body="hello")
case("put-wrong-crc32", 400, "PUT", B + "/write/wrong-crc32", ("x-amz-checksum-crc32", "AAAAAA=="), body="hello")
case("put-if-none-match-new", 200, "PUT", B + "/write/if", ("If-None-Match", "*"), body="first", keep={"if": "etag"})
case("put-if-none-match-there", 412, "PUT", B + "/write/if", ("If-None-Match", "*"), body="second")
case("put-if-match", 200, "PUT", B + "/write/if", ("If-Match", "@if@"), body="third")
case("put-if-match-changed", 412, "PUT", B + "/write/if", ("If-Match", "@if@"), body="fourth")
# 404 on S3.
case("put-if-match-missing", 412, "PUT", B + "/write/if-missing", ("If-Match", "@if@"), body="x")
case("put-read-back", 200, "GET", B + "/write/if")
case("put-missing-bucket", 404, "PUT", B + "-missing/x", body="x")
case("put-acl", 200, "PUT", B + "/write/acl", ("x-amz-acl", "private"), body="x")
case("put-tagging-field", 200, "PUT", B + "/write/tagged", ("x-amz-tagging", "a=1&b=2%203"), body="x")
case("overwrite-1", 200, "PUT", B + "/write/over", ("Content-Type", "text/x-one"), ("x-amz-meta-turn", "1"), body=100)
case("overwrite-1-get", 200, "GET", B + "/write/over")
case("overwrite-2", 200, "PUT", B + "/write/over", ("Content-Type", "text/x-two"), ("x-amz-meta-turn", "2"), body=90)
case("overwrite-2-get", 200, "GET", B + "/write/over")
case("overwrite-2-range", 206, "GET", B + "/write/over", ("Range", "bytes=80-99"))
case("overwrite-2-head", 200, "HEAD", B + "/write/over")
case("delete", 204, "DELETE", B + "/write/over")
case("delete-get", 404, "GET", B + "/write/over")
case("delete-again", 204, "DELETE", B + "/write/over")
case("delete-missing-bucket", 404, "DELETE", B + "-missing/x")
case("object-acl", 200, "GET", B + "/plain?acl")
case("object-attributes", 200, "GET", B + "/plain?attributes", ("x-amz-object-attributes", "ETag,ObjectSize,StorageClass"))
# SeaweedFS ignores the sub-resource.
case("object-torrent", 200, "GET", B + "/plain?torrent")
case("object-retention", 400, "GET", B + "/plain?retention")
case("object-legal-hold", 400, "GET", B + "/plain?legal-hold")
case("object-restore", 405, "POST", B + "/plain?restore")
case("object-select", 405, "POST", B + "/plain?select&select-type=2", body="<SelectObjectContentRequest/>")
case("object-post", 405, "POST", B + "/plain", body="x")
case("method-patch", 405, "PATCH", B + "/plain", body="x")

# Tags.
TAGS = "<Tagging><TagSet><Tag><Key>k</Key><Value>v + w</Value></Tag></TagSet></Tagging>"
case("tags-get", 200, "GET", B + "/write/tagged?tagging")
case("tags-none", 200, "GET", B + "/plain?tagging")
case("tags-put", 200, "PUT", B + "/write/tagged?tagging", body=TAGS)
case("tags-get-again", 200, "GET", B + "/write/tagged?tagging")
case("tags-head", 200, "HEAD", B + "/write/tagged")
case("tags-put-malformed", 400, "PUT", B + "/write/tagged?tagging", body="<Tagging><TagSet>")
case("tags-delete", 204, "DELETE", B + "/write/tagged?tagging")
case("tags-get-none", 200, "GET", B + "/write/tagged?tagging")
case("tags-missing", 404, "GET", B + "/missing?tagging")

# Copies.
case("copy", 200, "PUT", B + "/copy/one", ("x-amz-copy-source", B + "/plain"))
case("copy-get", 200, "GET", B + "/copy/one")
case("copy-no-leading-slash", 200, "PUT", B + "/copy/two", ("x-amz-copy-source", "@bucket@/plain"))
case("copy-replace", 200, "PUT", B + "/copy/three", ("x-amz-copy-source", B + "/plain"),
     ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-new", "1"), ("Content-Type", "text/x-new"))  # fmt: skip
case("copy-replace-get", 200, "GET", B + "/copy/three")
case("copy-onto-itself", 400, "PUT", B + "/copy/one", ("x-amz-copy-source", B + "/copy/one"))
case("copy-if-match", 200, "PUT", B + "/copy/four", ("x-amz-copy-source", B + "/plain"), ("x-amz-copy-source-if-match", "@etag@"))
case("copy-if-match-other", 412, "PUT", B + "/copy/five", ("x-amz-copy-source", B + "/plain"), ("x-amz-copy-source-if-match", '"0"'))
case("copy-if-none-match", 412, "PUT", B + "/copy/six", ("x-amz-copy-source", B + "/plain"), ("x-amz-copy-source-if-none-match", "@etag@"))
case("copy-missing", 404, "PUT", B + "/copy/seven", ("x-amz-copy-source", B + "/missing"))
case("copy-missing-bucket", 404, "PUT", B + "/copy/eight", ("x-amz-copy-source", B + "-missing/x"))
# SeaweedFS takes it for an empty object.
case("copy-bad-source", 200, "PUT", B + "/copy/nine", ("x-amz-copy-source", "nonsense"))
case("copy-over-read-object", 200, "PUT", B + "/copy/two", ("x-amz-copy-source", B + "/large.bin"))
case("copy-over-read-object-get", 206, "GET", B + "/copy/two", ("Range", "bytes=-10"))

# Multipart uploads. The parts are small: the last part may be.
case("parts-create", 200, "POST", B + "/parts/one?uploads", ("Content-Type", "text/x-parts"), ("x-amz-meta-p", "1"), keep={"upload": "<UploadId>"})
case("parts-create-equals", 200, "POST", B + "/parts/two?uploads=", keep={"other": "<UploadId>"})
case("parts-uploads", 200, "GET", B + "?uploads")
case("parts-uploads-prefix", 200, "GET", B + "?uploads&prefix=parts%2Ft&max-uploads=1")
U = "uploadId=@upload@"
case("parts-none-yet", 200, "GET", f"{B}/parts/one?{U}")
case("parts-put-1", 200, "PUT", f"{B}/parts/one?{U}&partNumber=1", body=300_000, keep={"part1": "etag"})
# Not part 1 again: of two uploads of a part within a second, SeaweedFS takes either.
case("parts-put-3-chunked", 200, "PUT", f"{B}/parts/one?partNumber=3&{U}", body=310_000, payload=sigv4.UNSIGNED_TRAILER)
case("parts-put-2-copy", 200, "PUT", f"{B}/parts/one?partNumber=2&{U}", ("x-amz-copy-source", B + "/large.bin"),
     ("x-amz-copy-source-range", "bytes=0-99999"), keep={"part2": "<ETag>"})  # fmt: skip
case("parts-put-0", 400, "PUT", f"{B}/parts/one?partNumber=0&{U}", body="x")
case("parts-put-10001", 400, "PUT", f"{B}/parts/one?partNumber=10001&{U}", body="x")
case("parts-put-unknown", 404, "PUT", f"{B}/parts/one?partNumber=1&uploadId=unknown", body="x")
case("parts-list", 200, "GET", f"{B}/parts/one?{U}")
case("parts-list-max", 200, "GET", f"{B}/parts/one?{U}&max-parts=1")
case("parts-list-marker", 200, "GET", f"{B}/parts/one?{U}&part-number-marker=1")
case("parts-not-there-yet", 404, "GET", B + "/parts/one")
DONE = "<CompleteMultipartUpload>%s</CompleteMultipartUpload>"
PART = "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>"
case("parts-complete-wrong-etag", 400, "POST", f"{B}/parts/one?{U}", body=DONE % (PART % (1, '"0"')))
case("parts-complete-malformed", 400, "POST", f"{B}/parts/one?{U}", body="<CompleteMultipartUpload><Part>")
case("parts-complete-empty", 400, "POST", f"{B}/parts/one?{U}", body="")
case("parts-complete", 200, "POST", f"{B}/parts/one?{U}", body=DONE % (PART % (1, "@part1@")))
case("parts-get", 200, "GET", B + "/parts/one")
case("parts-head", 200, "HEAD", B + "/parts/one")
case("parts-get-part-1", 206, "GET", B + "/parts/one?partNumber=1")
case("parts-complete-unknown", 404, "POST", f"{B}/parts/one?uploadId=unknown", body=DONE % (PART % (1, '"0"')))
case("parts-abort", 204, "DELETE", B + "/parts/two?uploadId=@other@")
case("parts-abort-unknown", 404, "DELETE", B + "/parts/two?uploadId=unknown")
case("parts-uploads-none-left", 200, "GET", B + "?uploads")

# DeleteObjects.
MANY = "<Delete>%s</Delete>"
NAMED = "<Object><Key>%s</Key></Object>"
KEYS = NAMED % "copy/one" + NAMED % "copy/two" + NAMED % "never"
for name, status, body, more in (
    ("malformed", 400, "<Delete><Object>", {}),
    # MalformedXML on S3.
    ("empty", 200, MANY % "", {}),
    ("several", 200, MANY % KEYS, {}),
    ("again-quiet", 200, MANY % ("<Quiet>true</Quiet>" + KEYS), {}),
    ("escaped", 200, MANY % (NAMED % "odd/&lt;a&amp;b&gt;"), {}),
    ("unicode", 200, MANY % (NAMED % "odd/ü 日本"), {}),
    ("chunked", 200, MANY % (NAMED % "copy/three"), {"payload": sigv4.UNSIGNED_TRAILER}),
):
    fields = () if more else (("Content-MD5", "md5"),)
    case(f"delete-many-{name}", status, "POST", B + "?delete", *fields, body=body, **more)
case("delete-many-get", 404, "GET", B + "/copy/one")
case("delete-many-get-escaped", 404, "GET", B + "/odd/%3Ca%26b%3E")

# Versions, in the same bucket from here on.
case("versioning-on", 200, "PUT", B + "?versioning",
     body="<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")  # fmt: skip
case("versioning-get", 200, "GET", B + "?versioning")
case("version-put-1", 200, "PUT", B + "/version/x", body="first", keep={"v1": "x-amz-version-id"})
case("version-put-2", 200, "PUT", B + "/version/x", body="second", keep={"v2": "x-amz-version-id"})
case("version-get", 200, "GET", B + "/version/x")
case("version-head", 200, "HEAD", B + "/version/x")
case("version-get-1", 200, "GET", B + "/version/x?versionId=@v1@")
case("version-get-1-range", 206, "GET", B + "/version/x?versionId=@v1@", ("Range", "bytes=1-2"))
case("version-get-unknown", 404, "GET", B + "/version/x?versionId=0123456789abcdef0123456789abcdef")
case("version-list", 200, "GET", B + "?versions&prefix=version%2F")
case("version-delete", 204, "DELETE", B + "/version/x", keep={"marker": "x-amz-version-id"})
case("version-get-deleted", 404, "GET", B + "/version/x")
case("version-delete-marker", 204, "DELETE", B + "/version/x?versionId=@marker@")
case("version-get-back", 200, "GET", B + "/version/x")
case("version-delete-2", 204, "DELETE", B + "/version/x?versionId=@v2@")
case("version-get-1-current", 200, "GET", B + "/version/x")

# The service, and the end.
case("list-buckets-of-nobody", 403, "GET", "/", auth="anonymous")
case("delete-bucket-full", 409, "DELETE", B)
case("delete-bucket-missing", 404, "DELETE", B + "-missing")
