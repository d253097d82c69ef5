"""boto3: every operation a Python program calls, presigned URLs, and what a refused client sees."""

import hashlib
import io
import urllib.error
import urllib.request

import boto3.s3.transfer
import botocore
import botocore.config
import botocore.exceptions
import pytest

import servers
from conftest import LAKE

ODD_NAMES = [
    "plain",
    "with space",
    "plus+plus",
    "equals=equals",
    "percent%20percent%",
    "unicode-ü-é-日本-🦆",
    "marks-!'()*,;:@&$~",
    "question?mark#hash",
    # No backslash: SeaweedFS stores it as a slash.
    'quotes"and`backticks',
    "angle<&>brackets",
    "brackets[]{}|^`",
    "dots..and...more",
    "deep/er/and/deeper",
    "long-" + "x" * 200,
]


def failure(call):
    """The S3 error of a call, None when there is none."""
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return None


def essence(answer, *names):
    """The named fields of an answer, and its status."""
    return [answer["ResponseMetadata"]["HTTPStatusCode"], *(answer.get(name) for name in names)]


def test_puts_and_gets_with_metadata(compare):
    def work(at):
        s3 = at.side.boto3()
        body = b"the body\n" * 1000
        put = s3.put_object(
            Bucket=at.bucket,
            Key=at.key("object"),
            Body=body,
            ContentType="application/x-test",
            ContentEncoding="identity",
            ContentLanguage="en",
            ContentDisposition='attachment; filename="a b.txt"',
            CacheControl="max-age=60",
            Metadata={"plain": "value", "Mixed-Case": "two  spaces", "empty": ""},
        )
        head = s3.head_object(Bucket=at.bucket, Key=at.key("object"))
        get = s3.get_object(Bucket=at.bucket, Key=at.key("object"))
        fields = [
            "ETag", "ContentLength", "ContentType", "ContentEncoding", "ContentLanguage", "ContentDisposition",
            "CacheControl", "Metadata", "AcceptRanges", "StorageClass", "VersionId",
        ]  # fmt: skip
        assert get["Body"].read() == body
        return essence(put, "ETag"), essence(head, *fields), essence(get, *fields)

    put, head, get = compare(work)
    assert head == get
    assert head[8]["plain"] == "value"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_keeps_odd_keys(compare, name):
    def work(at):
        s3 = at.side.boto3()
        key = at.key(name)
        s3.put_object(Bucket=at.bucket, Key=key, Body=name.encode())
        body = s3.get_object(Bucket=at.bucket, Key=key)["Body"].read()
        tail = s3.get_object(Bucket=at.bucket, Key=key, Range="bytes=-3")["Body"].read()
        size = s3.head_object(Bucket=at.bucket, Key=key)["ContentLength"]
        listed = [o["Key"] for o in s3.list_objects_v2(Bucket=at.bucket, Prefix=at.prefix + "/")["Contents"]]
        s3.copy_object(Bucket=at.bucket, Key=key + ".copy", CopySource={"Bucket": at.bucket, "Key": key})
        copied = s3.get_object(Bucket=at.bucket, Key=key + ".copy")["Body"].read()
        s3.delete_object(Bucket=at.bucket, Key=key)
        return body, tail, size, listed, copied, failure(lambda: s3.head_object(Bucket=at.bucket, Key=key))

    body, _, _, listed, copied, gone = compare(work)
    assert body == copied == name.encode()
    assert [key.split("/", 1)[1] for key in listed] == [name]
    assert gone == ("404", 404)


@pytest.mark.parametrize(
    "wanted",
    ["bytes=0-0", "bytes=0-99", "bytes=100-", "bytes=-1", "bytes=-262144", "bytes=-999999999", "bytes=65535-65536",
     "bytes=1000000-999999999", "bytes=999999999-", "bytes=-0", "bytes=0-1,5-6", "items=0-1"],
)  # fmt: skip
def test_gets_a_range(compare, lake, wanted):
    def work(at):
        s3 = at.side.boto3()
        try:
            answer = s3.get_object(Bucket=LAKE, Key="trades.parquet", Range=wanted)
        except botocore.exceptions.ClientError as error:
            return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        body = answer["Body"].read()
        return essence(answer, "ContentRange", "ContentLength", "ETag", "ContentType", "Metadata"), sha256(body)

    compare(work, turns=2)


