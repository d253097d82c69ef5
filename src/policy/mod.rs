//! What they may do: authorizes a principal for an operation on a bucket and key.
//!
//! Default deny; an explicit deny wins. Hits and misses ask the same function.

mod statement;

pub use statement::{Action, Grant, Rules, Statement, StatementError};
