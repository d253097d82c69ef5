//! How we talk to the origin: endpoint, rewriting, signing, credentials, retries.