@pytest.mark.parametrize("wanted", ["bytes=5-2", "bytes=a-b"])
def test_ignores_a_range_that_is_none(proxy, lake, wanted):
    """As S3 does; SeaweedFS refuses it."""
    for _ in range(2):
        answer = proxy.boto3().get_object(Bucket=LAKE, Key="trades.parquet", Range=wanted)
        assert essence(answer, "ContentRange") == [200, None]
        assert answer["Body"].read() == lake["trades.parquet"]


def test_reads_under_conditions(compare, lake):
    def work(at):
        s3 = at.side.boto3()
        head = s3.head_object(Bucket=LAKE, Key="small.txt")
        etag, modified = head["ETag"], head["LastModified"]
        conditions = [
            {"IfMatch": etag},
            {"IfMatch": '"other"'},
            {"IfMatch": "*"},
            {"IfNoneMatch": etag},
            {"IfNoneMatch": '"other"'},
            {"IfNoneMatch": "*"},
            {"IfModifiedSince": modified},
            {"IfModifiedSince": modified.replace(year=2000)},
            {"IfUnmodifiedSince": modified},
            {"IfUnmodifiedSince": modified.replace(year=2000)},
            {"IfMatch": etag, "Range": "bytes=0-3"},
            {"IfMatch": '"other"', "Range": "bytes=0-3"},
        ]
        answers = []
        for condition in conditions:
            for call in (s3.get_object, s3.head_object):
                answers.append(failure(lambda c=condition, f=call: f(Bucket=LAKE, Key="small.txt", **c)))
        return answers

    answers = compare(work, turns=2)
    assert answers[0] is None
    assert answers[2][1] == 412
    assert answers[6][1] == 304


def test_lists(compare):
    def work(at):
        s3 = at.side.boto3()
        # No plus: SeaweedFS gives it back as a space in the NextMarker of version 1.
        names = ["a/1", "b/1", "b/2", "b/c/3", "d e=f", "é", "z"]
        for name in names:
            s3.put_object(Bucket=at.bucket, Key=at.key(name), Body=name.encode())
        prefix = at.prefix + "/"

        def page(answer):
            return (
                [(o["Key"], o["Size"], o["ETag"], o.get("StorageClass")) for o in answer.get("Contents", [])],
                [p["Prefix"] for p in answer.get("CommonPrefixes", [])],
                essence(answer, "IsTruncated", "KeyCount", "MaxKeys", "Prefix", "Delimiter", "Name", "Marker"),
            )

        pages = []
        for call in (s3.list_objects, s3.list_objects_v2):
            for more in (
                {"Prefix": prefix},
                {"Prefix": prefix, "Delimiter": "/"},
                {"Prefix": prefix + "b", "Delimiter": "/"},
                {"Prefix": prefix + "b/", "Delimiter": "/"},
                {"Prefix": prefix, "EncodingType": "url"},
                {"Prefix": prefix + "none"},
            ):
                pages.append(page(call(Bucket=at.bucket, **more)))
        pages.append(page(s3.list_objects_v2(Bucket=at.bucket, Prefix=prefix, StartAfter=prefix + "b/2")))
        pages.append(page(s3.list_objects(Bucket=at.bucket, Prefix=prefix, Marker=prefix + "b/2")))
        for name in ("list_objects", "list_objects_v2", "list_object_versions"):
            for size in (1, 3):
                found = s3.get_paginator(name).paginate(
                    Bucket=at.bucket, Prefix=prefix, PaginationConfig={"PageSize": size, "MaxItems": 100}
                )
                pages.append([page(answer)[:2] for answer in found])
        return pages

    pages = compare(work)
    assert [len(page[0]) for page in pages[:2]] == [7, 3]


def test_transfers_in_parts(compare):
    def work(at):
        s3 = at.side.boto3()
        transfer = boto3.s3.transfer.TransferConfig(
            multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4
        )
        body = pattern(17 << 20)
        key = at.key("in parts")
        s3.upload_fileobj(
            io.BytesIO(body), at.bucket, key, Config=transfer,
            ExtraArgs={"Metadata": {"parts": "4"}, "ContentType": "application/x-parts"},
        )  # fmt: skip
        head = s3.head_object(Bucket=at.bucket, Key=key)
        into = io.BytesIO()
        s3.download_fileobj(at.bucket, key, into, Config=transfer)
        assert into.getvalue() == body
        s3.copy({"Bucket": at.bucket, "Key": key}, at.bucket, key + ".copy", Config=transfer)
        copy = s3.head_object(Bucket=at.bucket, Key=key + ".copy")
        fields = ("ETag", "ContentLength", "ContentType", "Metadata")
        return essence(head, *fields), essence(copy, *fields)

    head, copy = compare(work)
    assert head[1].endswith('-4"')
    assert head[2] == copy[2] == 17 << 20


