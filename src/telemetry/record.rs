//! What is known about a request when it has ended: the one source of its metrics and of its line in
//! the access log.

use std::net::SocketAddr;
use std::time::Duration;
use std::time::SystemTime;

use http::Method;
use http::StatusCode;

use crate::s3::Bucket;
use crate::s3::ErrorCode;
use crate::s3::Key;
use crate::s3::Operation;
use crate::s3::Principal;
use crate::telemetry::CacheResult;

/// A request that has ended. It has no place for a query, an authorization or a token, so that none
/// can reach the log.
#[derive(Debug, Clone)]
pub struct RequestRecord<'a> {
    /// When the head arrived.
    pub time: SystemTime,
    /// Our id of the request, as in `x-amz-request-id`.
    pub request_id: &'a str,
    /// Who signed; absent when nobody was verified.
    pub principal: Option<&'a Principal>,
    /// The client's address; absent on a Unix socket.
    pub remote: Option<SocketAddr>,
    /// The method.
    pub method: &'a Method,
    /// What was asked; `Unknown` when it could not be told.
    pub operation: Operation,
    /// On which bucket.
    pub bucket: Option<&'a Bucket>,
    /// On which key.
    pub key: Option<&'a Key>,
    /// The answer's status; absent when the client left before there was one.
    pub status: Option<StatusCode>,
    /// The S3 error code, when the answer is an error of our own.
    pub code: Option<ErrorCode>,
    /// Body bytes received.
    pub request_bytes: u64,
    /// Body bytes sent.
    pub response_bytes: u64,
    /// From the head to the end of the answer.
    pub duration: Duration,
    /// From the head to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// The origin's share; absent when the origin was not asked.
    pub origin: Option<OriginShare<'a>>,
    /// The cache's share; absent when the request was refused before anyone asked the cache.
    pub cache: Option<CacheShare>,
    /// `User-Agent`, as it came.
    pub user_agent: Option<&'a [u8]>,
}

/// What the origin contributed to an answer.
#[derive(Debug, Clone, Copy)]
pub struct OriginShare<'a> {
    /// The origin's configured name.
    pub name: &'a str,
    /// From sending the request to the head of the answer, over all attempts.
    pub time: Duration,
    /// Attempts beyond the first.
    pub retries: u32,
}

/// What the cache contributed to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheShare {
    /// What it did.
    pub result: CacheResult,
    /// What else there is to say of it: why something was not for the cache, for example.
    pub detail: Option<&'static str>,
    /// Body bytes by where they were found; absent when they did not pass through the cache.
    pub bytes_from: Option<BytesFrom>,
    /// Requests that went to the origin for this one. What another one's fill brought is not counted.
    pub origin_requests: u32,
}

/// Body bytes by where they were found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BytesFrom {
    /// In memory.
    pub memory: u64,
    /// On disk.
    pub disk: u64,
    /// At the origin.
    pub origin: u64,
}
