//! What there is on the admin listener, and what each path asks of a request.

use http::Method;

/// A path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Index,
    Dashboard,
    Health,
    Ready,
    Metrics,
    Stats,
    Top,
    Explain,
    Config,
    Purge,
    Warm,
    Reload,
}

impl Route {
    pub(super) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Index,
            "/-/dashboard" => Self::Dashboard,
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/-/stats" => Self::Stats,
            "/-/top" => Self::Top,
            "/-/explain" => Self::Explain,
            "/-/config" => Self::Config,
            "/-/purge" => Self::Purge,
            "/-/warm" => Self::Warm,
            "/-/reload" => Self::Reload,
            _ => return None,
        })
    }

    /// Whether it is answered without the token: probes have none, and what they see is of no use to
    /// a stranger; the dashboard is a page that asks for it.
    pub(super) fn is_open(self) -> bool {
        matches!(
            self,
            Self::Index | Self::Dashboard | Self::Health | Self::Ready
        )
    }

    /// The methods, as the field `Allow` lists them.
    pub(super) fn methods(self) -> &'static str {
        if self.is_order() { "POST" } else { "GET, HEAD" }
    }

    pub(super) fn allows(self, method: &Method) -> bool {
        if self.is_order() {
            *method == Method::POST
        } else {
            matches!(*method, Method::GET | Method::HEAD)
        }
    }

    /// Whether it does something.
    fn is_order(self) -> bool {
        matches!(self, Self::Purge | Self::Warm | Self::Reload)
    }

    /// The longest body that is read.
    pub(super) fn max_body(self) -> usize {
        match self {
            Self::Purge => super::purge::MAX_BODY,
            Self::Warm => super::warm::MAX_BODY,
            Self::Reload => super::reload::MAX_BODY,
            _ => 0,
        }
    }
}
