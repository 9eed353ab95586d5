//! The same question again: answers of this very moment, given out as they are.
//!
//! A hit costs more to plan, look up and put together than to send, and machines that build the same thing ask the same questions at the same time. So what was
//! asked twice within a [`Moment`] is remembered for the rest of it. A moment lasts for one second of the clock at most, which is the unit that `Age`
//! and lifetimes are told in, and ends as soon as the cache learns anything at all; then everything is forgotten. An answer is given again only
//! to a request that was let in and is the same in every field. So nothing here needs to know what is fresh, who may read what, or what an
//! adapter looks at: all that could make another answer is the same.
//!
//! Left out: answers that anything was waited for, errors, large bodies in memory (their head is the lesser part of the work).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use subtle::ConstantTimeEq;

use crate::cache::body::Again;
use crate::proxy::access::{Admitted, Forwarded};
use crate::proxy::deliver::Content;
use crate::server::{AccessNote, Moment, Peer, Repeatable};

/// Parts that are locked apart from each other.
const SHARDS: u64 = 16;

/// What the answers of one part may cost. Mostly they share their bodies with the caches that they came from.
const SHARD_BYTES: usize = 4 << 20;

/// Questions of one part that are noted as asked once.
const MOST_MET: usize = 8 << 10;

/// Answers to one address: clients differ in the fields that they send.
const MOST_ALIKE: usize = 8;

/// The largest body in memory.
const MOST_BODY_BYTES: usize = 256 << 10;

/// A request that was let in: all of it that can shape an answer.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    method: &'a Method,
    target: &'a Uri,
    headers: &'a HeaderMap,
    client: Option<&'a str>,
    class: Option<u64>,
    forwarded: Forwarded<'a>,
    local: SocketAddr,
    tls: bool,
    /// The client's network, where answers to different ones are told apart.
    network: Option<IpAddr>,
}

impl<'a> Question<'a> {
    pub(crate) const fn new(
        method: &'a Method,
        target: &'a Uri,
        headers: &'a HeaderMap,
        admitted: &Admitted<'a>,
        peer: &Peer,
    ) -> Self {
        let Admitted { client, class, forwarded, .. } = *admitted;
        let (local, tls) = (peer.local, peer.tls);
        Self { method, target, headers, client, class, forwarded, local, tls, network: None }
    }

    /// The same from a client of this network.
    pub(crate) const fn of(self, network: Option<IpAddr>) -> Self {
        Self { network, ..self }
    }
}

/// A question that was met before in its moment, so that its answer is worth remembering.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance {
    name: u64,
    moment: Moment,
}

/// Answers of this moment.
pub(crate) struct Repeats {
    shards: [Mutex<Shard>; SHARDS as usize],
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    moment: Moment,
    /// Names of questions that were asked.
    met: HashSet<u64>,
    answers: HashMap<u64, Vec<Answer>>,
    bytes: usize,
}

struct Answer {
    asked: Asked,
    status: StatusCode,
    headers: HeaderMap,
    body: Again,
    note: AccessNote,
}

/// A question of its own.
struct Asked {
    method: Method,
    target: Uri,
    headers: HeaderMap,
    client: Option<String>,
    class: Option<u64>,
    scheme: Option<&'static str>,
    host: Option<String>,
    local: SocketAddr,
    tls: bool,
    network: Option<IpAddr>,
}

impl Repeats {
    pub(crate) fn new() -> Self {
        Self { shards: Default::default(), hasher: RandomState::new() }
    }

    /// The answer that the same question got in the same moment. Failing that, the chance to remember the one that it gets now.
    pub(crate) fn recall(
        &self,
        question: &Question<'_>,
        moment: Moment,
    ) -> Result<Response<Content>, Option<Chance>> {
        if !matches!(*question.method, Method::GET | Method::HEAD) {
            return Err(None);
        }
        let target = question.target.path_and_query().map_or("", |target| target.as_str());
        let name = self.hasher.hash_one(target);
        let mut shard = self.shard(name);
        if moment.supersedes(shard.moment) {
            shard.begin(moment);
        }
        if moment != shard.moment {
            return Err(None);
        }
        let mut alike = shard.answers.get(&name).into_iter().flatten();
        if let Some(answer) = alike.find(|answer| answer.asked.is(question)) {
            return answer.response(moment).ok_or(None);
        }
        let was_met = shard.met.contains(&name);
        if !was_met && shard.met.len() < MOST_MET {
            shard.met.insert(name);
        }
        Err(was_met.then_some(Chance { name, moment }))
    }

