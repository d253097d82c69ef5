"""Everything in which an answer through the proxy may differ from the origin's, each with its reason.

What is not in these tables has to be equal.
"""

from dataclasses import dataclass, field

# Field -> why it is not compared.
IGNORED_FIELDS = {
    "date": "the moment of the answer",
    "server": "names the software that answers",
    "connection": "belongs to one connection, not to the answer",
    "keep-alive": "belongs to one connection, not to the answer",
    "transfer-encoding": "framing of one connection; the decoded body is compared",
    "x-amz-request-id": "the proxy gives every answer an id of its own",
    "x-amz-id-2": "names a host inside the origin",
    "cache-status": "the proxy's own field (RFC 9211)",
    "server-timing": "the proxy's own field",
    "via": "the proxy's own field (RFC 9110, 7.6.3)",
    "vary": "SeaweedFS sends it for CORS on some paths only; the proxy does not answer CORS",
}

# Field -> values that the proxy leaves out, and why.
LEFT_OUT_VALUES = {
    ("content-encoding", "aws-chunked"): "describes the upload, not the object; SeaweedFS stores it for signed chunks",
}

# On redirects and errors: the proxy writes errors itself when it refuses or answers from its cache.
ON_ERRORS_IGNORED_FIELDS = {
    "content-length": "the length of another error message",
    "content-type": "application/xml with or without a charset",
    "accept-ranges": "SeaweedFS puts it on errors as well, S3 does not",
    "last-modified": "S3 sends it with a 304, SeaweedFS does not",
}

# Expression, replacement, reason; applied to XML bodies of both sides.
BODY_REWRITES = [
    (
        r"^.*<Error>.*<Code>([^<]*)</Code>.*</Error>\s*$",
        r"<Error>\1</Error>",
        "clients act on the code; the proxy words its own refusals differently",
    ),
    (r"<(LastModified|CreationDate|Initiated)>[^<]*<", r"<\1>...<", "the moment of a write"),
    (r"<Location>[^<]*<", "<Location>...<", "the origin names the object by its own address"),
    (r"<(RequestId|HostId)>[^<]*<", r"<\1>...<", "ids of one answer"),
    (
        r"<(VersionId|UploadId|NextVersionIdMarker|NextUploadIdMarker|VersionIdMarker|UploadIdMarker)>[^<]+<",
        r"<\1>...<",
        "random names, other on each bucket",
    ),
]


@dataclass(frozen=True)
class Different:
    """What the proxy answers instead, and why it means to."""

    status: int
    code: str | None
    reason: str
    # Fields that it has.
    fields: dict = field(default_factory=dict)


LAX = "SeaweedFS lets it pass; the proxy verifies as S3 does"
SIGV2 = "SigV2 is refused with a message that names the cure"

# Case -> what the proxy answers. What has no code here has no error document: HEAD, or a success.
# This holds whether it has a cache or not; what it forwards is the origin's word.
ANSWERED_DIFFERENTLY = {
    "path-signed-as-is": Different(200, None, "curl signs its path as typed; the proxy tries that form too"),
    "path-too-long": Different(400, "KeyTooLongError", "S3 has no keys of more than 1024 bytes"),
    "path-bad-utf-8": Different(400, "InvalidURI", "a key is UTF-8"),
    "sign-tampered-body": Different(400, "XAmzContentSHA256Mismatch", LAX),
    "sign-tampered-body-not-stored": Different(404, "NoSuchKey", LAX),
    "sign-tampered-body-70000": Different(400, "XAmzContentSHA256Mismatch", LAX),
    "sign-tampered-body-70000-not-stored": Different(404, "NoSuchKey", LAX),
    "sign-tampered-body-500000": Different(400, "XAmzContentSHA256Mismatch", LAX),
    "sign-tampered-body-500000-not-stored": Different(404, "NoSuchKey", LAX),
    "sign-basic": Different(400, "InvalidArgument", "S3 knows the scheme is none of its own, SeaweedFS denies access"),
    "sign-garbage": Different(400, "AuthorizationHeaderMalformed", "S3's code, SeaweedFS has one of its own"),
    "link-zero": Different(400, "AuthorizationQueryParametersError", "S3's code for an expiry that is none"),
    "path-bad-escape": Different(400, "InvalidURI", "S3's code; SeaweedFS answers in plain text"),
    "chunked-wrong-checksum": Different(400, "BadDigest", "S3's code, SeaweedFS answers InvalidDigest"),
    "chunked-tampered-chunk-not-stored": Different(404, "NoSuchKey", "the body never reaches the origin"),
    "sign-v2": Different(400, "InvalidRequest", SIGV2),
    "sign-v2-link": Different(400, "InvalidRequest", SIGV2),
    "chunked-tampered-chunk": Different(403, "SignatureDoesNotMatch", "SeaweedFS answers 500"),
    "copy-bad-source": Different(400, "InvalidArgument", LAX),
    "delete-many-empty": Different(400, "MalformedXML", LAX),
}

