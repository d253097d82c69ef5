"""Everything in which an answer through the proxy may differ from the origin's, each with its reason.

What is not in these tables has to be equal.
"""

from dataclasses import dataclass

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


LAX = "SeaweedFS lets it pass; the proxy verifies as S3 does"
SIGV2 = "SigV2 is refused with a message that names the cure"

# Case -> what the proxy answers. What has no code here has no error document: HEAD, or a success.
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
