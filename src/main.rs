//! The `s3proxy` command.

fn main() {}