def test_uploads_parts_by_hand(compare):
    def work(at):
        s3 = at.side.boto3()
        at_key = {"Bucket": at.bucket, "Key": at.key("by hand")}
        s3.put_object(Bucket=at.bucket, Key=at.key("source"), Body=pattern(6 << 20))
        upload = {**at_key, "UploadId": s3.create_multipart_upload(**at_key)["UploadId"]}
        first = s3.upload_part(**upload, PartNumber=1, Body=pattern(5 << 20))
        second = s3.upload_part_copy(
            **upload, PartNumber=2, CopySource={"Bucket": at.bucket, "Key": at.key("source")},
            CopySourceRange=f"bytes=0-{(5 << 20) - 1}",
        )["CopyPartResult"]  # fmt: skip
        third = s3.upload_part(**upload, PartNumber=3, Body=b"the last part")
        open_uploads = s3.list_multipart_uploads(Bucket=at.bucket, Prefix=at.key("by"))["Uploads"]
        parts = [(p["PartNumber"], p["Size"], p["ETag"]) for p in s3.list_parts(**upload)["Parts"]]
        chosen = [{"PartNumber": n, "ETag": p["ETag"]} for n, p in enumerate([first, second, third], 1)]
        done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": chosen})
        body = s3.get_object(**at_key)["Body"].read()

        aborted = {**at_key, "UploadId": s3.create_multipart_upload(**at_key)["UploadId"]}
        s3.upload_part(**aborted, PartNumber=1, Body=b"never seen")
        s3.abort_multipart_upload(**aborted)
        return (
            [u["Key"] for u in open_uploads],
            parts,
            essence(done, "ETag", "Bucket", "Key"),
            sha256(body),
            failure(lambda: s3.list_parts(**aborted)),
        )

    uploads, parts, done, body, gone = compare(work)
    assert len(uploads) == 1
    assert [size for _, size, _ in parts] == [5 << 20, 5 << 20, 13]
    assert body == sha256(pattern(5 << 20) * 2 + b"the last part")
    assert gone == ("NoSuchUpload", 404)


def test_copies(compare):
    def work(at):
        s3 = at.side.boto3()
        source = {"Bucket": at.bucket, "Key": at.key("from ü+")}
        put = s3.put_object(**source, Body=b"copied", Metadata={"old": "1"}, ContentType="text/x-old")
        s3.copy_object(Bucket=at.bucket, Key=at.key("kept"), CopySource=source)
        s3.copy_object(
            Bucket=at.bucket, Key=at.key("replaced"), CopySource=source,
            MetadataDirective="REPLACE", Metadata={"new": "2"}, ContentType="text/x-new",
        )  # fmt: skip
        s3.copy_object(Bucket=at.bucket, Key=at.key("if"), CopySource=source, CopySourceIfMatch=put["ETag"])
        refused = failure(
            lambda: s3.copy_object(
                Bucket=at.bucket, Key=at.key("not"), CopySource=source, CopySourceIfNoneMatch=put["ETag"]
            )
        )
        missing = failure(
            lambda: s3.copy_object(
                Bucket=at.bucket, Key=at.key("no"), CopySource={"Bucket": at.bucket, "Key": at.key("missing")}
            )
        )
        heads = [
            essence(s3.head_object(Bucket=at.bucket, Key=at.key(name)), "ETag", "ContentType", "Metadata")
            for name in ("kept", "replaced", "if")
        ]
        return heads, refused, missing

    heads, refused, missing = compare(work)
    assert heads[0][3] == {"old": "1"} and heads[1][3] == {"new": "2"}
    assert refused[1] == 412
    assert missing == ("NoSuchKey", 404)


def test_deletes_many(compare):
    def work(at):
        s3 = at.side.boto3()
        names = ["1", "2 +é", "3&<>"]
        for name in names:
            s3.put_object(Bucket=at.bucket, Key=at.key(name), Body=b"x")
            s3.get_object(Bucket=at.bucket, Key=at.key(name))["Body"].read()
        wanted = [{"Key": at.key(name)} for name in [*names, "never there"]]
        loud = s3.delete_objects(Bucket=at.bucket, Delete={"Objects": wanted})
        quiet = s3.delete_objects(Bucket=at.bucket, Delete={"Objects": wanted, "Quiet": True})
        left = [failure(lambda k=at.key(name): s3.get_object(Bucket=at.bucket, Key=k)) for name in names]
        return sorted(d["Key"] for d in loud["Deleted"]), quiet.get("Deleted"), quiet.get("Errors"), left

    deleted, _, errors, left = compare(work)
    assert len(deleted) == 4
    assert not errors
    assert left == [("NoSuchKey", 404)] * 3


