//! Loading under a paused clock, and the SDK's sources in processes of their own.
