"""Runs the whole corpus in order directly and through the proxy, then compares answer by answer.

Each way uses a bucket of its own with an equally long name, so all see the same states. Through the
proxy every GET and HEAD is sent twice, the second time to a warm cache, and then the bucket is
emptied and the whole corpus goes through the proxy again, which by then knows all of its keys. A
proxy without a cache gets the reads.
"""

import base64
import datetime
import hashlib
import html
import re
import time
from dataclasses import dataclass

import pytest

import servers
from conftest import DIRECT_ONLY, proxied_side
from corpus import http1, sigv4
from corpus.cases import CASES, PATTERN
from corpus.differences import (
    ANSWERED_DIFFERENTLY,
    ANSWERED_FROM_CACHE,
    BODY_REWRITES,
    IGNORED_FIELDS,
    LEFT_OUT_VALUES,
    NEVER_FROM_CACHE,
    ON_ERRORS_IGNORED_FIELDS,
)

STRANGER = servers.Credentials("AKIASTRANGER00000000", "whatever")


@dataclass
class Run:
    """The corpus on one side: its bucket, and what earlier answers left for later requests."""

    side: object
    names: dict

    def fill(self, text, encode=lambda value: value):
        return re.sub(r"@([a-z0-9_]+)@", lambda match: encode(self.names[match[1]]), text)

    def send(self, case):
        key = servers.Credentials(self.side.access_key, self.side.secret_key)
        if case.auth in ("wrong-secret", "presigned-wrong"):
            key = servers.Credentials(key.access_key, "not the secret")
        elif case.auth == "unknown-key":
            key = STRANGER
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=case.clock)
        signer = sigv4.Signer(key, now)
        path, query = self.fill(case.path), self.fill(case.query, encoded)
        fields = [("Host", self.side.host), *((name, self.fill(value)) for name, value in case.fields)]
        body = PATTERN[: case.body] if isinstance(case.body, int) else self.fill(case.body).encode()
        fields = [(name, md5(body) if value == "md5" else value) for name, value in fields]
        if case.auth == "anonymous":
            pass
        elif case.auth.startswith("presigned"):
            query = signer.presigned(case.method, path, query, fields, case.expires)
        else:
            payload = {None: sigv4.hexdigest(body), "wrong": sigv4.hexdigest(b"other"), "absent": None}.get(
                case.payload, case.payload
            )
            if case.payload in (sigv4.UNSIGNED_TRAILER, sigv4.SIGNED_CHUNKS, sigv4.SIGNED_CHUNKS_TRAILER):
                fields += [("x-amz-decoded-content-length", str(len(body)))]
                if not any(name.lower() == "content-encoding" for name, _ in fields):
                    fields += [("Content-Encoding", "aws-chunked")]
                if case.payload != sigv4.SIGNED_CHUNKS:
                    fields += [("x-amz-trailer", case.trailer)]
            fields, signature = signer.header_signed(
                case.method, path, query, fields, payload, path_as_is=case.path_as_is
            )
            if case.payload == sigv4.UNSIGNED_TRAILER:
                body = sigv4.unsigned_chunks(body, case.sizes, case.trailer, case.trailer_value)
            elif case.payload == sigv4.SIGNED_CHUNKS:
                body = signer.chunks(body, case.sizes, signature, None)
            elif case.payload == sigv4.SIGNED_CHUNKS_TRAILER:
                body = signer.chunks(body, case.sizes, signature, case.trailer)
        if case.tamper:
            path, query, fields, body = case.tamper(path, query, fields, body)
        target = f"{path}?{query}" if query or case.question_mark else path
        return http1.exchange(self.side.endpoint, case.method, target, fields, body, case.chunked)

    def keep(self, case, answer):
        """Remembers what the case says later cases need."""
        for name, source in case.keep.items():
            if source.startswith("<"):
                found = re.search(re.escape(source) + "([^<]*)<", answer.body.decode())
                self.names[name] = html.unescape(found[1]) if found else f"no-{name}"
            else:
                self.names[name] = answer.field(source) or f"no-{name}"


# The cases that read objects, and what they need.
READS = CASES[: 1 + next(i for i, case in enumerate(CASES) if case.name == "accept-encoding")]


class Answers:
    """By case name, then by the way the request went: what was seen, or the exception instead."""

    def __init__(self):
        self.found = {case.name: {} for case in CASES}
        # The same for Cache-Status.
        self.cache_status = {case.name: {} for case in CASES}

    def run(self, way, side, bucket, cases=CASES, again=None):
        """Sends the cases; with `again`, reads are sent once more, and the answer goes by that name."""
        run = Run(side, {"bucket": bucket, "host": side.host})
        for case in cases:
            try:
                answer = run.send(case)
                run.keep(case, answer)
                self.note(way, case, answer, run)
                if again and is_read(case):
                    self.note(again, case, run.send(case), run)
            except (OSError, ValueError) as error:
                self.found[case.name][way] = error
            time.sleep(case.pause)

    def note(self, way, case, answer, run):
        self.found[case.name][way] = seen(answer, run, case)
        self.cache_status[case.name][way] = answer.field("cache-status")


