//! What they may do: authorizes a principal for an operation on a bucket and key.
