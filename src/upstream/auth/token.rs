//! The exchange with a token service: what it is asked, and what its answer is worth. Pure.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::challenge::Bearer;
use crate::types::{Head, Secret, Timestamp};

/// How long a token is good for when its service does not say; also the least that clients count with, because services that predate the rule
/// named less and meant more.
const LEAST_LIFE: Duration = Duration::from_secs(60);

/// What is left of a token at least, whatever its service's clock says: else each question would need a token of its own.
const LEAST_LEFT: Duration = Duration::from_secs(10);

/// The longest that a token is used without asking again.
const MOST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// A token and how long it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub secret: Secret,
    pub life: Duration,
}

#[derive(Deserialize)]
struct Json {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
    #[serde(default)]
    issued_at: Option<String>,
}

/// Where a token is asked for. `scope` counts when the challenge names none.
pub fn address(bearer: &Bearer, scope: Option<&str>) -> Url {
    let mut url = bearer.realm.clone();
    url.set_fragment(None);
    let scope = bearer.scope.as_deref().or(scope);
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &bearer.service {
            query.append_pair("service", service);
        }
        for one in scope.into_iter().flat_map(|scopes| scopes.split(' ')) {
            if !one.is_empty() {
                query.append_pair("scope", one);
            }
        }
    }
    if url.query() == Some("") {
        url.set_query(None);
    }
    url
}

/// Reads the answer. How much of a token's life has passed is told by the service's own clock, so that ours does not matter.
pub fn read(head: &Head, body: &[u8]) -> Option<Token> {
    let json: Json = serde_json::from_slice(body).ok()?;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let secret = given(&json.token).or_else(|| given(&json.access_token))?;
    let life = match json.expires_in {
        Some(seconds) if seconds.is_finite() && seconds > 0.0 => {
            Duration::try_from_secs_f64(seconds).unwrap_or(MOST_LIFE)
        }
        _ => LEAST_LIFE,
    };
    let spent = json.issued_at.as_deref().and_then(|text| spent(head, text)).unwrap_or_default();
    let life = life.clamp(LEAST_LIFE, MOST_LIFE).saturating_sub(spent).max(LEAST_LEFT);
    Some(Token { secret: Secret::new(secret), life })
}

/// The time between a token's issue and the answer.
fn spent(head: &Head, issued: &str) -> Option<Duration> {
    let now = Timestamp::from_http_date(head.text(&http::header::DATE)?)?;
    let issued: jiff::Timestamp = issued.parse().ok()?;
    let issued = u64::try_from(issued.as_second()).ok()?;
    Some(now.since(Timestamp::from_secs(issued)))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode};

    use super::*;

    #[test]
    fn a_token_is_asked_for_in_the_services_words() {
        let check = |realm: &str, scope: Option<&str>, own: Option<&str>, expected: &str| {
            let realm = Url::parse(realm).expect("an address");
            let service = Some("r.example".to_owned());
            let bearer = Bearer { realm, service, scope: scope.map(str::to_owned) };
            assert_eq!(address(&bearer, own).as_str(), expected);
        };
        check(
            "https://a.example/token",
            Some("repository:a/b:pull"),
            Some("other"),
            "https://a.example/token?service=r.example&scope=repository%3Aa%2Fb%3Apull",
        );
        check(
            "https://a.example/token?x=1",
            None,
            Some("a b"),
            "https://a.example/token?x=1&service=r.example&scope=a&scope=b",
        );
        check("https://a.example/token", None, None, "https://a.example/token?service=r.example");
    }

    #[test]
    fn lives_are_read_and_bounded() {
        let check = |body: &str, expected: Option<u64>| {
            let mut head = Head::new(StatusCode::OK);
            let date = HeaderValue::from_static("Mon, 23 Nov 2026 10:00:00 GMT");
            head.headers.insert(http::header::DATE, date);
            let life = read(&head, body.as_bytes()).map(|token| token.life.as_secs());
            assert_eq!(life, expected, "{body}");
        };
        check(r#"{"token":"t"}"#, Some(60));
        check(r#"{"access_token":"t","expires_in":300}"#, Some(300));
        check(r#"{"token":"","access_token":"t","expires_in":300,"issued_at":""}"#, Some(300));
        check(r#"{"token":"t","expires_in":300,"issued_at":"2026-11-23T09:59:00Z"}"#, Some(240));
        check(r#"{"token":"t","expires_in":300,"issued_at":"2026-11-23T09:00:00Z"}"#, Some(10));
        check(r#"{"token":"t","expires_in":300,"issued_at":"2026-11-23T10:05:00Z"}"#, Some(300));
        check(r#"{"token":"t","expires_in":5}"#, Some(60));
        check(r#"{"token":"t","expires_in":-5}"#, Some(60));
        check(r#"{"token":"t","expires_in":1e300}"#, Some(86_400));
        check(r#"{"token":null,"access_token":null}"#, None);
        check("<html>", None);
    }
}
