//! Percent-encoding as S3 signs it: everything outside `A-Za-z0-9-._~` is encoded.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::PercentEncode;
use percent_encoding::utf8_percent_encode;

const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Encodes a key as a path: slashes stay.
pub fn encode_key(key: &str) -> String {
    encoded_key(key).to_string()
}

/// The same, to be written somewhere.
pub fn encoded_key(key: &str) -> PercentEncode<'_> {
    utf8_percent_encode(key, PATH)
}

/// Encodes a query name or value.
pub fn encode_query(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}
