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

/// The values of the status label: the codes above, the classes, and `none` for no answer at all.
pub(super) const STATUSES: [&str; 28] = [
    "200", "204", "206", "301", "304", "307", "400", "401", "403", "404", "405", "409", "411",
    "412", "416", "429", "499", "500", "501", "502", "503", "504", "1xx", "2xx", "3xx", "4xx",
    "5xx", "none",
];

/// Where a status stands in [`STATUSES`].
pub(super) fn status_index(status: Option<StatusCode>) -> usize {
    let Some(status) = status else {
        return STATUSES.len() - 1;
    };
    let code = status.as_u16();
    STATUS_CODES.binary_search(&code).unwrap_or_else(|_| {
        let class = usize::from(code / 100);
        // Beyond 5xx there is no class; those count with the answers that are none.
        (STATUS_CODES.len() + class.saturating_sub(1)).min(STATUSES.len() - 1)
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
