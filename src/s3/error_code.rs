//! The S3 error codes that this proxy answers itself, each with its status and public message.
//!
//! One table is the source; `docs/errors.md` is checked against it. Codes, statuses and messages
//! follow <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use http::StatusCode;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $message:literal;)*) => {
        /// An S3 error code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it stands in `<Code>`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// What `<Message>` says when the stage that failed has nothing more precise to say.
            pub fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
}

error_codes! {
    /// Not allowed, or no credentials where some are needed.
    AccessDenied = FORBIDDEN, "Access Denied";
    /// The credential scope or another part of `Authorization` is not well formed.
    AuthorizationHeaderMalformed = BAD_REQUEST, "The authorization header that you provided is not valid.";
    /// A query-string authentication parameter is missing or wrong.
    AuthorizationQueryParametersError = BAD_REQUEST, "The query-string authentication parameters are not valid.";
    /// A checksum or `Content-MD5` does not match the body.
    BadDigest = BAD_REQUEST, "The checksum that you specified did not match what was received.";
    /// More bytes than the operation takes.
    EntityTooLarge = BAD_REQUEST, "Your proposed upload exceeds the maximum allowed object size.";
    /// The token in the request has expired.
    ExpiredToken = BAD_REQUEST, "The provided token has expired.";
    /// Fewer bytes than `Content-Length` or `x-amz-decoded-content-length` promised.
    IncompleteBody = BAD_REQUEST, "You did not provide the number of bytes specified by the Content-Length HTTP header.";
    /// Something went wrong here; the log has the request id.
    InternalError = INTERNAL_SERVER_ERROR, "We encountered an internal error. Please try again.";
    /// The access key id is not one of the configured clients.
    InvalidAccessKeyId = FORBIDDEN, "The access key Id you provided does not exist in our records.";
    /// A field or parameter has a value that is not allowed.
    InvalidArgument = BAD_REQUEST, "Invalid Argument";
    /// Not a bucket name.
    InvalidBucketName = BAD_REQUEST, "The specified bucket is not valid.";
    /// `Content-MD5` is not a base64-encoded 128-bit value.
    InvalidDigest = BAD_REQUEST, "The Content-MD5 or checksum value that you specified is not valid.";
    /// The byte range starts behind the end of the object.
    InvalidRange = RANGE_NOT_SATISFIABLE, "The requested range is not satisfiable";
    /// The request uses something that this service refuses.
    InvalidRequest = BAD_REQUEST, "Invalid Request";
    /// The session token is not the one that belongs to the key.
    InvalidToken = BAD_REQUEST, "The provided token is malformed or otherwise not valid.";
    /// The target cannot be parsed.
    InvalidURI = BAD_REQUEST, "Couldn't parse the specified URI.";
    /// A key of more than 1024 bytes.
    KeyTooLongError = BAD_REQUEST, "Your key is too long.";
    /// The fields after an aws-chunked body are not the announced ones, or not well formed.
    MalformedTrailerError = BAD_REQUEST, "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    /// The XML body does not follow the schema.
    MalformedXML = BAD_REQUEST, "The XML you provided was not well-formed or did not validate against our published schema.";
    /// The request head is larger than allowed.
    MetadataTooLarge = BAD_REQUEST, "Your metadata headers exceed the maximum allowed metadata size.";
    /// The method does not exist for this resource.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "The specified method is not allowed against this resource.";
    /// A body without a length.
    MissingContentLength = LENGTH_REQUIRED, "You must provide the Content-Length HTTP header.";
    /// A required header is missing.
    MissingSecurityHeader = BAD_REQUEST, "Your request is missing a required header.";
    /// No origin serves this bucket.
    NoSuchBucket = NOT_FOUND, "The specified bucket does not exist";
    /// No such key.
    NoSuchKey = NOT_FOUND, "The specified key does not exist.";
    /// An operation that this proxy does not carry.
    NotImplemented = NOT_IMPLEMENTED, "A header you provided implies functionality that is not implemented.";
    /// An `If-*` field did not hold.
    PreconditionFailed = PRECONDITION_FAILED, "At least one of the pre-conditions you specified did not hold";
    /// The request's date is too far from this machine's clock.
    RequestTimeTooSkewed = FORBIDDEN, "The difference between the request time and the server's time is too large.";
    /// The client sent its body too slowly.
    RequestTimeout = BAD_REQUEST, "Your socket connection to the server was not read from or written to within the timeout period.";
    /// The origin cannot be reached or does not answer in time.
    ServiceUnavailable = SERVICE_UNAVAILABLE, "Service is unable to handle request.";
    /// The signature is not the one computed here.
    SignatureDoesNotMatch = FORBIDDEN, "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    /// Over a limit; try again more slowly.
    SlowDown = SERVICE_UNAVAILABLE, "Please reduce your request rate.";
    /// The body's SHA-256 is not the signed one.
    XAmzContentSHA256Mismatch = BAD_REQUEST, "The provided 'x-amz-content-sha256' header does not match what was computed.";
}