NO_RANGE = "S3 ignores a Range that is none, and so RFC 9110 allows; SeaweedFS refuses it or guesses"
HEAD_OF_PART = "S3 answers HEAD with the head of the ranged GET; SeaweedFS ignores the Range"
WEAK = "RFC 9110 compares If-None-Match weakly, as S3 does; SeaweedFS does not"
NO_DATE = "S3 ignores a date that is none, as RFC 9110 demands; SeaweedFS refuses it"
WHOLE_LARGE = {"content-length": "300000"}

# The same with the cache on: the proxy reads Range and preconditions itself, as S3 does.
ANSWERED_FROM_CACHE = {
    "range-backwards": Different(200, None, NO_RANGE, WHOLE_LARGE),
    "range-not-a-number": Different(200, None, NO_RANGE, WHOLE_LARGE),
    "range-only-dash": Different(200, None, NO_RANGE, WHOLE_LARGE),
    "range-overflow": Different(
        206, None, "any number of digits is a position (RFC 9110, 14.1.1); SeaweedFS reads 63 bits",
        WHOLE_LARGE | {"content-range": "bytes 0-299999/300000"},
    ),
    "range-head": Different(
        206, None, HEAD_OF_PART, {"content-length": "100", "content-range": "bytes 100-199/300000"}
    ),
    "range-head-suffix": Different(
        206, None, HEAD_OF_PART, {"content-length": "262144", "content-range": "bytes 37856-299999/300000"}
    ),
    "range-head-beyond": Different(416, None, HEAD_OF_PART, {"content-range": "bytes */300000"}),
    "range-empty-object-suffix": Different(
        200, None, "of an empty object S3 gives the end, which is all of it; SeaweedFS refuses", {"content-length": "0"}
    ),
    "if-get-none-match-weak": Different(304, None, WEAK, {"etag": "@etag@"}),
    "if-head-none-match-weak": Different(304, None, WEAK, {"etag": "@etag@"}),
    "if-get-bad-date": Different(200, None, NO_DATE, {"content-length": "1000", "etag": "@etag@"}),
    "if-head-bad-date": Different(200, None, NO_DATE, {"content-length": "1000", "etag": "@etag@"}),
    "if-head-match-and-range": Different(206, None, HEAD_OF_PART, {"content-range": "bytes 1-2/1000"}),
    "if-head-match-and-bad-range": Different(416, None, HEAD_OF_PART, {"content-range": "bytes */1000"}),
}  # fmt: skip

CLEANED = "a store that cleans paths takes the key for another one, whose writes would be missed"

# Reads of objects that are there and are never answered from the cache.
NEVER_FROM_CACHE = {
    "path-double-slash-get": CLEANED,
    "path-double-slash-head": CLEANED,
    "path-leading-slash-get": CLEANED,
    "path-leading-slash-head": CLEANED,
    "response-fields": "the request chooses the fields of its answer",
    "response-fields-head": "the request chooses the fields of its answer",
    "part-number": "a part of an upload, not of the object",
    "parts-get-part-1": "a part of an upload, not of the object",
    "unknown-query": "nobody knows what it does",
    "version-get-1": "a version that is named",
    "version-get-1-range": "a version that is named",
}
