//! The vocabulary: values only, without I/O, without a clock, without Pingora.

mod credentials;
mod error_code;
mod principal;
mod request_head;

pub use credentials::{Credentials, Secret};
pub use error_code::ErrorCode;
pub use principal::Principal;
pub use request_head::RequestHead;
