//! Answers challenges: a request that is refused with 401 is sent again with what the origin asked to be shown.
//!
//! Tokens are kept in memory by origin, scope and identity: one exchange serves everybody who waits for it, and a token is renewed a while before
//! it ends, by one request, while the others use the old one. A token service is asked only where the origin's declaration allows it, over https
//! unless the origin itself is plain, and its redirects lead nowhere: an origin's word alone must not send a secret to another host.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, Method, StatusCode, header};
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use url::Url;

use super::redirect::{forbidden, host_of};
use super::{
    Challenged, Credentials, Origin, OriginRequest, OriginResponse, OutgoingBody, Redirects,
    UpstreamError, Who,
};
use challenge::{Bearer, Challenge};
use token::Token;

pub(crate) mod challenge;
#[cfg(test)]
mod tests;
mod token;

/// Identities, scopes and origins that are remembered at once.
const MOST_SLOTS: u64 = 20_000;

/// How long what nobody uses is remembered; credentials that were shown once are forgotten with it.
const IDLE: Duration = Duration::from_secs(15 * 60);

/// The largest answer of a token service. Tokens themselves can have many KiB.
const ANSWER_LIMIT_BYTES: usize = 1 << 20;

/// Longest that the body of such an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// A token is renewed when this part of its life is over: 4 of 5.
const RENEWED_AFTER: (u32, u32) = (4, 5);

/// What came of a request.
pub type Sent = Result<OriginResponse, UpstreamError>;

/// Sends a request by itself, challenges unanswered.
pub type Follow<'a> = dyn Fn(OriginRequest) -> BoxFuture<'a, Sent> + Send + Sync + 'a;

/// All tokens of this process.
#[derive(Debug)]
pub struct Tokens {
    slots: Cache<String, Arc<Slot>>,
}

/// What is known of one identity at one origin for one scope.
#[derive(Debug)]
struct Slot {
    state: Mutex<State>,
    /// Whoever asks the token service holds it.
    turn: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    challenge: Option<Challenge>,
    identity: Option<Credentials>,
    shown: Option<Shown>,
}

/// What the origin accepts, and until when.
#[derive(Debug, Clone)]
struct Shown {
    credentials: Credentials,
    renew_at: Instant,
    /// `None`: it does not end.
    ends: Option<Instant>,
}

/// What came of an exchange.
enum Exchanged {
    Granted(Credentials),
    /// The challenge stands.
    Refused,
    /// The token service is out of order; its answer is the answer.
    Instead(Box<OriginResponse>),
}

/// One request whose challenge can be answered.
struct Errand<'e, 'f> {
    slot: Arc<Slot>,
    origin: &'e Arc<Origin>,
    challenged: &'e Challenged,
    follow: &'e Follow<'f>,
}

impl Tokens {
    pub fn new() -> Self {
        Self { slots: Cache::builder().max_capacity(MOST_SLOTS).time_to_idle(IDLE).build() }
    }

    /// Sends a request and, where it may, answers a challenge once.
    pub async fn send(&self, request: OriginRequest, follow: &Follow<'_>) -> Sent {
        let given = request.credentials.as_ref().or(request.origin.credentials.as_ref());
        let (Some(Credentials::Challenged(challenged)), OutgoingBody::Empty) =
            (given, &request.body)
        else {
            return follow(request).await;
        };
        let challenged = Arc::clone(challenged);
        let slot = self.slot(&request.origin, &challenged);
        let errand = Errand { slot, origin: &request.origin, challenged: &challenged, follow };
        let shown = match errand.at_hand().await? {
            None => None,
            Some(Exchanged::Granted(credentials)) => Some(credentials),
            Some(Exchanged::Refused) => None,
            Some(Exchanged::Instead(answer)) => return Ok(*answer),
        };
        let mut response = follow(with(&request, shown.as_ref())).await?;
        let is_challenge =
            response.head.status == StatusCode::UNAUTHORIZED && request.origin.owns(&response.url);
        let Some(challenge) = challenge::read(&response.head.headers).filter(|_| is_challenge)
        else {
            return Ok(response);
        };
        // The answer's body holds a place at its host, which the token service may be as well.
        response.body = stream::empty().boxed();
        errand.slot.state().challenge = Some(challenge);
        match errand.renew(shown.as_ref()).await? {
            Exchanged::Granted(credentials) => follow(with(&request, Some(&credentials))).await,
            Exchanged::Refused => Ok(response),
            Exchanged::Instead(answer) => Ok(*answer),
        }
    }

