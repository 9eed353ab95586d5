//! Challenges and tokens, against a registry of closures: who is asked, with what, and how often.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderMap;

use super::*;
use crate::types::{Head, Secret};
use crate::upstream::{Framing, HostRule};

/// An origin that wants a token, and its token service.
struct World {
    origin: Arc<Origin>,
    challenge: String,
    /// Requests for tokens so far.
    exchanges: AtomicUsize,
    /// The token that the origin accepts is the one of this exchange.
    accepted: AtomicUsize,
    token_answer: Mutex<Answer>,
    asked: Mutex<Vec<OriginRequest>>,
}

/// What the token service says.
#[derive(Clone)]
enum Answer {
    Token(&'static str),
    Status(u16),
}

const ID: [u8; 16] = [7; 16];

impl World {
    fn new(challenge: &str) -> Self {
        let origin = Origin {
            id: "hub".into(),
            base: "https://hub.example/".parse().expect("an address"),
            hosts: Vec::new(),
            credentials: None,
            allow_private: false,
        };
        Self {
            origin: Arc::new(origin),
            challenge: challenge.to_owned(),
            exchanges: AtomicUsize::new(0),
            accepted: AtomicUsize::new(1),
            token_answer: Mutex::new(Answer::Token("300")),
            asked: Mutex::default(),
        }
    }

    fn answer(&self, request: &OriginRequest) -> Sent {
        self.asked.lock().expect("no test panics here").push(request.clone());
        if request.url.path() == "/token" {
            let number = self.exchanges.fetch_add(1, Ordering::SeqCst) + 1;
            let answer = self.token_answer.lock().expect("no test panics here").clone();
            return Ok(match answer {
                Answer::Token(life) => response(
                    200,
                    "",
                    &format!("{{\"token\":\"t{number}\",\"expires_in\":{life}}}"),
                    request,
                ),
                Answer::Status(status) => response(status, "", "", request),
            });
        }
        let accepted = format!("t{}", self.accepted.load(Ordering::SeqCst));
        let is_right = match &request.credentials {
            Some(Credentials::Bearer(token)) => token.expose() == accepted,
            Some(Credentials::Basic { .. }) => self.challenge.starts_with("Basic"),
            _ => false,
        };
        Ok(match is_right {
            true => response(200, "", "body", request),
            false => response(401, &self.challenge, "", request),
        })
    }

    async fn get(&self, tokens: &Tokens, who: Who) -> Result<u16, UpstreamError> {
        let url = "https://hub.example/v2/a/manifests/1".parse().expect("an address");
        let mut request = OriginRequest::get(&self.origin, url);
        request.credentials = Some(Credentials::Challenged(Arc::new(Challenged {
            scope: Some("repository:a:pull".to_owned()),
            token_hosts: vec![HostRule::Exact("auth.example".to_owned())],
            who,
        })));
        let follow = |request: OriginRequest| async move { self.answer(&request) }.boxed();
        tokens.send(request, &follow).await.map(|answer| answer.head.status.as_u16())
    }

    fn exchanges(&self) -> usize {
        self.exchanges.load(Ordering::SeqCst)
    }

    fn asked(&self) -> Vec<OriginRequest> {
        std::mem::take(&mut *self.asked.lock().expect("no test panics here"))
    }
}

fn response(status: u16, challenge: &str, body: &str, request: &OriginRequest) -> OriginResponse {
    let mut headers = HeaderMap::new();
    if !challenge.is_empty() {
        let challenge = challenge.parse().expect("a field value");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    OriginResponse {
        head: Head { status: StatusCode::from_u16(status).expect("a status"), headers },
        hops: Vec::new(),
        url: request.url.clone(),
        elapsed: Duration::ZERO,
        framing: Framing::Delimited,
        body: stream::iter([Ok(body)]).boxed(),
    }
}

fn basic() -> Credentials {
    Credentials::Basic { username: "u".to_owned(), password: Secret::new("p") }
}

fn somebody() -> Who {
    Who::Somebody { id: ID, credentials: basic() }
}

const BEARER: &str =
    "Bearer realm=\"https://auth.example/token\",service=\"hub\",scope=\"repository:a:pull\"";

#[tokio::test(start_paused = true)]
async fn a_token_is_got_once_and_shown_unasked_from_then_on() {
    let (world, tokens) = (World::new(BEARER), Tokens::new());
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(200));
    let asked = world.asked();
    let ways: Vec<&str> = asked.iter().map(|request| request.url.path()).collect();
    assert_eq!(ways, ["/v2/a/manifests/1", "/token", "/v2/a/manifests/1"]);
    assert!(asked[1].credentials.is_none() && asked[1].redirects == Redirects::Pass);
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(200));
    assert_eq!((world.asked().len(), world.exchanges()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn many_at_once_make_one_exchange() {
    let (world, tokens) = (World::new(BEARER), Tokens::new());
    let all = (0..20).map(|_| world.get(&tokens, Who::Nobody));
    let statuses = futures_util::future::join_all(all).await;
    assert!(statuses.iter().all(|status| matches!(status, Ok(200))), "{statuses:?}");
    assert_eq!(world.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends_and_after_it_was_revoked() {
    let (world, tokens) = (World::new(BEARER), Tokens::new());
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(200));
    tokio::time::advance(Duration::from_secs(239)).await;
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(200));
    assert_eq!(world.exchanges(), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    world.accepted.store(2, Ordering::SeqCst);
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(200));
    assert_eq!(world.exchanges(), 2, "renewed at four fifths of its life");
    world.accepted.store(3, Ordering::SeqCst);
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(200));
    assert_eq!(world.exchanges(), 3, "renewed when it was refused");
    tokio::time::advance(Duration::from_secs(301)).await;
    world.accepted.store(4, Ordering::SeqCst);
    world.asked();
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(200));
    assert_eq!(world.asked().len(), 2, "what has ended is not shown");
}

#[tokio::test(start_paused = true)]
async fn a_failed_early_renewal_leaves_the_token_in_use() {
    let (world, tokens) = (World::new(BEARER), Tokens::new());
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(200));
    *world.token_answer.lock().expect("no test panics here") = Answer::Status(503);
    tokio::time::advance(Duration::from_secs(250)).await;
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(200));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(503), "an outage is one");
}

