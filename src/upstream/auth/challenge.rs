//! Reads `WWW-Authenticate` (RFC 9110 section 11.6.1). Pure.

use http::{HeaderMap, header};
use url::Url;

/// What an origin wants to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    /// A token from `realm`, which is given `service` and `scope`.
    Bearer(Bearer),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub realm: Url,
    pub service: Option<String>,
    pub scope: Option<String>,
}

/// The challenge to answer: the first Bearer one that makes sense, else Basic.
pub fn read(headers: &HeaderMap) -> Option<Challenge> {
    let lines = headers.get_all(header::WWW_AUTHENTICATE).iter();
    let schemes: Vec<Scheme> =
        lines.filter_map(|line| line.to_str().ok()).flat_map(schemes).collect();
    let bearer = schemes.iter().filter(|scheme| scheme.is("bearer")).find_map(Scheme::bearer);
    let basic = schemes.iter().any(|scheme| scheme.is("basic"));
    bearer.map(Challenge::Bearer).or_else(|| basic.then_some(Challenge::Basic))
}

/// A scheme with its parameters.
#[derive(Debug, Default)]
struct Scheme {
    name: String,
    parameters: Vec<(String, String)>,
}

impl Scheme {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn bearer(&self) -> Option<Bearer> {
        let text = |name| self.parameter(name).map(str::to_owned);
        let realm = Url::parse(self.parameter("realm")?).ok()?;
        Some(Bearer { realm, service: text("service"), scope: text("scope") })
    }
}

/// Takes a line apart: `Bearer realm="a,b",service="c", Basic realm="d"`. A word that no `=` follows begins a scheme.
fn schemes(line: &str) -> Vec<Scheme> {
    let mut found: Vec<Scheme> = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if word.is_empty() {
            // At the end, or at nonsense: what was read so far counts.
            return found;
        }
        let after = behind.trim_start_matches([' ', '\t']);
        match after.strip_prefix('=') {
            Some(value) => {
                let (value, left) = parameter_value(value.trim_start_matches([' ', '\t']));
                if let Some(scheme) = found.last_mut() {
                    scheme.parameters.push((word.to_owned(), value));
                }
                rest = left;
            }
            None => {
                found.push(Scheme { name: word.to_owned(), parameters: Vec::new() });
                rest = behind;
            }
        }
    }
}

/// A token or a quoted string, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: Option<(&str, Option<&str>, Option<&str>)>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::WWW_AUTHENTICATE, line.parse().expect("a field value"));
        }
        let got = read(&headers);
        match (got, expected) {
            (Some(Challenge::Bearer(bearer)), Some((realm, service, scope))) => {
                assert_eq!(bearer.realm.as_str(), realm, "{lines:?}");
                assert_eq!((bearer.service.as_deref(), bearer.scope.as_deref()), (service, scope));
            }
            (Some(Challenge::Basic), Some(("basic", ..))) | (None, None) => {}
            (got, _) => panic!("{lines:?}: {got:?}"),
        }
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        check(
            &[
                r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#,
            ],
            Some((
                "https://auth.example/token",
                Some("r.example"),
                Some("repository:a/b:pull,push"),
            )),
        );
        check(
            &[r#"bearer Realm = "https://a.example/t?x=1" , service=r, error="invalid_token""#],
            Some(("https://a.example/t?x=1", Some("r"), None)),
        );
        check(
            &["Basic realm=\"r\"", "Bearer realm=\"https://a.example/t\""],
            Some(("https://a.example/t", None, None)),
        );
        check(
            &[
                r#"Negotiate, Basic realm="a, Bearer realm=x", Bearer realm="https://a.example/\"t""#,
            ],
            Some(("https://a.example/%22t", None, None)),
        );
        check(&["BASIC"], Some(("basic", None, None)));
        check(&["Basic realm=\"x\", Bearer service=\"y\""], Some(("basic", None, None)));
        check(&["Bearer realm=\"no address\""], None);
        check(&["Digest realm=\"x\""], None);
        check(&["realm=\"https://a.example/\""], None);
        check(&["=,=\"\"", "Bearer \"x"], None);
        check(&[], None);
    }
}
