//! The aws-chunked framing: exact, bounded, and blind to where the wire cuts it.

use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use s3proxy::auth::{PayloadError, PayloadMode};
use s3proxy::sigv4::{AmzDate, ChunkSignatures, Signature, SigningKey};
use sha2::{Digest, Sha256};

use super::payload::decode;
use super::request::{DATE, Request, SECRET_KEY, verifier, verify};

const CRC32_OF_ABC: &str = "x-amz-checksum-crc32:NSRBwg==";

fn request(declared: &str, length: usize, trailer: Option<&str>) -> Request {
    let mut request = Request::new("PUT", "/lake/a")
        .with("transfer-encoding", "chunked")
        .with("x-amz-content-sha256", declared)
        .with("x-amz-decoded-content-length", &length.to_string());
    if let Some(trailer) = trailer {
        request = request.with("x-amz-trailer", trailer);
    }
    request.signed()
}

fn mode(request: &Request) -> PayloadMode {
    verify(&verifier(), request).ok().unwrap().payload
}

fn unsigned(length: usize) -> PayloadMode {
    let declared = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    mode(&request(declared, length, Some("x-amz-checksum-crc32")))
}

/// The wire form of a body with signed chunks, and of its signed trailer.
fn sign(request: &Request, chunks: &[&[u8]], trailer: Option<&str>) -> Vec<u8> {
    let value = request.head().field("authorization").unwrap();
    let seed = Signature::parse(value.split_once("Signature=").unwrap().1).unwrap();
    let day = &DATE[..8];
    let key = SigningKey::derive(SECRET_KEY, day, "us-east-1", "s3");
    let scope = format!("{day}/us-east-1/s3/aws4_request");
    let mut chain = ChunkSignatures::new(key, AmzDate::parse(DATE).unwrap(), scope, seed);
    let mut body = Vec::new();
    for chunk in chunks.iter().copied().chain([&b""[..]]) {
        let signature = chain.chunk(&Sha256::digest(chunk).into()).to_hex();
        body.extend(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).bytes());
        body.extend(chunk);
        if !chunk.is_empty() {
            body.extend(b"\r\n");
        }
    }
    if let Some(line) = trailer {
        let signature = chain.trailer(&Sha256::digest(format!("{line}\n")).into());
        let signature = signature.to_hex();
        body.extend(format!("{line}\r\nx-amz-trailer-signature:{signature}\r\n").bytes());
    }
    body.extend(b"\r\n");
    body
}

#[test]
fn well_formed_bodies_are_decoded() {
    for body in [
        format!("3\r\nabc\r\n0\r\n{CRC32_OF_ABC}\r\n\r\n"),
        format!("1\r\na\r\n02\r\nbc\r\n00\r\n{CRC32_OF_ABC}\r\n\r\n"),
        format!(
            "3\r\nabc\r\n0\r\n{}\r\n\r\n",
            CRC32_OF_ABC.replace("x-amz", "X-Amz")
        ),
        format!(
            "3\r\nabc\r\n0\r\n{}\r\n\r\n",
            CRC32_OF_ABC.replace(':', ": ")
        ),
    ] {
        let (_, result) = decode(&unsigned(3), &[body.as_bytes()]);
        assert_eq!(result.unwrap().0, b"abc", "{body}");
    }
}

#[test]
fn malformed_bodies_are_refused() {
    use PayloadError::{ChecksumInvalid, Framing, TooLong, TooShort, Trailer};

    let good = format!("3\r\nabc\r\n0\r\n{CRC32_OF_ABC}\r\n\r\n");
    for (body, error) in [
        ("3\nabc\r\n0\r\n\r\n".to_owned(), Framing),
        ("3 \r\nabc\r\n".to_owned(), Framing),
        (" 3\r\nabc\r\n".to_owned(), Framing),
        ("+3\r\nabc\r\n".to_owned(), Framing),
        ("0x3\r\nabc\r\n".to_owned(), Framing),
        ("-3\r\nabc\r\n".to_owned(), Framing),
        ("\r\nabc\r\n".to_owned(), Framing),
        ("3;a=b\r\nabc\r\n".to_owned(), Framing),
        ("3;chunk-signature=00\r\nabc\r\n".to_owned(), Framing),
        ("00000000000000003\r\nabc\r\n".to_owned(), Framing),
        ("3\r\nabcd\r\n".to_owned(), Framing),
        ("3\r\nabc\n".to_owned(), Framing),
        ("0".repeat(2_000), Framing),
        (format!("{good}0"), Framing),
        (format!("{good}{good}"), Framing),
        ("4\r\nabcd".to_owned(), TooLong),
        ("ffffffffffffffff\r\n".to_owned(), TooLong),
        ("2\r\nab\r\n2\r\ncd\r\n".to_owned(), TooLong),
        (
            "2\r\nab\r\n0\r\nx-amz-checksum-crc32:nj1MTA==\r\n\r\n".to_owned(),
            TooShort,
        ),
        ("3\r\nabc\r\n0\r\n".to_owned(), TooShort),
        ("3\r\nabc\r\n".to_owned(), TooShort),
        (String::new(), TooShort),
        ("3\r\nabc\r\n0\r\n\r\n".to_owned(), Trailer),
        (
            "3\r\nabc\r\n0\r\nx-amz-checksum-sha1:AAAA\r\n\r\n".to_owned(),
            Trailer,
        ),
        ("3\r\nabc\r\n0\r\nno colon\r\n\r\n".to_owned(), Trailer),
        (
            format!("3\r\nabc\r\n0\r\n{CRC32_OF_ABC}\r\n{CRC32_OF_ABC}\r\n\r\n"),
            Trailer,
        ),
        (
            format!("3\r\nabc\r\n0\r\n{CRC32_OF_ABC}\r\nx-amz-meta-a:b\r\n\r\n"),
            Trailer,
        ),
        (
            format!(
                "3\r\nabc\r\n0\r\nx-amz-trailer-signature:{}\r\n",
                "0".repeat(64)
            ),
            TooShort,
        ),
        (format!("3\r\nabc\r\n0\r\na:{}", "b".repeat(9_000)), Trailer),
        (
            "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:!\r\n\r\n".to_owned(),
            ChecksumInvalid,
        ),
    ] {
        let (released, result) = decode(&unsigned(3), &[body.as_bytes()]);
        assert_eq!(result, Err(error), "{body:.80}");
        assert!(released < 3, "never the whole body: {body:.80}");
    }
}

