//! Parameters as clients write them: in an address, or in the body of a form.

use url::form_urlencoded;

/// Decoded parameters in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn of(text: Option<&str>) -> Self {
        Self::of_form(text.unwrap_or_default().as_bytes())
    }

    /// Reads `application/x-www-form-urlencoded`.
    pub fn of_form(body: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(body);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// All values of a parameter, also where it is written as a list (`expand[]`).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let is_it = move |given: &str| given.strip_suffix("[]").unwrap_or(given) == name;
        self.0.iter().filter(move |(given, _)| is_it(given)).map(|(_, value)| value.as_str())
    }

    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Whether a switch is on: Python writes `True`, others `true` or `1`.
    pub fn is_on(&self, name: &str) -> bool {
        self.first(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    /// Whether anything is asked for beyond these parameters.
    pub fn has_others(&self, known: &[&str]) -> bool {
        self.0.iter().any(|(name, _)| !known.contains(&name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_and_lists_are_read() {
        let query = Query::of(Some("recursive=True&expand[]=a&expand=b&blobs=false&p=a%2Fb+c"));
        assert!(query.is_on("recursive") && !query.is_on("blobs") && !query.is_on("none"));
        assert_eq!(query.all("expand").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.first("p"), Some("a/b c"));
        assert!(query.has_others(&["recursive"]) && !Query::of(None).has_others(&[]));
    }
}
