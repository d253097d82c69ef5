//! Who signed a request.

use std::fmt;
use std::sync::Arc;

/// The identity that a verified request acts as. Rules are looked up by it; it holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A client with static keys, by its configured name.
    Client(Arc<str>),
    /// The holder of a web identity token that the security token service accepted; the value is
    /// the subject it reported.
    WebIdentity(Arc<str>),
    /// Nobody: the request carried no credentials, and a rule may still allow it.
    Anonymous,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(name) => f.write_str(name),
            Self::WebIdentity(subject) => write!(f, "web-identity:{subject}"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}
