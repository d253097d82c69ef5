//! What a read is answered with.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;

use super::ask::ReadAsk;
use super::stream::ObjectStream;
use crate::cache::AbsentObject;
use crate::cache::CachedMeta;
use crate::s3::AnswerKind;
use crate::s3::ByteRange;
use crate::s3::Verdict;
use crate::telemetry::CacheResult;
use crate::upstream::Answer;

/// The answer to a read.
pub enum Reply {
    /// From the object's meta, perhaps with bytes.
    Object(Box<ObjectReply>),
    /// There is no such object, as the origin said a short while ago.
    Absent(Arc<AbsentObject>, CacheTrace),
    /// The origin's own, whatever it is.
    Answer(Arc<Answer>, CacheTrace),
    /// Not for the cache: to be forwarded as it came, and why.
    Bypass(&'static str),
}

/// An answer about an object that is there.
pub struct ObjectReply {
    /// Which answer.
    pub decision: Decision,
    /// The object's meta.
    pub meta: Arc<CachedMeta>,
    /// Whether the client asked for checksums.
    pub wants_checksums: bool,
    /// The bytes; none for HEAD and for answers without a body.
    pub body: Option<ObjectStream>,
    /// How it came about.
    pub trace: CacheTrace,
}

/// What follows from an object's meta, the preconditions and the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// 200.
    Whole,
    /// 206 with these bytes.
    Part(Range<u64>),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    Unsatisfiable,
}

impl Decision {
    /// What an answer is, given the object's meta. The order is that of RFC 9110, section 13.2.2.
    pub(super) fn of(ask: &ReadAsk, cached: &CachedMeta) -> Self {
        let meta = &cached.meta;
        match ask.preconditions.evaluate(&meta.etag, meta.last_modified) {
            Verdict::Failed => return Self::PreconditionFailed,
            Verdict::NotModified => return Self::NotModified,
            Verdict::Proceed => {}
        }
        if !ask
            .preconditions
            .range_applies(&meta.etag, meta.last_modified)
        {
            return Self::Whole;
        }
        match ask.range.resolve(meta.size) {
            Ok(ByteRange::Whole) => Self::Whole,
            Ok(ByteRange::Part(interval)) => Self::Part(interval),
            Err(_) => Self::Unsatisfiable,
        }
    }

    /// The bytes that the body of an answer to a GET has; empty where it has none of the object.
    pub(super) fn interval(&self, cached: &CachedMeta) -> Range<u64> {
        match self {
            Self::Whole => 0..cached.meta.size,
            Self::Part(interval) => interval.clone(),
            Self::NotModified | Self::PreconditionFailed | Self::Unsatisfiable => 0..0,
        }
    }

    /// Whether it refuses.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::PreconditionFailed | Self::Unsatisfiable)
    }
}

/// How an answer came about, as far as it is known when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheTrace {
    /// What the cache did.
    pub result: CacheResult,
    /// Whether it waited for what another request had asked of the origin.
    pub collapsed: bool,
    /// Whether what came from the origin is kept.
    pub stored: bool,
    /// How long the answer stays fresh.
    pub left: Option<Duration>,
    /// For how long it has not been fresh any more.
    pub overdue: Option<Duration>,
    /// The status of the origin's answer, if it was asked about the meta.
    pub forward_status: Option<StatusCode>,
    /// Requests to the origin before the first byte.
    pub origin_requests: u32,
    /// What else there is to say of it.
    pub detail: Option<&'static str>,
}

impl Default for CacheTrace {
    fn default() -> Self {
        Self {
            result: CacheResult::Hit,
            collapsed: false,
            stored: false,
            left: None,
            overdue: None,
            forward_status: None,
            origin_requests: 0,
            detail: None,
        }
    }
}

impl CacheTrace {
    /// Takes over what the beginning of a stream shows.
    pub(super) fn follow(&mut self, stream: &ObjectStream) {
        let served = stream.served();
        self.collapsed |= stream.has_collapsed();
        let is_fetched = stream.has_begun_fill() || stream.has_collapsed();
        self.stored = is_fetched;
        if is_fetched && self.result == CacheResult::Hit {
            let is_partial = served.memory + served.disk > 0;
            self.result = if is_partial {
                CacheResult::Partial
            } else {
                CacheResult::Miss
            };
        }
    }
}

impl ObjectReply {
    /// The status.
    pub fn status(&self) -> StatusCode {
        match self.decision {
            Decision::Whole => StatusCode::OK,
            Decision::Part(_) => StatusCode::PARTIAL_CONTENT,
            Decision::NotModified => StatusCode::NOT_MODIFIED,
            Decision::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Decision::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        }
    }

    /// The fields that come from the object; none for an error, which has its own.
    pub fn fields(&self) -> Option<impl Iterator<Item = (HeaderName, HeaderValue)>> {
        let kind = match &self.decision {
            Decision::Whole => AnswerKind::Whole,
            Decision::Part(interval) => AnswerKind::Part(interval),
            Decision::NotModified => AnswerKind::NotModified,
            Decision::PreconditionFailed | Decision::Unsatisfiable => return None,
        };
        Some(self.meta.meta.answer_fields(kind, self.wants_checksums))
    }
}

impl Reply {
    /// Not for the cache.
    pub(super) fn bypass(why: &'static str) -> Self {
        Self::Bypass(why)
    }
}
