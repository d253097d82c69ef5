//! `Credential`: the access key id and the credential scope, `AK/20261121/region/service/aws4_request`.

use std::borrow::Cow;

use super::date;

/// Long enough for any access key id or region there is, short enough to be kept in tables.
const MAX_PART: usize = 128;

/// A well-formed credential. Its scope is kept as sent, since the string to sign contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential<'a> {
    text: Cow<'a, str>,
    access_key_len: usize,
    region_len: usize,
}

impl<'a> Credential<'a> {
    /// Reads a credential. The region may be empty, as some clients send it; no part may hold
    /// anything but visible ASCII, so that none can break a line of the string to sign.
    pub fn parse(text: Cow<'a, str>) -> Option<Self> {
        let mut parts = text.rsplitn(5, '/');
        let terminator = parts.next()?;
        let service = parts.next()?;
        let region = parts.next()?;
        let day = parts.next()?;
        let access_key_id = parts.next()?;
        let is_well_formed = terminator == "aws4_request"
            && is_plain(service)
            && (region.is_empty() || is_plain(region))
            && date::is_day(day)
            && !access_key_id.is_empty()
            && access_key_id.len() <= MAX_PART
            && access_key_id.bytes().all(|byte| byte.is_ascii_graphic());
        let (access_key_len, region_len) = (access_key_id.len(), region.len());
        is_well_formed.then_some(Self {
            text,
            access_key_len,
            region_len,
        })
    }

    /// Whose key it is.
    pub fn access_key_id(&self) -> &str {
        &self.text[..self.access_key_len]
    }

    /// `20261121/region/service/aws4_request`.
    pub fn scope(&self) -> &str {
        &self.text[self.access_key_len + 1..]
    }

    /// The day of the scope, eight digits.
    pub fn day(&self) -> &str {
        &self.scope()[..8]
    }

    /// The region of the scope, as the client believes it.
    pub fn region(&self) -> &str {
        &self.scope()[9..9 + self.region_len]
    }

    /// The service of the scope.
    pub fn service(&self) -> &str {
        let service = &self.scope()[10 + self.region_len..];
        service.strip_suffix("/aws4_request").unwrap_or(service)
    }
}

fn is_plain(part: &str) -> bool {
    (1..=MAX_PART).contains(&part.len())
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_from_the_right() {
        let text = "AK/ID/20261121/eu-west-1/s3/aws4_request";
        let credential = Credential::parse(text.into()).unwrap();
        assert_eq!(credential.access_key_id(), "AK/ID");
        assert_eq!(credential.scope(), "20261121/eu-west-1/s3/aws4_request");
        assert_eq!(credential.day(), "20261121");
        assert_eq!(credential.region(), "eu-west-1");
        assert_eq!(credential.service(), "s3");
    }

    #[test]
    fn an_empty_region_is_a_region() {
        let credential = Credential::parse("AK/20261121//s3/aws4_request".into()).unwrap();
        assert_eq!((credential.region(), credential.service()), ("", "s3"));
    }

    #[test]
    fn malformed_credentials_are_refused() {
        for text in [
            "",
            "AK",
            "AK/20261121/us-east-1/s3",
            "/20261121/us-east-1/s3/aws4_request",
            "AK/20261121/us-east-1/s3/aws4_request/",
            "AK/20261121/us-east-1//aws4_request",
            "AK/20261121/us-east-1/s3/AWS4_REQUEST",
            "AK/20261131/us-east-1/s3/aws4_request",
            "AK/2026112/us-east-1/s3/aws4_request",
            "AK/20261121/us\n-east-1/s3/aws4_request",
            "A K/20261121/us-east-1/s3/aws4_request",
            "AK/20261121/us east/s3/aws4_request",
        ] {
            assert_eq!(Credential::parse(text.into()), None, "{text}");
        }
        let long = format!("{}/20261121/r/s3/aws4_request", "A".repeat(129));
        assert_eq!(Credential::parse(long.into()), None);
    }
}