    /// Remembers the answer to a question, if it is one that can be given again and there is room; and tells the server, which has a shorter way for it.
    pub(crate) fn remember(
        &self,
        chance: Chance,
        question: &Question<'_>,
        response: &mut Response<Content>,
    ) {
        let Some(answer) = Answer::new(question, response) else { return };
        answer.mark(response, chance.moment);
        let cost = answer.cost();
        let mut shard = self.shard(chance.name);
        if shard.moment != chance.moment || shard.bytes + cost > SHARD_BYTES {
            return;
        }
        let alike = shard.answers.entry(chance.name).or_default();
        if alike.len() < MOST_ALIKE && !alike.iter().any(|other| other.asked.is(question)) {
            alike.push(answer);
            shard.bytes += cost;
        }
    }

    fn shard(&self, name: u64) -> MutexGuard<'_, Shard> {
        // What a panic left half done is at worst an answer that is not remembered.
        let index = usize::try_from(name % SHARDS).unwrap_or_default();
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn begin(&mut self, moment: Moment) {
        self.moment = moment;
        self.met.clear();
        self.answers.clear();
        self.bytes = 0;
    }
}

impl Answer {
    fn new(question: &Question<'_>, response: &Response<Content>) -> Option<Self> {
        let Content::Cached(body) = response.body() else { return None };
        let body = body.again().filter(|body| body.bytes() <= MOST_BODY_BYTES)?;
        Some(Self {
            asked: Asked::new(question),
            status: response.status(),
            headers: response.headers().clone(),
            body,
            note: response.extensions().get::<AccessNote>().cloned().unwrap_or_default(),
        })
    }

    /// `None`: its file has been let go of.
    fn response(&self, moment: Moment) -> Option<Response<Content>> {
        let mut response = Response::new(Content::Cached(self.body.body()?));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response.extensions_mut().insert(self.note.clone());
        self.mark(&mut response, moment);
        Some(response)
    }

    /// Says that a response with this answer's body may be given again.
    fn mark(&self, response: &mut Response<Content>, moment: Moment) {
        if let Again::Memory(body) = &self.body {
            response.extensions_mut().insert(Repeatable { moment, body: body.clone() });
        }
    }

    /// Bytes of memory, about.
    fn cost(&self) -> usize {
        const FIELD_BYTES: usize = 128;
        let fields = self.headers.len() + self.asked.headers.len();
        self.body.bytes() + fields * FIELD_BYTES + self.asked.target.path().len() + 512
    }
}

impl Asked {
    fn new(question: &Question<'_>) -> Self {
        Self {
            method: question.method.clone(),
            target: question.target.clone(),
            headers: question.headers.clone(),
            client: question.client.map(str::to_owned),
            class: question.class,
            scheme: question.forwarded.scheme,
            host: question.forwarded.host.map(str::to_owned),
            local: question.local,
            tls: question.tls,
            network: question.network,
        }
    }

    fn is(&self, other: &Question<'_>) -> bool {
        let fields = self.headers.iter().zip(other.headers);
        self.method == *other.method
            && self.target.path_and_query() == other.target.path_and_query()
            && self.target.authority() == other.target.authority()
            && (self.client.as_deref(), self.class) == (other.client, other.class)
            && (self.scheme, self.host.as_deref()) == (other.forwarded.scheme, other.forwarded.host)
            && (self.local, self.tls, self.network) == (other.local, other.tls, other.network)
            && self.headers.len() == other.headers.len()
            && fields.into_iter().all(is_same_field)
    }
}

/// Whether two fields say the same. How long it takes must not tell how much of a credential was right.
fn is_same_field(
    ((name, value), (other_name, other)): (
        (&HeaderName, &HeaderValue),
        (&HeaderName, &HeaderValue),
    ),
) -> bool {
    name == other_name
        && match *name {
            header::AUTHORIZATION => value.as_bytes().ct_eq(other.as_bytes()).into(),
            _ => value == other,
        }
}

