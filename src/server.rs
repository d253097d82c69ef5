//! Builds the stages from the configuration and runs them as Pingora services.

use std::fmt;

use pingora::server::configuration::Opt;

use crate::config::Config;

/// Why the server could not start.
#[derive(Debug)]
pub enum ServerError {
    /// This build has no server yet.
    NotBuilt,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuilt => f.write_str("this build checks configurations but does not serve"),
        }
    }
}

impl std::error::Error for ServerError {}

/// Serves until told to stop.
pub fn run(_config: Config, _opt: Opt) -> Result<(), ServerError> {
    Err(ServerError::NotBuilt)
}