@pytest.fixture(scope="session")
def answers(direct, proxied, uncached):
    answers = Answers()
    answers.run("direct", direct, "corpus-a")
    if proxied is not None:
        answers.run("cold", proxied, "corpus-b", again="warm")
        remove_bucket(proxied.boto3(), "corpus-b")
        answers.run("later", proxied, "corpus-b", again="later-warm")
        answers.run("uncached", uncached, "corpus-c", READS)
    return answers


@pytest.fixture(scope="session")
def uncached(direct, tmp_path_factory):
    """The side through a proxy whose cache is off."""
    if DIRECT_ONLY:
        yield None
        return
    directory = tmp_path_factory.mktemp("uncached")
    with servers.s3proxy(directory, direct.endpoint, servers.CACHE_OFF) as served:
        yield proxied_side(served, "uncached")


def remove_bucket(s3, bucket):
    """Deletes every version of every object, and the bucket."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for entry in page.get("Versions", []) + page.get("DeleteMarkers", []):
            s3.delete_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])
    # A name with a control character, which cannot stand in the XML of the list above.
    for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=entry["Key"], VersionId="null")
    s3.delete_bucket(Bucket=bucket)


def is_read(case):
    return case.method in ("GET", "HEAD")


def seen(answer, run, case):
    """What of an answer has to be equal."""
    ignored = IGNORED_FIELDS.keys() | (ON_ERRORS_IGNORED_FIELDS.keys() if answer.status >= 300 else set())
    fields = sorted((n, neutral(v, run)) for n, v in answer.fields if n not in ignored and not n.startswith("seaweed-"))
    body = answer.body
    if b"<?xml" in body[:100] or b"<Error>" in body[:200]:
        body = neutral(body.decode("utf-8", "replace"), run)
        for expression, replacement, _ in BODY_REWRITES:
            body = re.sub(expression, replacement, body, flags=re.DOTALL)
        # Times come with as many decimals as they need: the document is compared, not its length.
        fields = [(n, v) for n, v in fields if n != "content-length"]
    fields = [(n, v) for n, v in fields if (n, v) not in LEFT_OUT_VALUES]
    # These say nothing but that they are there.
    fields = [(n, "...") if n in ("last-modified",) else (n, v) for n, v in fields]
    return {"status": answer.status, "fields": fields, "body": body}


def encoded(value):
    return sigv4.encode(value.encode(), slash=False)


def md5(body):
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def neutral(text, run):
    for name, value in run.names.items():
        if value:
            text = text.replace(value, f"@{name}@")
    return text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_answers_are_equal(answers, case):
    found = answers.found[case.name]
    for answer in found.values():
        if isinstance(answer, Exception):
            raise answer
    direct = found["direct"]
    assert direct["status"] == case.status, direct
    for way in found.keys() - {"direct"}:
        answered = ANSWERED_DIFFERENTLY | (ANSWERED_FROM_CACHE if way != "uncached" else {})
        if difference := answered.get(case.name):
            expect(found[way], difference)
        else:
            assert found[way] == direct, way
    # Also where they differ from the origin's.
    for first, second in (("cold", "warm"), ("later", "later-warm")):
        if second in found:
            assert found[second] == found[first], second


def expect(answer, difference):
    assert answer["status"] == difference.status
    assert difference.code is None or f"<Error>{difference.code}</Error>" in str(answer["body"])
    assert difference.fields.items() <= dict(answer["fields"]).items()


@pytest.mark.parametrize("case", [case for case in CASES if is_read(case)], ids=lambda case: case.name)
def test_the_second_read_of_an_object_is_a_hit(answers, proxy, case):
    status = answers.cache_status[case.name]
    is_there = answers.found[case.name]["warm"]["status"] in (200, 206, 304)
    names_object = case.path.partition("/@bucket@/")[2] and case.query in ("", "x-id=GetObject")
    is_hit = bool(is_there and names_object and case.name not in NEVER_FROM_CACHE)
    for way in ("warm", "later-warm"):
        # The first read may not quite have ended.
        assert (status[way].startswith("s3proxy; hit") or status[way].endswith("collapsed")) == is_hit, status
    assert not status.get("uncached", "").startswith("s3proxy; hit")


def test_every_name_is_used_once():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 150
    assert ANSWERED_DIFFERENTLY.keys() | ANSWERED_FROM_CACHE.keys() | NEVER_FROM_CACHE.keys() <= set(names)
    assert ANSWERED_FROM_CACHE.keys() <= {case.name for case in READS}
