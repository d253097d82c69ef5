//! Who is calling: verifies a request's signature and its payload.