def test_tags(compare):
    def work(at):
        s3 = at.side.boto3()
        one = {"Bucket": at.bucket, "Key": at.key("tagged")}
        s3.put_object(**one, Body=b"x", Tagging="first=1&second=a%20b")
        seen = [s3.get_object_tagging(**one)["TagSet"]]
        s3.put_object_tagging(**one, Tagging={"TagSet": [{"Key": "third", "Value": "é+"}]})
        seen.append(s3.get_object_tagging(**one)["TagSet"])
        s3.delete_object_tagging(**one)
        seen.append(s3.get_object_tagging(**one)["TagSet"])
        return [sorted((tag["Key"], tag["Value"]) for tag in tags) for tags in seen]

    assert compare(work) == [[("first", "1"), ("second", "a b")], [("third", "é+")], []]


def test_writes_under_conditions(compare):
    def work(at):
        s3 = at.side.boto3()
        one = {"Bucket": at.bucket, "Key": at.key("conditional")}
        first = s3.put_object(**one, Body=b"first", IfNoneMatch="*")
        exists = failure(lambda: s3.put_object(**one, Body=b"second", IfNoneMatch="*"))
        s3.put_object(**one, Body=b"third", IfMatch=first["ETag"])
        changed = failure(lambda: s3.put_object(**one, Body=b"fourth", IfMatch=first["ETag"]))
        return exists, changed, s3.get_object(**one)["Body"].read()

    assert compare(work) == (("PreconditionFailed", 412), ("PreconditionFailed", 412), b"third")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_uploads_with_a_checksum(compare, algorithm):
    def work(at):
        s3 = at.side.boto3()
        one = {"Bucket": at.bucket, "Key": at.key("checked")}
        body = pattern(100_000)
        put = s3.put_object(**one, Body=body, ChecksumAlgorithm=algorithm)
        head = s3.head_object(**one, ChecksumMode="ENABLED")
        get = s3.get_object(**one, ChecksumMode="ENABLED")
        again = s3.get_object(**one, ChecksumMode="ENABLED")
        part = s3.get_object(**one, ChecksumMode="ENABLED", Range="bytes=0-99")
        assert get["Body"].read() == body == again["Body"].read()
        assert part["Body"].read() == body[:100]
        field = f"Checksum{algorithm}"
        return [essence(answer, field, "ETag") for answer in (put, head, get, again)], essence(part, "ETag")

    answers, _ = compare(work)
    assert answers[1][1] is not None


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC64NVME", "SHA256"])
def test_streams_with_an_unsigned_trailer(compare, algorithm):
    # botocore uploads so over TLS; over plain HTTP it has to be told.
    def work(at):
        s3 = at.side.boto3()
        sent = []
        s3.meta.events.register("before-call.s3.PutObject", checksum_in_trailer)
        s3.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.append(request))
        one = {"Bucket": at.bucket, "Key": at.key("streamed")}
        put = s3.put_object(**one, Body=pattern(300_000), ChecksumAlgorithm=algorithm, ContentType="text/x-streamed")
        get = s3.get_object(**one, ChecksumMode="ENABLED")
        assert get["Body"].read() == pattern(300_000)
        assert sent[0].headers["X-Amz-Content-SHA256"] == b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        return essence(put, "ETag"), essence(get, "ETag", "ContentType", "ContentEncoding", f"Checksum{algorithm}")

    put, get = compare(work)
    assert put[1] == get[1]


def checksum_in_trailer(params, **_):
    params["context"]["checksum"]["request_algorithm"]["in"] = "trailer"


