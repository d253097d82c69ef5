"""Runs the whole corpus in order on both sides, then compares answer by answer.

The sides use buckets of their own with equally long names, so both see the same states. Every GET
and HEAD goes through the proxy twice: the second answer comes from a warm cache.
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
from corpus import http1, sigv4
from corpus.cases import CASES, PATTERN
from corpus.differences import (
    ANSWERED_DIFFERENTLY,
    BODY_REWRITES,
    IGNORED_FIELDS,
    LEFT_OUT_VALUES,
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


@pytest.fixture(scope="session")
def answers(direct, proxied):
    """By case name: the answers of each side, or the exception instead of one."""
    found = {case.name: {} for case in CASES}
    for side, bucket in ((direct, "corpus-a"), (proxied, "corpus-b")):
        if side is None:
            continue
        run = Run(side, {"bucket": bucket, "host": side.host})
        for case in CASES:
            try:
                answer = run.send(case)
                run.keep(case, answer)
                found[case.name][side.name] = seen(answer, run, case)
                if side is proxied and case.method in ("GET", "HEAD"):
                    found[case.name]["again"] = seen(run.send(case), run, case)
            except (OSError, ValueError) as error:
                found[case.name][side.name] = error
            time.sleep(case.pause)
    return found


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
    found = answers[case.name]
    direct = found["direct"]
    if isinstance(direct, Exception):
        raise direct
    assert direct["status"] == case.status, direct
    difference = ANSWERED_DIFFERENTLY.get(case.name)
    for name in ("proxied", "again"):
        if name not in found:
            continue
        through = found[name]
        if isinstance(through, Exception):
            raise through
        if difference:
            assert through["status"] == difference.status
            assert difference.code is None or f"<Error>{difference.code}</Error>" in str(through["body"])
        else:
            assert through == direct, name


def test_every_name_is_used_once():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 150
    assert set(ANSWERED_DIFFERENTLY) <= set(names)
