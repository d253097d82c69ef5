//! The vocabulary: values only, without I/O, without a clock, without Pingora.

mod addressing;
mod byte_range;
mod copy_source;
mod credentials;
mod delete_objects;
mod encoding;
mod error_code;
mod etag;
mod list_buckets;
mod listing;
mod names;
mod object_meta;
mod operation;
mod precondition;
mod principal;
mod request;
mod request_head;
pub mod xml;

pub use addressing::{BaseDomains, Resource};
pub use byte_range::{ByteRange, ContentRange, RangeField, Unsatisfiable};
pub use copy_source::CopySource;
pub use credentials::{Credentials, Secret};
pub use delete_objects::{DeleteObject, DeleteObjects};
pub use encoding::{encode_key, encode_query, encoded_key};
pub use error_code::ErrorCode;
pub use etag::ETag;
pub use list_buckets::{BucketPage, BucketQuery, ListedBucket, write as write_bucket_list};
pub use listing::{ListPage, ListedObject, list_page, listed_objects};
pub use names::{Bucket, GLOB_MARKS, Key};
pub use object_meta::{
    AnswerKind, CHECKSUM_MODE, Checksums, NotCacheable, ObjectMeta, kept_fields, wants_checksums,
};
pub use operation::{Action, Changes, Grant, Operation, Right, Scope};
pub use precondition::{Preconditions, Verdict};
pub use principal::Principal;
pub use request::{Access, Request, Target};
pub use request_head::RequestHead;
