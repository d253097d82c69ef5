//! Builds the stages from the configuration and runs them as Pingora services.