#[tokio::test(start_paused = true)]
async fn credentials_go_to_declared_realms_only() {
    let check = |realm: &'static str, expected: Option<u16>| async move {
        let world = World::new(&format!("Bearer realm=\"{realm}\""));
        let outcome = world.get(&Tokens::new(), somebody()).await;
        match expected {
            Some(status) => assert_eq!(outcome.ok(), Some(status), "{realm}"),
            None => {
                assert!(
                    matches!(outcome, Err(UpstreamError::ForbiddenAddress { .. })),
                    "{realm}: {outcome:?}"
                );
                assert_eq!(world.asked().len(), 1, "{realm} was asked");
            }
        }
    };
    check("https://auth.example/token", Some(200)).await;
    check("https://hub.example/token", Some(200)).await;
    check("https://hub.example:8443/token", Some(200)).await;
    check("http://auth.example/token", None).await;
    check("https://evil.example/token", None).await;
    check("https://auth.example.evil.example/token", None).await;
    check("https://169.254.169.254/token", None).await;
    check("https://u:p@auth.example/token", None).await;
    check("ftp://auth.example/token", None).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_token_service_says_is_told_apart() {
    for (status, expected) in [
        (400, Ok(401)),
        (401, Ok(401)),
        (403, Ok(401)),
        (404, Ok(401)),
        (429, Ok(429)),
        (503, Ok(503)),
        (302, Err(())),
        (201, Err(())),
    ] {
        let world = World::new(BEARER);
        *world.token_answer.lock().expect("no test panics here") = Answer::Status(status);
        let outcome = world.get(&Tokens::new(), somebody()).await.map_err(|_| ());
        assert_eq!(outcome, expected, "{status}");
    }
    let world = World::new(BEARER);
    *world.token_answer.lock().expect("no test panics here") = Answer::Token("\"x\"");
    assert!(world.get(&Tokens::new(), somebody()).await.is_err(), "nonsense for a token");
}

#[tokio::test(start_paused = true)]
async fn somebody_is_known_for_a_while() {
    let (world, tokens) = (World::new(BEARER), Tokens::new());
    let known = || Who::Known { id: ID };
    assert_eq!(world.get(&tokens, known()).await.ok(), Some(401), "not known yet");
    assert_eq!(world.exchanges(), 0);
    assert_eq!(world.get(&tokens, somebody()).await.ok(), Some(200));
    let shown = world.asked().into_iter().find(|request| request.url.path() == "/token");
    assert_eq!(shown.and_then(|request| request.credentials), Some(basic()));
    assert_eq!(world.get(&tokens, known()).await.ok(), Some(200));
    let other = Who::Known { id: [8; 16] };
    assert_eq!(world.get(&tokens, other).await.ok(), Some(401), "somebody else");
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(401), "tokens are not shared");
}

#[tokio::test(start_paused = true)]
async fn basic_challenges_are_answered_with_basic_credentials() {
    let (world, tokens) = (World::new("Basic realm=\"hub\""), Tokens::new());
    assert_eq!(world.get(&tokens, Who::Nobody).await.ok(), Some(401));
    assert_eq!(world.get(&tokens, somebody()).await.ok(), Some(200));
    world.asked();
    assert_eq!(world.get(&tokens, somebody()).await.ok(), Some(200));
    assert_eq!((world.asked().len(), world.exchanges()), (1, 0));
}