def test_presigns(compare):
    def work(at):
        s3 = at.side.boto3(signature_version="s3v4")
        key = at.key("presigned ü+ =")
        put = s3.generate_presigned_url(
            "put_object", {"Bucket": at.bucket, "Key": key, "ContentType": "text/x-presigned"}, 600
        )
        seen = [fetch(put, "PUT", b"through a link", {"Content-Type": "text/x-presigned"})[0]]
        get = s3.generate_presigned_url("get_object", {"Bucket": at.bucket, "Key": key}, 600)
        seen.append(fetch(get))
        seen.append(fetch(get, headers={"Range": "bytes=0-6"}))
        overridden = s3.generate_presigned_url(
            "get_object",
            {"Bucket": at.bucket, "Key": key, "ResponseContentType": "text/x-other",
             "ResponseContentDisposition": "attachment; filename=x"},
            600,
        )  # fmt: skip
        seen.append(fetch(overridden))
        head = s3.generate_presigned_url("head_object", {"Bucket": at.bucket, "Key": key}, 600)
        seen.append(fetch(head, "HEAD"))
        tampered = get.replace("presigned%20", "presigned%21")
        seen.append(fetch(tampered)[0])
        delete = s3.generate_presigned_url("delete_object", {"Bucket": at.bucket, "Key": key}, 600)
        seen.append(fetch(delete, "DELETE")[0])
        seen.append(fetch(get)[0])
        return seen

    seen = compare(work)
    assert seen[1][1] == b"through a link"
    assert seen[2][:2] == (206, b"through")
    assert seen[3][2] == "text/x-other"
    assert [seen[0], *seen[5:]] == [200, 403, 204, 404]


def fetch(url, method="GET", body=None, headers=None):
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read(), response.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, None, None


def test_creates_and_deletes_buckets(compare):
    def work(at):
        s3 = at.side.boto3()
        bucket = at.bucket + "-made-here"
        created = essence(s3.create_bucket(Bucket=bucket))
        again = failure(lambda: s3.create_bucket(Bucket=bucket))
        there = essence(s3.head_bucket(Bucket=bucket))
        listed = bucket in [b["Name"] for b in s3.list_buckets()["Buckets"]]
        place = s3.get_bucket_location(Bucket=bucket)["LocationConstraint"]
        versioning = s3.get_bucket_versioning(Bucket=bucket).get("Status")
        s3.put_object(Bucket=bucket, Key="x", Body=b"x")
        full = failure(lambda: s3.delete_bucket(Bucket=bucket))
        s3.delete_object(Bucket=bucket, Key="x")
        gone = essence(s3.delete_bucket(Bucket=bucket))
        return created, again, there, listed, place, versioning, full, gone, failure(lambda: s3.head_bucket(Bucket=bucket))

    created, _, there, listed, _, _, full, gone, after = compare(work)
    assert (created, there, listed, gone) == ([200], [200], True, [204])
    assert full == ("BucketNotEmpty", 409)
    assert after == ("404", 404)


def test_keeps_versions(compare):
    def work(at):
        s3 = at.side.boto3()
        bucket = at.bucket + "-versions"
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        status = s3.get_bucket_versioning(Bucket=bucket)["Status"]
        one = {"Bucket": bucket, "Key": "versioned +é"}
        versions = [s3.put_object(**one, Body=body)["VersionId"] for body in (b"first", b"second")]
        current = s3.get_object(**one)
        bodies = [s3.get_object(**one, VersionId=version)["Body"].read() for version in versions]
        ranged = s3.get_object(**one, VersionId=versions[0], Range="bytes=1-2")["Body"].read()
        marker = s3.delete_object(**one)
        hidden = failure(lambda: s3.get_object(**one))
        listed = s3.list_object_versions(Bucket=bucket)
        s3.delete_object(**one, VersionId=marker["VersionId"])
        back = s3.get_object(**one)["Body"].read()
        return (
            status,
            current["VersionId"] == versions[1],
            current["Body"].read(),
            bodies,
            ranged,
            marker.get("DeleteMarker"),
            hidden,
            len(listed["Versions"]),
            len(listed["DeleteMarkers"]),
            back,
        )

    assert compare(work) == (
        "Enabled", True, b"second", [b"first", b"second"], b"ir", True, ("NoSuchKey", 404), 2, 1, b"second",
    )  # fmt: skip


def test_tells_missing_keys_from_missing_buckets(compare):
    def work(at):
        s3 = at.side.boto3()
        return [
            failure(lambda: s3.get_object(Bucket=at.bucket, Key="missing")),
            failure(lambda: s3.head_object(Bucket=at.bucket, Key="missing")),
            failure(lambda: s3.get_object(Bucket="no-such-bucket", Key="missing")),
            failure(lambda: s3.list_objects_v2(Bucket="no-such-bucket")),
            failure(lambda: s3.put_object(Bucket="no-such-bucket", Key="x", Body=b"x")),
            failure(lambda: s3.delete_bucket(Bucket="no-such-bucket")),
        ]

    codes = compare(work)
    assert codes[0] == ("NoSuchKey", 404)
    assert codes[2] == codes[3] == codes[4] == ("NoSuchBucket", 404)


