//! The log of the process: `env_logger`, but nothing of what our dependencies say in confidence.
//!
//! Pingora prints whole request heads at debug level: signatures, session tokens, bearer tokens and
//! presigned URLs. `RUST_LOG` cannot bring those out, whatever it says.

use env_logger::Builder;
use env_logger::Env;
use env_logger::Logger;
use log::Level;
use log::Log;
use log::Metadata;
use log::Record;

/// Logs to standard error what `RUST_LOG` asks for, from info on when it asks for nothing.
pub fn init() {
    let logger = Builder::from_env(Env::default().default_filter_or("info")).build();
    let level = logger.filter();
    // Fails when there is a logger already: then that one is in charge.
    if log::set_boxed_logger(Box::new(Discreet(logger))).is_ok() {
        log::set_max_level(level);
    }
}

/// Drops the debug and trace records of other crates.
struct Discreet(Logger);

fn is_ours(target: &str) -> bool {
    target == "s3proxy" || target.starts_with("s3proxy::")
}

impl Log for Discreet {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let may_speak = metadata.level() <= Level::Info || is_ours(metadata.target());
        may_speak && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_details_of_others_stay_out() {
        let logger = Discreet(Builder::new().parse_filters("trace").build());
        let enabled = |target: &str, level: Level| {
            logger.enabled(&Metadata::builder().target(target).level(level).build())
        };
        assert!(enabled("s3proxy::proxy", Level::Trace));
        assert!(enabled("pingora_proxy", Level::Info));
        for target in ["pingora_proxy", "hyper", "aws_config", "s3proxyx", ""] {
            assert!(!enabled(target, Level::Debug), "{target}");
        }
    }
}
