//! The vocabulary: values only, without I/O, without a clock, without Pingora.

mod addressing;
mod copy_source;
mod credentials;
mod encoding;
mod error_code;
mod names;
mod operation;
mod principal;
mod request;
mod request_head;

pub use addressing::{BaseDomains, Resource};
pub use copy_source::CopySource;
pub use credentials::{Credentials, Secret};
pub use encoding::{encode_key, encode_query};
pub use error_code::ErrorCode;
pub use names::{Bucket, Key};
pub use operation::{Action, Grant, Operation, Right, Scope};
pub use principal::Principal;
pub use request::{Access, Request, Target};
pub use request_head::RequestHead;
