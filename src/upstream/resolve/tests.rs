//! Names to addresses, under a paused clock.
