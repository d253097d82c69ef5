//! What we tell people: metrics and the access log.