impl fmt::Debug for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Repeats")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::Bytes;

    use super::*;

    const NOW: Moment = Moment { edition: 3, second: 100 };

    fn request(target: &str, fields: &[(&'static str, &'static str)]) -> (Uri, HeaderMap) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        (target.parse().expect("a target"), headers)
    }

    fn question<'a>(
        method: &'a Method,
        (target, headers): &'a (Uri, HeaderMap),
        client: Option<&'a str>,
    ) -> Question<'a> {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let forwarded = Forwarded::default();
        let (class, tls, network) = (Some(0), false, None);
        Question { method, target, headers, client, class, forwarded, local, tls, network }
    }

    fn answer(body: Bytes) -> Response<Content> {
        let mut response = Response::new(Content::from(body));
        response.headers_mut().insert("age", HeaderValue::from(7));
        response
    }

    fn recalled(repeats: &Repeats, question: &Question<'_>, moment: Moment) -> Option<Bytes> {
        let response = repeats.recall(question, moment).ok()?;
        assert_eq!(response.headers()["age"], "7");
        match response.into_body() {
            Content::Cached(body) => match body.again()? {
                Again::Memory(bytes) => Some(bytes),
                Again::Blob(..) => None,
            },
            Content::Made(_) => None,
        }
    }

    /// Asks until the answer is remembered.
    fn remembered(repeats: &Repeats, question: &Question<'_>, body: &'static str) {
        assert!(matches!(repeats.recall(question, NOW), Err(None)), "the first time");
        let chance = repeats.recall(question, NOW).err().flatten().expect("the second time");
        repeats.remember(chance, question, &mut answer(body.into()));
    }

    #[test]
    fn only_the_same_question_of_the_same_moment_is_answered_again() {
        let repeats = Repeats::new();
        let fields = [("host", "h"), ("accept", "a"), ("authorization", "Basic eA==")];
        let asked = request("/a?b", &fields);
        let original = question(&Method::GET, &asked, Some("ci"));
        remembered(&repeats, &original, "body");
        assert_eq!(recalled(&repeats, &original, NOW), Some(Bytes::from_static(b"body")));

        let no = |other: Question<'_>, why: &str| {
            assert_eq!(recalled(&repeats, &other, NOW), None, "{why}");
        };
        no(question(&Method::HEAD, &asked, Some("ci")), "another method");
        no(question(&Method::GET, &asked, None), "another client");
        no(Question { tls: true, ..original }, "another scheme");
        no(original.of(Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)))), "another network");
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 2));
        no(Question { local, ..original }, "another listener");
        let forwarded = Forwarded { host: Some("other"), ..Forwarded::default() };
        no(Question { forwarded, ..original }, "another address in front");
        for (target, fields, why) in [
            ("/a?c", &fields[..], "another query"),
            ("/a", &fields[..], "no query"),
            ("/a?b", &fields[..2], "no credential"),
            (
                "/a?b",
                &[("host", "h"), ("accept", "a"), ("authorization", "Basic eQ==")],
                "another credential",
            ),
            ("/a?b", &[("host", "h"), ("accept", "b"), fields[2]], "another value"),
            ("/a?b", &[("host", "h"), ("accept", "a"), ("accept", "b"), fields[2]], "one more"),
        ] {
            no(question(&Method::GET, &request(target, fields), Some("ci")), why);
        }
        assert_eq!(recalled(&repeats, &original, NOW), Some(Bytes::from_static(b"body")));
    }

    #[test]
    fn a_moment_ends_with_the_second_and_with_the_edition() {
        for next in [
            Moment { second: NOW.second + 1, ..NOW },
            Moment { second: NOW.second - 1, ..NOW },
            Moment { edition: NOW.edition + 1, ..NOW },
        ] {
            let repeats = Repeats::new();
            let asked = request("/a", &[]);
            let question = question(&Method::GET, &asked, None);
            remembered(&repeats, &question, "body");
            assert_eq!(recalled(&repeats, &question, next), None, "{next:?}");
        }
    }

    #[test]
    fn an_answer_from_before_is_not_remembered_after() {
        let repeats = Repeats::new();
        let asked = request("/a", &[]);
        let question = question(&Method::GET, &asked, None);
        assert!(repeats.recall(&question, NOW).is_err());
        let late = repeats.recall(&question, NOW).err().flatten().expect("the second time");
        let next = Moment { edition: NOW.edition + 1, ..NOW };
        assert!(repeats.recall(&question, next).is_err());
        repeats.remember(late, &question, &mut answer(Bytes::from_static(b"old")));
        assert_eq!(recalled(&repeats, &question, next), None);
        assert!(matches!(repeats.recall(&question, NOW), Err(None)), "it is over");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let repeats = Repeats::new();
        let asked = request("/a", &[]);
        let large = question(&Method::GET, &asked, None);
        assert!(repeats.recall(&large, NOW).is_err());
        let chance = repeats.recall(&large, NOW).err().flatten().expect("the second time");
        repeats.remember(chance, &large, &mut answer(vec![0; MOST_BODY_BYTES + 1].into()));
        assert_eq!(recalled(&repeats, &large, NOW), None, "too large");
        for length in 0..30_u8 {
            let mut other = request("/a", &[]);
            other.1.insert("accept", HeaderValue::from(u16::from(length)));
            repeats.remember(
                chance,
                &question(&Method::GET, &other, None),
                &mut answer(vec![0; MOST_BODY_BYTES].into()),
            );
        }
        let held: usize = repeats.shards.iter().map(|shard| shard.lock().expect("").bytes).sum();
        assert!(held > MOST_BODY_BYTES && held <= SHARD_BYTES, "{held}");
    }
}
