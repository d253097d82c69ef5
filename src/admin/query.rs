//! The query of a request to the admin listener.

/// Names and values, each name known and once at most.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads a query in which these names may stand; what is wrong otherwise.
    pub(super) fn parse(query: &str, names: &[&'static str]) -> Result<Self, String> {
        let mut pairs: Vec<(&'static str, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_encoding::percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| format!("`{name}` is not UTF-8"))?;
            let known = names.iter().find(|known| **known == name);
            let known = known.ok_or_else(|| format!("there is no parameter `{name}`"))?;
            if pairs.iter().any(|(given, _)| given == known) {
                return Err(format!("`{name}` stands there twice"));
            }
            pairs.push((known, value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(given, _)| *given == name)?;
        Some(&pair.1)
    }

    /// The same, as a number; what is wrong when it is none.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let number = |text: &str| text.parse().map_err(|_| format!("`{name}` is no number"));
        self.get(name).map(number).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_each_known_name_once() {
        let query = Query::parse("b=x%2Fy+z&a&", &["a", "b", "c"]).unwrap();
        assert_eq!(query.get("a"), Some(""));
        assert_eq!(query.get("b"), Some("x/y+z"));
        assert_eq!(query.get("c"), None);
        for (bad, why) in [
            ("d=1", "there is no parameter `d`"),
            ("a=1&a=1", "`a` stands there twice"),
            ("a=%ff", "`a` is not UTF-8"),
        ] {
            assert_eq!(Query::parse(bad, &["a"]), Err(why.to_owned()));
        }
        let query = Query::parse("a=7&b=x", &["a", "b"]).unwrap();
        assert_eq!(query.number::<u32>("a"), Ok(Some(7)));
        assert_eq!(query.number::<u32>("c"), Ok(None));
        assert!(query.number::<u32>("b").is_err());
    }
}
