//! The storage as Pingora sees it.