def test_refuses_a_wrong_secret(compare, lake):
    def work(at):
        wrong = at.side.boto3(servers.Credentials(at.side.access_key, "not the secret"))
        right = at.side.boto3()
        right.get_object(Bucket=LAKE, Key="small.txt")["Body"].read()
        return (
            failure(lambda: wrong.get_object(Bucket=LAKE, Key="small.txt")),
            failure(lambda: wrong.head_object(Bucket=LAKE, Key="small.txt")),
            failure(lambda: wrong.put_object(Bucket=at.bucket, Key=at.key("x"), Body=b"x")),
            failure(lambda: wrong.list_objects_v2(Bucket=LAKE)),
        )

    refused = ("SignatureDoesNotMatch", 403)
    assert compare(work, turns=2) == (refused, ("403", 403), refused, refused)


def test_refuses_an_unknown_key(compare, lake):
    def work(at):
        stranger = at.side.boto3(servers.Credentials("AKIASTRANGER00000000", "whatever"))
        return failure(lambda: stranger.get_object(Bucket=LAKE, Key="small.txt"))

    assert compare(work, turns=2) == ("InvalidAccessKeyId", 403)


def test_refuses_the_origins_key_at_the_proxy(proxy, lake):
    code = failure(lambda: proxy.boto3(servers.ORIGIN).get_object(Bucket=LAKE, Key="small.txt"))
    assert code == ("InvalidAccessKeyId", 403)


def test_refuses_what_a_client_is_not_allowed(proxy, lake):
    # READER may read and list one bucket; the cache is warm for another client.
    proxy.boto3().put_object(Bucket=proxy.bucket, Key="not-for-the-reader", Body=b"x")
    proxy.boto3().get_object(Bucket=proxy.bucket, Key="not-for-the-reader")["Body"].read()
    reader = proxy.boto3(servers.READER)
    other = {"Bucket": proxy.bucket, "Key": "not-for-the-reader"}
    assert reader.get_object(Bucket=LAKE, Key="small.txt")["Body"].read() == lake["small.txt"]
    assert len(reader.list_objects_v2(Bucket=LAKE)["Contents"]) == len(lake)
    denied = ("AccessDenied", 403)
    assert failure(lambda: reader.get_object(**other)) == denied
    assert failure(lambda: reader.head_object(**other)) == ("403", 403)
    assert failure(lambda: reader.list_objects_v2(Bucket=proxy.bucket)) == denied
    assert failure(lambda: reader.put_object(Bucket=LAKE, Key="new", Body=b"x")) == denied
    assert failure(lambda: reader.delete_object(Bucket=LAKE, Key="small.txt")) == denied
    delete = {"Objects": [{"Key": "small.txt"}]}
    assert failure(lambda: reader.delete_objects(Bucket=LAKE, Delete=delete)) in (denied, None)
    assert failure(lambda: reader.copy_object(Bucket=LAKE, Key="new", CopySource=other)) == denied
    assert failure(lambda: reader.create_multipart_upload(Bucket=LAKE, Key="new")) == denied
    assert failure(lambda: reader.create_bucket(Bucket="reader-made")) == denied
    # Whatever was answered: nothing happened.
    assert reader.get_object(Bucket=LAKE, Key="small.txt")["Body"].read() == lake["small.txt"]
    assert [b["Name"] for b in reader.list_buckets()["Buckets"]] == [LAKE]


def test_refuses_no_signature(proxy, lake):
    anonymous = proxy.boto3(signature_version=botocore.UNSIGNED)
    assert failure(lambda: anonymous.get_object(Bucket=LAKE, Key="small.txt")) == ("AccessDenied", 403)


def test_explains_that_sigv2_links_are_refused(proxy, lake):
    link = proxy.boto3(signature_version="s3").generate_presigned_url(
        "get_object", {"Bucket": LAKE, "Key": "small.txt"}, 600
    )
    assert "AWSAccessKeyId=" in link
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(link, timeout=30)
    assert error.value.code == 400
    answer = error.value.read()
    assert b"<Code>InvalidRequest</Code>" in answer and b"s3v4" in answer


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def pattern(size):
    """Bytes without a period that a part or block size shares."""
    block = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(331))
    return (block * (size // len(block) + 1))[:size]
