//! Requests and answers of the token service.