#[test]
fn a_signed_trailer_is_verified() {
    let declared = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
    let request = request(declared, 6, Some("x-amz-checksum-crc32"));
    let mode = mode(&request);
    let line = "x-amz-checksum-crc32:S4457w==";
    let good = sign(&request, &[b"abc", b"def"], Some(line));
    let good = String::from_utf8(good).unwrap();
    let verdict = |body: &str| decode(&mode, &[body.as_bytes()]).1.map(|(body, _)| body);
    assert_eq!(verdict(&good), Ok(b"abcdef".to_vec()));
    // minio-go ends the checksums by an empty line of their own.
    let minio = good.replace(&format!("{line}\r\n"), &format!("{line}\n\r\n"));
    assert_eq!(verdict(&minio), Ok(b"abcdef".to_vec()));

    let mismatch = Err(PayloadError::SignatureMismatch);
    assert_eq!(verdict(&good.replace("abc", "abd")), mismatch);
    assert_eq!(verdict(&good.replace("S4457w", "AAAAAA")), mismatch);
    let (body, _) = good.split_once("x-amz-trailer-signature").unwrap();
    let empty = Err(PayloadError::TooShort);
    assert_eq!(verdict(&format!("{body}\r\n")), empty);
    let unsigned_chunks = format!("3\r\nabc\r\n3\r\ndef\r\n0\r\n{line}\r\n\r\n");
    assert_eq!(verdict(&unsigned_chunks), mismatch);
}

#[test]
fn chunks_cannot_be_dropped_or_swapped() {
    let request = request("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", 6, None);
    let mode = mode(&request);
    let body = sign(&request, &[b"abc", b"def"], None);
    assert_eq!(decode(&mode, &[&body]).1.unwrap().0, b"abcdef");
    let chunk = (body.len() - 87) / 2;
    let (first, rest) = body.split_at(chunk);
    let (second, end) = rest.split_at(chunk);
    for wrong in [
        [second, first, end].concat(),
        [second, end].concat(),
        [first, end].concat(),
        [first, first, end].concat(),
    ] {
        assert!(decode(&mode, &[&wrong]).1.is_err());
    }
}

#[test]
fn a_chunk_too_large_to_wait_is_released_but_for_its_end() {
    let data = vec![b'z'; 3 << 20];
    let request = request("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", data.len(), None);
    let mode = mode(&request);
    let mut body = sign(&request, &[&data], None);
    let (released, result) = decode(&mode, &body.chunks(1 << 16).collect::<Vec<_>>());
    assert!(released > 2 << 20);
    assert_eq!(result.unwrap().0, data);

    body[1 << 21] = b'y';
    let (released, result) = decode(&mode, &body.chunks(1 << 16).collect::<Vec<_>>());
    assert_eq!(result, Err(PayloadError::SignatureMismatch));
    assert!(released < data.len());
}

/// Bytes that look a little like a body.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"0\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(format!("{CRC32_OF_ABC}\r\n").into_bytes()),
        Just(b";chunk-signature=".to_vec()),
        Just("e".repeat(64).into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..8),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

fn cut<'a>(body: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &body[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #[test]
    fn cuts_change_nothing_in_hostile_bodies(
        body in hostile(),
        length in 0_usize..10,
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
    ) {
        let mode = unsigned(length);
        let whole = decode(&mode, &[&body]).1;
        prop_assert_eq!(decode(&mode, &cut(&body, &cuts)).1, whole);
    }

    #[test]
    fn cuts_change_nothing_in_signed_bodies(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..5),
        cuts in proptest::collection::vec(any::<usize>(), 0..20),
        flip in any::<usize>(),
    ) {
        let data = chunks.concat();
        let request = request("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", data.len(), None);
        let mode = mode(&request);
        let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        let mut body = sign(&request, &chunks, None);
        let (released, result) = decode(&mode, &cut(&body, &cuts));
        prop_assert_eq!(result.unwrap().0, data.as_slice());
        prop_assert_eq!(released == data.len(), data.is_empty());

        let flip = flip % body.len();
        body[flip] ^= 0x01;
        let wrong = decode(&mode, &cut(&body, &cuts));
        prop_assert_eq!(wrong.1.is_err(), true);
        prop_assert_eq!(wrong.0 == data.len(), data.is_empty());
        prop_assert_eq!(wrong.1, decode(&mode, &[&body]).1);
    }
}
