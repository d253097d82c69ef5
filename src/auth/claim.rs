//! What a signed request claims, read from `Authorization` or from a presigned URL and not yet
//! checked against any key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::auth::AuthError;
use crate::auth::error::Malformed;
use crate::s3::RequestHead;
use crate::sigv4::{
    ALGORITHM, AMZ_DATE, AmzDate, CanonicalQuery, Credential, Signature, SignedHeaders,
};

/// The longest life of a presigned URL: seven days, the life of a signing key.
const MAX_EXPIRES_SECS: i64 = 604_800;

/// A claim whose parts are well formed.
pub(super) struct Claim<'a> {
    pub(super) credential: Credential<'a>,
    pub(super) signed_headers: SignedHeaders<'a>,
    pub(super) signature: Signature,
    pub(super) date: AmzDate,
    /// Seconds that a presigned URL lives; `None` when the claim stands in the header.
    pub(super) expires: Option<i64>,
}

impl<'a> Claim<'a> {
    /// Reads what follows the algorithm in `Authorization`, and the date beside it.
    pub(super) fn from_header(head: &RequestHead<'a>, parts: &'a str) -> Result<Self, AuthError> {
        let malformed = AuthError::HeaderMalformed;
        let [credential, signed_headers, signature] =
            split(parts).ok_or(malformed(Malformed::Parts))?;
        let (date, date_field) = date_of(head)?;
        let claim = Self {
            credential: Credential::parse(credential.into())
                .ok_or(malformed(Malformed::Credential))?,
            signed_headers: SignedHeaders::parse(signed_headers.into())
                .ok_or(malformed(Malformed::SignedHeaders))?,
            signature: Signature::parse(signature).ok_or(malformed(Malformed::Signature))?,
            date,
            expires: None,
        };
        if !claim.signed_headers.contains(date_field) {
            return Err(AuthError::NotSigned(date_field.to_owned()));
        }
        claim.check_scope().map_err(malformed)?;
        Ok(claim)
    }

    /// Reads the parameters of a presigned URL.
    pub(super) fn from_query(query: &'a CanonicalQuery<'_>) -> Result<Self, AuthError> {
        let malformed = AuthError::QueryMalformed;
        let value = |name| query.value(name).ok_or(malformed(Malformed::Parts));
        match value("X-Amz-Algorithm")?.as_ref() {
            ALGORITHM => {}
            "AWS4-ECDSA-P256-SHA256" => return Err(AuthError::SignatureV4a),
            _ => return Err(AuthError::UnsupportedScheme),
        }
        let claim = Self {
            credential: Credential::parse(value("X-Amz-Credential")?)
                .ok_or(malformed(Malformed::Credential))?,
            signed_headers: SignedHeaders::parse(value("X-Amz-SignedHeaders")?)
                .ok_or(malformed(Malformed::SignedHeaders))?,
            signature: Signature::parse(&value("X-Amz-Signature")?)
                .ok_or(malformed(Malformed::Signature))?,
            date: AmzDate::parse(&value("X-Amz-Date")?).ok_or(malformed(Malformed::Date))?,
            expires: Some(
                expires_of(&value("X-Amz-Expires")?).ok_or(malformed(Malformed::Expires))?,
            ),
        };
        claim.check_scope().map_err(malformed)?;
        Ok(claim)
    }

    fn check_scope(&self) -> Result<(), Malformed> {
        if self.credential.service() != "s3" {
            Err(Malformed::Service)
        } else if self.credential.day() != self.date.day() {
            Err(Malformed::ScopeDay)
        } else {
            Ok(())
        }
    }

    /// Whether the claim may be made at this moment. Presigned URLs end by their own expiry, which is
    /// exact; the skew forgives only a signer whose clock is ahead.
    pub(super) fn check_time(&self, now: SystemTime, max_skew: Duration) -> Result<(), AuthError> {
        let now = unix_seconds(now);
        let skew = i64::try_from(max_skew.as_secs()).unwrap_or(i64::MAX);
        let age = now.saturating_sub(self.date.unix_seconds());
        match self.expires {
            None if age.saturating_abs() > skew => Err(AuthError::TimeTooSkewed),
            Some(_) if age < -skew => Err(AuthError::NotYetValid),
            Some(expires) if age > expires => Err(AuthError::Expired),
            None | Some(_) => Ok(()),
        }
    }
}

/// `Credential=.., SignedHeaders=.., Signature=..` in any order, with or without spaces, each once.
fn split(parts: &str) -> Option<[&str; 3]> {
    let mut found = [None; 3];
    for part in parts.split(',') {
        let (name, value) = part.trim_ascii().split_once('=')?;
        let index = ["Credential", "SignedHeaders", "Signature"]
            .iter()
            .position(|known| *known == name)?;
        if found[index].replace(value).is_some() {
            return None;
        }
    }
    let [Some(credential), Some(signed_headers), Some(signature)] = found else {
        return None;
    };
    Some([credential, signed_headers, signature])
}

/// The date of a request signed in the header, and the field it was read from: `x-amz-date`, or
/// `Date` for older clients, in either of the two formats that they use.
fn date_of(head: &RequestHead<'_>) -> Result<(AmzDate, &'static str), AuthError> {
    let date = if head.headers.contains_key(&AMZ_DATE) {
        let date = head.field(&AMZ_DATE).and_then(AmzDate::parse);
        date.map(|date| (date, AMZ_DATE.as_str()))
    } else {
        let text = head.field("date").ok_or(AuthError::DateMissing)?;
        let date = AmzDate::parse(text).or_else(|| http_date(text));
        date.map(|date| (date, "date"))
    };
    date.ok_or(AuthError::DateMissing)
}

fn http_date(text: &str) -> Option<AmzDate> {
    let time = httpdate::parse_http_date(text).ok()?;
    AmzDate::from_unix(unix_seconds(time))
}

fn expires_of(text: &str) -> Option<i64> {
    let is_number = text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = text.parse().ok().filter(|_| is_number)?;
    (1..=MAX_EXPIRES_SECS).contains(&seconds).then_some(seconds)
}

fn unix_seconds(time: SystemTime) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => seconds(since),
        Err(before) => -seconds(before.duration()),
    }
}
