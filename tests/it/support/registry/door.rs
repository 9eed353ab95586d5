//! Who gets in: challenges, tokens for exactly the scope that was asked for, Basic credentials; and a token server that is as kind or as
//! sloppy as the test wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use serde_json::{Map, json};

use super::lock;
use crate::support::origin::Answer;

/// How a registry asks who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// Not at all.
    Open,
    /// By a token for each scope.
    Bearer(Tokens),
    /// By name and password on every request.
    Basic,
}

/// A token server's ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub realm: Realm,
    /// Which fields hold the token.
    pub form: Form,
    /// Its life in seconds; left out with `None`.
    pub expires_in: Option<u64>,
    /// Since when it lives, as the server writes it; left out with `None`.
    pub issued_at: Option<String>,
    /// What a POST is answered with; `None` grants.
    pub post: Option<u16>,
    /// Whether those without a name are given tokens for what is public.
    pub anonymous: bool,
    /// What a request gets whose token does not cover it.
    pub uncovered: u16,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            realm: Realm::Here,
            form: Form::Both,
            expires_in: Some(300),
            issued_at: None,
            post: Some(405),
            anonymous: true,
            uncovered: 401,
        }
    }
}

/// Where a challenge says that tokens are given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Realm {
    /// The registry itself, at `/token`.
    Here,
    /// The registry's token host.
    Beside,
    /// Anywhere.
    At(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Token,
    AccessToken,
    Both,
}

/// The name that challenges give the registry.
pub const SERVICE: &str = "registry.example";

/// What is known of people and of the tokens they were given.
#[derive(Default)]
pub struct Register {
    /// Passwords by name.
    users: Mutex<BTreeMap<String, String>>,
    /// Repositories by token, and whether it is still good.
    granted: Mutex<BTreeMap<String, BTreeSet<String>>>,
    numbers: AtomicU64,
}

/// What a request's credentials say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    Nobody,
    User(String),
    /// A token that covers these repositories.
    Bearer(BTreeSet<String>),
    /// Credentials that are no good.
    Wrong,
}

impl Register {
    pub fn admit(&self, user: &str, password: &str) {
        lock(&self.users).insert(user.to_owned(), password.to_owned());
    }

    pub fn dismiss(&self, user: &str) {
        lock(&self.users).remove(user);
    }

    /// Takes back every token that was ever given.
    pub fn revoke_tokens(&self) {
        lock(&self.granted).clear();
    }

    /// Reads `Authorization`.
    pub fn caller(&self, headers: &HeaderMap) -> Caller {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Caller::Nobody };
        let value = value.to_str().unwrap_or_default();
        match value.split_once(' ') {
            Some(("Basic", encoded)) => self.named(encoded).map_or(Caller::Wrong, Caller::User),
            Some(("Bearer", token)) => {
                lock(&self.granted).get(token).cloned().map_or(Caller::Wrong, Caller::Bearer)
            }
            _ => Caller::Wrong,
        }
    }

    fn named(&self, encoded: &str) -> Option<String> {
        let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        self.is_password(user, password).then(|| user.to_owned())
    }

    fn is_password(&self, user: &str, password: &str) -> bool {
        lock(&self.users).get(user).is_some_and(|known| known == password)
    }

    /// Answers a request for a token. `may_read` says who may read what.
    pub fn token(
        &self,
        tokens: &Tokens,
        request: &Request<Bytes>,
        may_read: impl Fn(&str, Option<&str>) -> bool,
    ) -> Answer {
        let fields = match (request.method(), tokens.post) {
            (&Method::GET, _) => form(request.uri().query().unwrap_or_default()),
            (&Method::POST, None) => form(&String::from_utf8_lossy(request.body())),
            (&Method::POST, Some(status)) => return Answer::new(status),
            _ => return Answer::new(405),
        };
        let user = match self.asker(request, &fields) {
            Ok(user) => user,
            Err(answer) => return answer,
        };
        if user.is_none() && !tokens.anonymous {
            return refusal(401, "UNAUTHORIZED", "a name is needed");
        }
        let wanted = fields.iter().filter(|(name, _)| name == "scope");
        let repositories: BTreeSet<String> = wanted
            .flat_map(|(_, scopes)| scopes.split(' '))
            .filter_map(pulled)
            .filter(|repository| may_read(repository, user.as_deref()))
            .map(str::to_owned)
            .collect();
        let token = format!("upstream-secret-{}", self.numbers.fetch_add(1, Ordering::Relaxed));
        lock(&self.granted).insert(token.clone(), repositories);
        Answer::ok("application/json", written(tokens, &token))
    }

    /// Who asks for a token; nobody in particular when no credentials were sent.
    fn asker(
        &self,
        request: &Request<Bytes>,
        fields: &[(String, String)],
    ) -> Result<Option<String>, Answer> {
        let field = |wanted: &str| {
            fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        };
        match (self.caller(request.headers()), field("username"), field("password")) {
            (Caller::User(user), _, _) => Ok(Some(user)),
            (Caller::Nobody, Some(user), Some(password)) if self.is_password(user, password) => {
                Ok(Some(user.to_owned()))
            }
            (Caller::Nobody, None, None) => Ok(None),
            _ => Err(refusal(401, "UNAUTHORIZED", "incorrect username or password")),
        }
    }
}

/// The challenge of a registry for a repository; without one, of its root.
pub fn challenge(realm: &str, repository: Option<&str>, error: Option<&str>) -> String {
    let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{SERVICE}\"");
    if let Some(repository) = repository {
        challenge.push_str(&format!(",scope=\"repository:{repository}:pull\""));
    }
    if let Some(error) = error {
        challenge.push_str(&format!(",error=\"{error}\""));
    }
    challenge
}

/// An error as registries write it.
pub fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({ "errors": [{ "code": code, "message": message, "detail": null }] });
    Answer::new(status).with("content-type", "application/json").of(body.to_string())
}

fn written(tokens: &Tokens, token: &str) -> String {
    let mut document = Map::new();
    if tokens.form != Form::AccessToken {
        document.insert("token".to_owned(), json!(token));
    }
    if tokens.form != Form::Token {
        document.insert("access_token".to_owned(), json!(token));
    }
    if let Some(seconds) = tokens.expires_in {
        document.insert("expires_in".to_owned(), json!(seconds));
    }
    if let Some(issued) = &tokens.issued_at {
        document.insert("issued_at".to_owned(), json!(issued));
    }
    serde_json::Value::Object(document).to_string()
}

/// The repository of a scope that asks to pull: `repository:NAME:pull,push`.
fn pulled(scope: &str) -> Option<&str> {
    let (repository, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    actions.split(',').any(|action| action == "pull").then_some(repository)
}

fn form(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}
