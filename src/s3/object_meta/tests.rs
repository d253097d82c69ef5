//! Metas, strictly in and faithfully out.

use ::bytes::Bytes;
use proptest::prelude::*;

use super::*;

const ETAG: &str = "\"9b2cf535f27731c974343645a3985328\"";

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// A 200 as S3 gives it, with these fields besides.
fn answer(more: &[(&str, &str)]) -> HeaderMap {
    let s3 = [
        ("x-amz-id-2", "eftixk72aD6Ap51TnqcoF8eFidJG9Z"),
        ("x-amz-request-id", "318BC8BC148832E5"),
        ("Date", "Mon, 3 Oct 2016 22:32:00 GMT"),
        ("Last-Modified", "Mon, 12 Oct 2009 17:50:00 GMT"),
        ("ETag", ETAG),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", "binary/octet-stream"),
        ("Content-Length", "1000"),
        ("Server", "AmazonS3"),
    ];
    headers(&[&s3[..], more].concat())
}

/// The same with another value of one field; none at all for an empty one.
fn with(name: &'static str, values: &[&'static str]) -> HeaderMap {
    let mut headers = answer(&[]);
    headers.remove(name);
    for value in values {
        headers.append(name, HeaderValue::from_static(value));
    }
    headers
}

fn part(content_range: &'static str, length: &'static str) -> HeaderMap {
    let mut headers = with("content-length", &[length]);
    headers.insert("content-range", HeaderValue::from_static(content_range));
    headers
}

fn learn(headers: &HeaderMap) -> Result<ObjectMeta, NotCacheable> {
    ObjectMeta::from_answer(StatusCode::OK, headers, true).map(|(meta, _)| meta)
}

fn shown(meta: &ObjectMeta, kind: AnswerKind<'_>, wants_checksums: bool) -> Vec<String> {
    meta.answer_fields(kind, wants_checksums)
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect()
}

/// The values that Pingora gives are slices of what it has read.
#[test]
fn a_meta_keeps_nothing_of_the_buffer_that_it_was_read_from() {
    let buffer = Bytes::from(b"\"e\"1024text/plain7some".to_vec());
    let slice =
        |interval: Range<usize>| HeaderValue::from_maybe_shared(buffer.slice(interval)).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("etag", slice(0..3));
    headers.insert("content-length", slice(3..7));
    headers.insert("content-type", slice(7..17));
    headers.insert("x-amz-checksum-crc32", slice(17..18));
    headers.insert("x-amz-meta-a", slice(18..22));
    let meta = learn(&headers).unwrap();
    assert_eq!(meta.fields["x-amz-meta-a"], "some");
    assert_ne!(meta.checksums, Checksums::Unknown);
    drop(headers);
    assert!(buffer.is_unique());
}

#[test]
fn what_describes_the_object_comes_back_in_order() {
    let described = [
        ("Cache-Control", "max-age=60"),
        ("Content-Encoding", "gzip"),
        ("x-amz-meta-b", "2"),
        ("x-amz-meta-a", "1"),
        ("x-amz-meta-a", "once more"),
        ("x-amz-meta-empty", ""),
        ("x-amz-version-id", "null"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-tagging-count", "2"),
        ("Content-Disposition", "attachment"),
        ("Vary", "Origin"),
    ];
    let exchange = [
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Set-Cookie", "a=b"),
        ("Via", "1.1 x"),
        ("Age", "7"),
        ("X-Cache", "HIT"),
        ("Alt-Svc", "h3"),
        ("x-amz-bucket-region", "eu-west-1"),
        ("x-amz-request-charged", "requester"),
        ("CF-Ray", "1"),
        ("Access-Control-Allow-Origin", "*"),
    ];
    let meta = learn(&answer(&[&described[..], &exchange[..]].concat())).unwrap();
    let mut expected = vec![
        "last-modified: Mon, 12 Oct 2009 17:50:00 GMT".to_owned(),
        "accept-ranges: bytes".to_owned(),
        "content-type: binary/octet-stream".to_owned(),
    ];
    let lines = described.map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase()));
    expected.extend(lines);
    let ours = |more: &[&str]| {
        let etag = format!("etag: {ETAG}");
        let mut lines = expected.clone();
        lines.push(etag);
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        lines
    };
    assert_eq!(
        shown(&meta, AnswerKind::Whole, true),
        ours(&["content-length: 1000"])
    );
    assert_eq!(
        shown(&meta, AnswerKind::Part(&(10..20)), true),
        ours(&["content-length: 10", "content-range: bytes 10-19/1000"])
    );
    let unchanged = shown(&meta, AnswerKind::NotModified, true);
    let etag = format!("etag: {ETAG}");
    let repeated = [
        "last-modified: Mon, 12 Oct 2009 17:50:00 GMT",
        "cache-control: max-age=60",
        "vary: Origin",
        etag.as_str(),
    ];
    assert_eq!(unchanged, repeated);
}

