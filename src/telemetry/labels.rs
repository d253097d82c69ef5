//! The values that metric labels can have: short closed lists, so that no client can make a series.

use http::StatusCode;

use crate::s3::Operation;

macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$value_doc])* $value,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$value,)*];

            /// The text of every value, in the same order.
            pub const TEXTS: &'static [&'static str] = &[$($text,)*];

            /// The label's text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)* }
            }
        }
    };
}

label_values! {
    /// Why a request to an origin brought no usable answer.
    UpstreamErrorKind {
        /// The name could not be resolved.
        Resolve = "resolve",
        /// No connection.
        Connect = "connect",
        /// The TLS handshake failed.
        Tls = "tls",
        /// A time limit passed.
        Timeout = "timeout",
        /// The connection ended too early.
        Closed = "closed",
        /// The answer was not what HTTP or S3 promises.
        Protocol = "protocol",
        /// There were no credentials to sign with.
        Credentials = "credentials",
        /// Anything else.
        Other = "other",
    }
}

label_values! {
    /// Why a request was sent to the origin once more.
    RetryReason {
        /// No connection.
        Connect = "connect",
        /// A kept connection turned out to be closed.
        StaleConnection = "stale_connection",
        /// A time limit passed.
        Timeout = "timeout",
        /// The origin answered 5xx.
        ServerError = "server_error",
        /// The origin answered `SlowDown` or 429.
        Throttled = "throttled",
        /// The bucket lives in another region than the request was signed for.
        Region = "region",
        /// The body ended early and was resumed.
        Truncated = "truncated",
    }
}

label_values! {
    /// What became of a second request beside one whose answer was late.
    HedgeEvent {
        /// It was sent.
        Sent = "sent",
        /// It was answered first.
        Won = "won",
    }
}

label_values! {
    /// How a call for credentials went.
    Outcome {
        /// New credentials.
        Success = "success",
        /// The other side refused.
        Refused = "refused",
        /// The other side could not be reached or did not answer sensibly.
        Failed = "failed",
    }
}

label_values! {
    /// What the cache did for a request, in the words of RFC 9211: a hit, or why it was forwarded.
    CacheResult {
        /// Answered without the origin.
        Hit = "hit",
        /// Answered from what had become stale, because the origin could not be asked.
        HitStale = "hit_stale",
        /// A part of the bytes was there, the others were fetched.
        Partial = "partial",
        /// Nothing of it was there.
        Miss = "miss",
        /// The origin was asked whether what is there is still good.
        Stale = "stale",
        /// Not for the cache: by a rule, because of what the object is or what is asked of it.
        Bypass = "bypass",
        /// Not a read.
        Method = "method",
    }
}

label_values! {
    /// Where bytes were found.
    Tier {
        /// In memory.
        Memory = "memory",
        /// On disk.
        Disk = "disk",
        /// At the origin, and perhaps in the cache from now on.
        Origin = "origin",
    }
}

label_values! {
    /// What happens to a fill.
    FillEvent {
        /// It began: a request goes to the origin.
        Started = "started",
        /// It brought all its bytes.
        Completed = "completed",
        /// A reader waits for a fill that another one began.
        Collapsed = "collapsed",
        /// Its body broke off and the rest was asked for.
        Resumed = "resumed",
        /// It was given up because nobody reads it any more.
        Abandoned = "abandoned",
        /// It failed.
        Failed = "failed",
    }
}

label_values! {
    /// Why an answer of the origin was not let into the cache.
    Refusal {
        /// Its status.
        Status = "status",
        /// Its `Content-Range`.
        ContentRange = "content_range",
        /// Its length.
        Length = "length",
        /// Its ETag: another one, a weak one or none.
        ETag = "etag",
        /// Something was written meanwhile.
        Generation = "generation",
    }
}

label_values! {
    /// What asking whether an object meta is still good brought.
    Validation {
        /// It is.
        Freshened = "freshened",
        /// The object is another one now.
        Replaced = "replaced",
        /// The object is gone.
        Gone = "gone",
        /// The origin refused to tell.
        Refused = "refused",
        /// The origin could not be asked.
        Failed = "failed",
    }
}