    fn slot(&self, origin: &Origin, challenged: &Challenged) -> Arc<Slot> {
        let who = match &challenged.who {
            Who::Nobody => "-".to_owned(),
            Who::Somebody { id, .. } | Who::Known { id } => hex::encode(id),
        };
        let scope = challenged.scope.as_deref().unwrap_or_default();
        let name = format!("{} {} {scope} {who}", origin.id, origin.base);
        let slot = self.slots.get_with(name, || Arc::new(Slot::new()));
        if let Who::Somebody { credentials, .. } = &challenged.who {
            slot.state().identity = Some(credentials.clone());
        }
        slot
    }
}

impl Slot {
    fn new() -> Self {
        Self { state: Mutex::default(), turn: Semaphore::new(1) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Errand<'_, '_> {
    /// What to show without being asked: what was accepted before. `None`: nothing was.
    async fn at_hand(&self) -> Result<Option<Exchanged>, UpstreamError> {
        let Some(shown) = self.slot.state().shown.clone() else { return Ok(None) };
        let now = Instant::now();
        if now < shown.renew_at {
            return Ok(Some(Exchanged::Granted(shown.credentials)));
        }
        if shown.ends.is_some_and(|ends| now >= ends) {
            return self.renew(Some(&shown.credentials)).await.map(Some);
        }
        if let Ok(_turn) = self.slot.turn.try_acquire()
            && let Ok(Exchanged::Granted(renewed)) = self.exchange().await
        {
            return Ok(Some(Exchanged::Granted(renewed)));
        }
        Ok(Some(Exchanged::Granted(shown.credentials)))
    }

    /// Gets something else to show than what was `refused`: what somebody else got meanwhile, or a new token.
    async fn renew(&self, refused: Option<&Credentials>) -> Result<Exchanged, UpstreamError> {
        let _turn = self.slot.turn.acquire().await.expect("this semaphore is never closed");
        let now = Instant::now();
        let meanwhile = self.slot.state().shown.clone().filter(|shown| {
            Some(&shown.credentials) != refused && shown.ends.is_none_or(|ends| now < ends)
        });
        if let Some(shown) = meanwhile {
            return Ok(Exchanged::Granted(shown.credentials));
        }
        let exchanged = self.exchange().await?;
        match &exchanged {
            Exchanged::Granted(credentials) if Some(credentials) != refused => Ok(exchanged),
            Exchanged::Instead(_) => Ok(exchanged),
            // What was refused a moment ago would be refused again.
            Exchanged::Granted(_) | Exchanged::Refused => {
                self.slot.state().shown = None;
                Ok(Exchanged::Refused)
            }
        }
    }

    /// Answers the challenge that the slot remembers. The caller holds the turn.
    async fn exchange(&self) -> Result<Exchanged, UpstreamError> {
        let (challenge, identity) = {
            let state = self.slot.state();
            (state.challenge.clone(), state.identity.clone())
        };
        let Some(challenge) = challenge else { return Ok(Exchanged::Refused) };
        let is_anonymous = matches!(self.challenged.who, Who::Nobody);
        match (challenge, identity) {
            // Whoever was given a token for the registry itself needs no exchange.
            (_, Some(identity @ Credentials::Bearer(_))) => Ok(self.granted(identity, None)),
            (Challenge::Basic, Some(identity)) => Ok(self.granted(identity, None)),
            (Challenge::Bearer(bearer), identity) if is_anonymous || identity.is_some() => {
                self.ask(&bearer, identity).await
            }
            (Challenge::Basic | Challenge::Bearer(_), _) => Ok(Exchanged::Refused),
        }
    }

    /// Asks the token service.
    async fn ask(
        &self,
        bearer: &Bearer,
        identity: Option<Credentials>,
    ) -> Result<Exchanged, UpstreamError> {
        let request = self.token_request(bearer, identity)?;
        let host = host_of(&request.url);
        let mut answer = (self.follow)(request).await?;
        let status = answer.head.status;
        let outcome = match status {
            StatusCode::OK => "granted",
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "refused",
            _ => "failed",
        };
        let origin = self.origin.id.to_string();
        metrics::counter!("larder_upstream_tokens_total", "origin" => origin, "outcome" => outcome)
            .increment(1);
        let malformed = |detail: String| UpstreamError::Malformed { host: host.clone(), detail };
        match status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND => return Ok(Exchanged::Refused),
            StatusCode::TOO_MANY_REQUESTS => return Ok(Exchanged::Instead(Box::new(answer))),
            status if status.is_server_error() => {
                return Ok(Exchanged::Instead(Box::new(answer)));
            }
            other => return Err(malformed(format!("its token service answered {other}"))),
        }
        let reading = timeout(ANSWER_LIMIT, body(&mut answer)).await;
        let Ok(body) = reading else {
            return Err(UpstreamError::TimedOut { host, stage: "body" });
        };
        let Some(Token { secret, life }) = body?.and_then(|body| token::read(&answer.head, &body))
        else {
            return Err(malformed("its token service gave no token".to_owned()));
        };
        Ok(self.granted(Credentials::Bearer(secret), Some(life)))
    }

    /// A question to the service that a challenge names, if the origin's declaration allows that.
    fn token_request(
        &self,
        bearer: &Bearer,
        identity: Option<Credentials>,
    ) -> Result<OriginRequest, UpstreamError> {
        let url = token::address(bearer, self.challenged.scope.as_deref());
        let mut request = OriginRequest::get(self.origin, url);
        if !self.allows(&bearer.realm) {
            return Err(forbidden(&request, &bearer.realm));
        }
        // An origin of its own, so that what is shown there goes there and nowhere else.
        request.origin = Arc::new(Origin {
            id: Arc::clone(&self.origin.id),
            base: request.url.clone(),
            hosts: Vec::new(),
            credentials: None,
            allow_private: self.origin.allow_private,
        });
        request.method = Method::GET;
        request.credentials = identity;
        request.redirects = Redirects::Pass;
        let identity_only = HeaderValue::from_static("identity");
        request.headers.insert(header::ACCEPT_ENCODING, identity_only);
        Ok(request)
    }

    fn allows(&self, realm: &Url) -> bool {
        let Some(host) = realm.host_str() else { return false };
        let scheme_fits = match realm.scheme() {
            "https" => true,
            "http" => self.origin.base.scheme() == "http",
            _ => false,
        };
        let own = self.origin.base.host() == realm.host();
        let declared = self.challenged.token_hosts.iter().any(|rule| rule.covers(host));
        let is_plain = realm.username().is_empty() && realm.password().is_none();
        scheme_fits && (own || declared) && is_plain
    }

    /// Remembers what the origin wants to be shown.
    fn granted(&self, credentials: Credentials, life: Option<Duration>) -> Exchanged {
        let now = Instant::now();
        let (part, whole) = RENEWED_AFTER;
        let far = now + IDLE * 1000;
        let shown = Shown {
            credentials: credentials.clone(),
            renew_at: life.map_or(far, |life| now + life * part / whole),
            ends: life.map(|life| now + life),
        };
        self.slot.state().shown = Some(shown);
        Exchanged::Granted(credentials)
    }
}

/// The request with what is to be shown; with nothing, the challenge is waited for.
fn with(request: &OriginRequest, shown: Option<&Credentials>) -> OriginRequest {
    let mut request = request.clone();
    if let Some(shown) = shown {
        request.credentials = Some(shown.clone());
    }
    request
}

/// The body of a token service's answer; `None` when it is too large to be one.
async fn body(answer: &mut OriginResponse) -> Result<Option<BytesMut>, UpstreamError> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = answer.body.try_next().await? {
        if whole.len() + chunk.len() > ANSWER_LIMIT_BYTES {
            return Ok(None);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(Some(whole))
}