#[test]
fn a_part_tells_as_much_as_the_whole() {
    let whole = ObjectMeta::from_answer(StatusCode::OK, &answer(&[]), false).unwrap();
    let (status, headers) = (
        StatusCode::PARTIAL_CONTENT,
        part("bytes 990-999/1000", "10"),
    );
    let (meta, range) = ObjectMeta::from_answer(status, &headers, false).unwrap();
    assert_eq!((meta.size, range.unwrap().interval), (1000, 990..1000));
    assert_eq!(meta, whole.0);
    assert_eq!(whole.1, None);
    assert!(meta.last_modified.is_some());
}

#[test]
fn a_doubt_about_the_bytes_is_a_refusal() {
    let long_etag = format!("\"{}\"", "e".repeat(300));
    let refused = |headers: &HeaderMap| learn(headers).unwrap_err();
    for (headers, why) in [
        (with("etag", &[]), NotCacheable::ETag),
        (with("etag", &["W/\"a\""]), NotCacheable::ETag),
        (with("etag", &["abc"]), NotCacheable::ETag),
        (with("etag", &["\"a\"", "\"a\""]), NotCacheable::ETag),
        (with("etag", &["\"a\", \"b\""]), NotCacheable::ETag),
        (with("content-length", &[]), NotCacheable::Length),
        (with("content-length", &["1", "1"]), NotCacheable::Length),
        (with("content-length", &["1, 1"]), NotCacheable::Length),
        (with("content-length", &["+1"]), NotCacheable::Length),
        (with("content-length", &["-1"]), NotCacheable::Length),
        (with("content-length", &["0x1"]), NotCacheable::Length),
        (
            with("content-length", &["18446744073709551616"]),
            NotCacheable::Length,
        ),
        (
            answer(&[("Transfer-Encoding", "chunked")]),
            NotCacheable::Length,
        ),
        (
            answer(&[("Content-Range", "bytes 0-999/1000")]),
            NotCacheable::Range,
        ),
        (
            with("content-type", &["multipart/byteranges; boundary=x"]),
            NotCacheable::Multipart,
        ),
        (
            with("content-type", &["Multipart/ByteRanges"]),
            NotCacheable::Multipart,
        ),
        (
            answer(&[("x-amz-server-side-encryption-customer-algorithm", "AES256")]),
            NotCacheable::CustomerKey,
        ),
        (
            answer(&[("Last-Modified", "Mon, 12 Oct 2009 17:50:01 GMT")]),
            NotCacheable::LastModified,
        ),
        (
            answer(&[("x-amz-meta-long", &"a".repeat(33 << 10))]),
            NotCacheable::TooLarge,
        ),
        (
            answer(&[("x-amz-meta-a", "1"); 128]),
            NotCacheable::TooLarge,
        ),
    ] {
        assert_eq!(refused(&headers), why, "{headers:?}");
    }
    let mut headers = with("etag", &[]);
    headers.insert("etag", HeaderValue::from_str(&long_etag).unwrap());
    assert_eq!(refused(&headers), NotCacheable::ETag);
    for status in [204, 203, 304, 404, 416, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let outcome = ObjectMeta::from_answer(status, &answer(&[]), false);
        assert_eq!(outcome, Err(NotCacheable::Status));
    }
}

