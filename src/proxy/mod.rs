//! The request path: Pingora's phases in the order they happen.
