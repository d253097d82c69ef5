//! The dashboard: one page that holds everything it needs, and no data. It asks this listener for the
//! figures as anybody else would, with the token where there is one.
//!
//! Names of buckets, keys and clients come from strangers. The page writes them as text only, and its
//! policy is the second line: nothing runs that is not the page's own script, by its hash; nothing is
//! asked for but from here; and no text can become markup ([Trusted Types]).
//!
//! [Trusted Types]: https://www.w3.org/TR/trusted-types/

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::Response;
use http::StatusCode;
use http::header;
use http::header::HeaderValue;
use sha2::Digest;
use sha2::Sha256;

use super::pages::Page;

const MARKUP: &str = include_str!("index.html");

const STYLE: &str = include_str!("style.css");

/// In the order in which they need each other.
const SCRIPTS: [&str; 4] = [
    include_str!("format.js"),
    include_str!("past.js"),
    include_str!("plot.js"),
    include_str!("app.js"),
];

/// Where the markup takes the style and the script.
const STYLE_PLACE: &str = "/* style.css */";
const SCRIPT_PLACE: &str = "/* *.js */";

static DASHBOARD: LazyLock<Dashboard> = LazyLock::new(Dashboard::assemble);

struct Dashboard {
    html: String,
    policy: HeaderValue,
}

impl Dashboard {
    fn assemble() -> Self {
        let script = SCRIPTS.join("\n");
        let html = MARKUP
            .replace(STYLE_PLACE, STYLE)
            .replace(SCRIPT_PLACE, &script);
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
            source(&script),
            source(STYLE),
        );
        Self {
            html,
            policy: HeaderValue::try_from(policy).expect("a policy is plain ASCII"),
        }
    }
}

/// How a policy names the contents of an element.
fn source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// The page.
pub(super) fn page() -> Response<Vec<u8>> {
    let dashboard = &*DASHBOARD;
    let mut response = Page::html(StatusCode::OK, &dashboard.html).into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_SECURITY_POLICY, dashboard.policy.clone());
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::VARY, "accept"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether whoever asks is a browser, which says that it takes HTML.
pub(super) fn is_wanted(fields: &HeaderMap) -> bool {
    let mut values = fields.get_all(header::ACCEPT).iter();
    values.any(|value| {
        let types = value.to_str().unwrap_or_default().split(',');
        let mut names = types.map(|kind| kind.split(';').next().unwrap_or_default().trim());
        names.any(|name| name.eq_ignore_ascii_case("text/html"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands between the tags of the only element of this name.
    fn contents<'a>(html: &'a str, open: &str, close: &str) -> &'a str {
        assert_eq!(html.matches(open).count(), 1, "{open}");
        assert_eq!(html.matches(close).count(), 1, "{close}");
        let rest = html.split_once(open).unwrap().1;
        rest.split_once(close).unwrap().0
    }

    #[test]
    fn the_policy_allows_this_script_and_style_and_no_other() {
        let page = page();
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .to_owned();
        let html = String::from_utf8(page.into_body()).unwrap();
        let script = contents(&html, "<script type=\"module\">", "</script>");
        let style = contents(&html, "<style>", "</style>");
        assert!(script.contains("fetch(") && style.contains("--"));
        for part in [
            "default-src 'none'".to_owned(),
            format!("script-src '{}'", source(script)),
            format!("style-src '{}'", source(style)),
            "connect-src 'self'".to_owned(),
            "frame-ancestors 'none'".to_owned(),
        ] {
            assert!(policy.split("; ").any(|given| given == part), "{part}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    /// Nothing is loaded from anywhere, and no text is ever read as markup.
    #[test]
    fn the_page_is_all_there_is() {
        let html = &DASHBOARD.html;
        for place in [STYLE_PLACE, SCRIPT_PLACE] {
            assert!(!html.contains(place), "{place}");
        }
        let elsewhere = html.replace("http://www.w3.org/2000/svg", "");
        for bad in [
            "://",
            "src=",
            "@import",
            "url(",
            " style=",
            " onclick=",
            "javascript:",
        ] {
            assert!(!elsewhere.contains(bad), "{bad}");
        }
        for bad in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "localStorage.setItem(\"token",
        ] {
            assert!(!html.contains(bad), "{bad}");
        }
    }

    #[test]
    fn a_browser_is_known_by_what_it_takes() {
        let wants = |accept: &[&str]| {
            let mut fields = HeaderMap::new();
            for value in accept {
                fields.append(header::ACCEPT, value.parse().unwrap());
            }
            is_wanted(&fields)
        };
        assert!(wants(&["text/html,application/xhtml+xml,*/*;q=0.8"]));
        assert!(wants(&["application/json", "Text/HTML;q=0.5"]));
        for other in [
            &[][..],
            &["*/*"],
            &["text/*"],
            &["text/htmlx"],
            &["application/json"],
        ] {
            assert!(!wants(other), "{other:?}");
        }
    }
}