#[test]
fn a_part_has_to_be_consistent() {
    let refused = |headers: &HeaderMap| {
        ObjectMeta::from_answer(StatusCode::PARTIAL_CONTENT, headers, false).unwrap_err()
    };
    for (range, length) in [
        ("bytes 0-9/1000", "9"),
        ("bytes 0-9/1000", "1000"),
        ("bytes 0-9/*", "10"),
        ("bytes 5-14/10", "10"),
        ("bytes */1000", "10"),
        ("0-9/1000", "10"),
    ] {
        assert_eq!(
            refused(&part(range, length)),
            NotCacheable::Range,
            "{range}"
        );
    }
    assert_eq!(refused(&answer(&[])), NotCacheable::Range);
    let mut twice = part("bytes 0-9/1000", "10");
    twice.append("content-range", HeaderValue::from_static("bytes 0-9/1000"));
    assert_eq!(refused(&twice), NotCacheable::Range);
    let no_length = {
        let mut headers = part("bytes 0-9/1000", "10");
        headers.remove("content-length");
        headers
    };
    assert_eq!(refused(&no_length), NotCacheable::Length);
}

#[test]
fn checksums_are_for_whole_answers_to_those_who_ask() {
    let given = [
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-checksum-type", "FULL_OBJECT"),
    ];
    let has = |meta: &ObjectMeta, kind: AnswerKind<'_>, wants: bool| {
        let lines = shown(meta, kind, wants);
        lines
            .iter()
            .filter(|line| line.starts_with("x-amz-checksum-"))
            .count()
    };
    let part_of_it = AnswerKind::Part(&(0..1));
    for (asked, whole, whole_unasked) in [(true, 2, 0), (false, 2, 2)] {
        let (meta, _) = ObjectMeta::from_answer(StatusCode::OK, &answer(&given), asked).unwrap();
        assert_eq!(has(&meta, AnswerKind::Whole, true), whole);
        assert_eq!(has(&meta, AnswerKind::Whole, false), whole_unasked);
        assert_eq!(has(&meta, part_of_it, true), 0);
        assert_eq!(has(&meta, AnswerKind::NotModified, true), 0);
        assert_eq!(ObjectMeta::from_bytes(&meta.to_bytes()), Some(meta));
    }
    let learned = |asked| {
        let (meta, _) = ObjectMeta::from_answer(StatusCode::OK, &answer(&[]), asked).unwrap();
        meta.checksums
    };
    assert_eq!(learned(true), Checksums::Known(HeaderMap::new()));
    assert_eq!(learned(false), Checksums::Unknown);
    let mut headers = part("bytes 0-9/1000", "10");
    headers.insert("x-amz-checksum-crc32", HeaderValue::from_static("AAAAAA=="));
    let (meta, _) = ObjectMeta::from_answer(StatusCode::PARTIAL_CONTENT, &headers, true).unwrap();
    assert_eq!(meta.checksums, Checksums::Unknown);
}

#[test]
fn checksums_stay_while_the_object_stays() {
    let known = learn(&answer(&[("x-amz-checksum-crc32", "AAAAAA==")])).unwrap();
    let unasked = |headers: &HeaderMap| {
        let (mut meta, _) = ObjectMeta::from_answer(StatusCode::OK, headers, false).unwrap();
        meta.keep_checksums_of(&known);
        meta.checksums
    };
    assert_eq!(unasked(&answer(&[])), known.checksums);
    for changed in [
        with("etag", &["\"other\""]),
        with("content-length", &["1001"]),
        // The same bytes once more may come with another checksum.
        with("last-modified", &["Mon, 12 Oct 2009 17:50:01 GMT"]),
    ] {
        assert_eq!(unasked(&changed), Checksums::Unknown);
    }
}

#[test]
fn a_client_asks_for_checksums_in_any_case() {
    for (value, asks) in [
        ("ENABLED", true),
        ("enabled", true),
        ("on", false),
        ("", false),
    ] {
        assert_eq!(
            wants_checksums(&headers(&[("x-amz-checksum-mode", value)])),
            asks
        );
    }
    assert!(!wants_checksums(&HeaderMap::new()));
}

#[test]
fn a_304_confirms_what_it_does_not_contradict() {
    let meta = learn(&answer(&[])).unwrap();
    let date = "Mon, 12 Oct 2009 17:50:00 GMT";
    for (fields, is_confirmed) in [
        (&[][..], true),
        (&[("ETag", ETAG)], true),
        (&[("ETag", ETAG), ("Last-Modified", date)], true),
        (&[("ETag", "\"other\"")], false),
        (&[("ETag", ETAG), ("ETag", "\"other\"")], false),
        (
            &[
                ("ETag", ETAG),
                ("Last-Modified", "Mon, 12 Oct 2009 17:50:01 GMT"),
            ],
            false,
        ),
    ] {
        assert_eq!(
            meta.is_confirmed_by(&headers(fields)),
            is_confirmed,
            "{fields:?}"
        );
    }
}