label_values! {
    /// How much is invalidated or purged at once.
    CacheScope {
        /// One object.
        Object = "object",
        /// All objects whose keys begin alike.
        Prefix = "prefix",
        /// A bucket.
        Bucket = "bucket",
    }
}

label_values! {
    /// What came of reading the configuration again.
    ReloadOutcome {
        /// It is in force.
        Applied = "applied",
        /// Something is wrong with it, and nothing of it is in force.
        Refused = "refused",
        /// Nothing was read: there is no file, or the process is stopping.
        Ignored = "ignored",
    }
}

label_values! {
    /// In what the cache would have answered otherwise than the origin.
    Difference {
        /// The status.
        Status = "status",
        /// A field.
        Field = "field",
        /// The number of bytes.
        Length = "length",
        /// The bytes.
        Body = "body",
    }
}

label_values! {
    /// How the cache on disk is.
    DiskState {
        /// None is configured.
        Absent = "absent",
        /// It serves while its index is being rebuilt.
        Indexing = "indexing",
        /// It serves and takes.
        Serving = "serving",
        /// It serves, and takes nothing: no space, or it cannot be written.
        ReadOnly = "read_only",
        /// It is off: the directory is gone or fails.
        Off = "off",
    }
}

/// How many values the operation label has: the table and `Unknown`.
pub(super) const OPERATIONS: usize = Operation::ALL.len() + 1;

/// Where an operation stands in a row of handles.
pub(super) fn operation_index(operation: Operation) -> usize {
    operation as usize
}

/// Status codes with a label value of their own, ascending: those that S3 gives and those that
/// operators look for. Any other goes by its class.
const STATUS_CODES: [u16; 22] = [
    200, 204, 206, 301, 304, 307, 400, 401, 403, 404, 405, 409, 411, 412, 416, 429, 499, 500, 501,
    502, 503, 504,
];

/// The values of the status label: the codes above, the classes, `none` for no answer at all, and
/// `given_up` for one that was not waited for.
pub(super) const STATUSES: [&str; 29] = [
    "200", "204", "206", "301", "304", "307", "400", "401", "403", "404", "405", "409", "411",
    "412", "416", "429", "499", "500", "501", "502", "503", "504", "1xx", "2xx", "3xx", "4xx",
    "5xx", "none", "given_up",
];

/// Where `none` stands in [`STATUSES`].
const NONE: usize = STATUSES.len() - 2;

/// Where `given_up` stands.
pub(super) const GIVEN_UP: usize = STATUSES.len() - 1;

/// Where a status stands in [`STATUSES`].
pub(super) fn status_index(status: Option<StatusCode>) -> usize {
    let Some(status) = status else {
        return NONE;
    };
    let code = status.as_u16();
    STATUS_CODES.binary_search(&code).unwrap_or_else(|_| {
        let class = usize::from(code / 100);
        // Beyond 5xx there is no class; those count with the answers that are none.
        (STATUS_CODES.len() + class.saturating_sub(1)).min(NONE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_label() {
        for code in 100..=999 {
            let label = STATUSES[status_index(StatusCode::from_u16(code).ok())];
            let class = format!("{}xx", code / 100);
            let expected = [code.to_string(), class, "none".to_owned()];
            assert!(expected.iter().any(|text| text == label), "{code}: {label}");
            assert!(code >= 600 || label != "none", "{code}: {label}");
        }
        assert_eq!(STATUSES[status_index(None)], "none");
        assert_eq!(STATUSES[GIVEN_UP], "given_up");
        assert_eq!(
            STATUSES[status_index(Some(StatusCode::PARTIAL_CONTENT))],
            "206"
        );
    }

    #[test]
    fn every_operation_has_its_own_place() {
        let mut places: Vec<usize> = Operation::ALL
            .iter()
            .map(|op| operation_index(*op))
            .collect();
        places.push(operation_index(Operation::Unknown));
        assert_eq!(places, (0..OPERATIONS).collect::<Vec<_>>());
    }
}
