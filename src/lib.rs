//! s3proxy.
