//! The SigV4 algorithm only, shared by verifying and signing: canonical request, scope, signing key, chunks.
