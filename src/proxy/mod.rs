//! The request path: Pingora's phases in the order they happen.

mod limits;

pub use limits::Limits;