#[test]
fn a_date_that_is_none_is_kept_as_text() {
    let meta = learn(&with("last-modified", &["yesterday"])).unwrap();
    assert_eq!(meta.last_modified, None);
    assert!(
        shown(&meta, AnswerKind::Whole, false).contains(&"last-modified: yesterday".to_owned())
    );
}

/// The format on disk. Whoever changes it changes its version.
#[test]
fn the_bytes_of_a_meta_are_fixed() {
    let headers = headers(&[
        ("ETag", "\"e\""),
        ("Content-Length", "258"),
        ("Content-Type", "t"),
        ("x-amz-checksum-crc32", "c"),
    ]);
    let meta = learn(&headers).unwrap();
    let expected = [
        &b"\x01\x02\x01\0\0\0\0\0\0\x03\0\"e\""[..],
        b"\x01\0\x0c\0content-type\x01\0t",
        b"\x01\x01\0\x14\0x-amz-checksum-crc32\x01\0c",
    ]
    .concat();
    assert_eq!(meta.to_bytes(), expected);
    assert_eq!(ObjectMeta::from_bytes(&expected), Some(meta));
}

#[test]
fn bytes_of_a_meta_are_not_trusted() {
    let meta = learn(&answer(&[("x-amz-meta-a", "1")])).unwrap();
    let bytes = meta.to_bytes();
    for end in 0..bytes.len() {
        assert_eq!(ObjectMeta::from_bytes(&bytes[..end]), None, "{end}");
    }
    assert_eq!(ObjectMeta::from_bytes(&[&bytes[..], b"\0"].concat()), None);
    let replace = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes
            .windows(from.len())
            .position(|w| w == from.as_bytes())
            .unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        ObjectMeta::from_bytes(&changed)
    };
    for name in ["x-amz-meta A", "x-amz-meta\r\n", "x-amz-Meta-a"] {
        assert_eq!(replace("x-amz-meta-a", name), None, "{name}");
    }
    // Fields that are never kept.
    for name in ["x-ratelimit-reset", "x-amz-checksum-crc"] {
        let mut kept = meta.clone();
        let value = HeaderValue::from_static("1");
        kept.fields.append(HeaderName::from_static(name), value);
        assert_eq!(ObjectMeta::from_bytes(&kept.to_bytes()), None, "{name}");
    }
    assert_eq!(
        replace("binary/octet-stream", "binary\r\noctet-strea"),
        None
    );
    assert_eq!(replace("\"9b2c", "W/\"9b"), None);
}

fn field() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop_oneof![
        "x-amz-meta-[a-z0-9]{1,8}",
        "[a-z][a-z0-9-]{0,12}",
        Just("content-type".to_owned()),
        Just("x-amz-checksum-sha256".to_owned()),
        Just("connection".to_owned()),
        Just("content-length".to_owned()),
        Just("last-modified".to_owned()),
    ];
    (name, prop::collection::vec(0x20..=0xff_u8, 0..20))
}

proptest! {
    #[test]
    fn whatever_is_learned_comes_back_from_bytes(
        fields in prop::collection::vec(field(), 0..12),
        size in any::<u64>(),
        asked in any::<bool>(),
    ) {
        let mut headers = HeaderMap::new();
        headers.insert("etag", HeaderValue::from_static(ETAG));
        headers.insert("content-length", size.into());
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
        }
        if let Ok((meta, _)) = ObjectMeta::from_answer(StatusCode::OK, &headers, asked) {
            prop_assert_eq!(ObjectMeta::from_bytes(&meta.to_bytes()), Some(meta));
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(ObjectMeta::from_bytes(&bytes), None);
    }

    #[test]
    fn damaged_bytes_are_another_meta_or_none(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let meta = learn(&answer(&[("x-amz-meta-a", "1"), ("x-amz-checksum-crc32", "c")])).unwrap();
        let mut bytes = meta.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Some(read) = ObjectMeta::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }
}
