//! Larder's API, below `/-/api/v1/`: a table of operations, each of one [`Resource`].
//!
//! Answers are JSON; what goes wrong is told as problem details (RFC 9457). `openapi.json`, beside this file and at `/-/api/v1/openapi.json`, documents
//! every operation; a test compares it with the table. Left out: what the resources do, each in a file of its own.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::visit::{Caller, Right, Visit};
use crate::server::{Body, Crowded, RequestBody, Stalled};

pub mod entries;
pub mod fills;
pub mod log;
pub mod policy;
pub mod provenance;
pub mod pulls;
mod snapshots;
mod template;

pub use snapshots::{SnapshotsResource, Told as ToldSnapshot, Wish as SnapshotWish};
pub use template::Template;

/// Everything of the API is below this.
pub const PREFIX: &str = "/-/api/v1/";

/// The document that describes the API.
pub const OPENAPI: &str = include_str!("openapi.json");

/// A group of operations.
pub trait Resource: Send + Sync + fmt::Debug + 'static {
    /// What it offers; always the same.
    fn operations(&self) -> Vec<Operation>;

    /// Carries out one of its operations. Dropping the future (the client left) leaves nothing half done.
    fn call(&self, call: Call) -> BoxFuture<'static, Result<Response<Body>, Problem>>;
}

/// One operation: a method at an address.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Names it within its resource, and in `openapi.json` as `operationId`.
    pub id: &'static str,
    pub method: Method,
    /// Below [`PREFIX`]: `snapshots/{name}`, `models/{id...}`.
    pub path: Template,
    /// The least that a caller must be.
    pub needs: Right,
}

/// A call of an operation.
#[derive(Debug)]
pub struct Call {
    /// [`Operation::id`].
    pub operation: &'static str,
    /// What the braces of the address stand for, in their order, percent-decoded.
    pub captures: Vec<String>,
    /// The query, decoded; of a name that is there twice the last value counts.
    pub query: HashMap<String, String>,
    pub headers: HeaderMap,
    pub body: RequestBody,
    pub caller: Caller,
}

/// Why an operation was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// In words for the caller: what was wrong and what to do.
    pub detail: String,
}

/// The operations of all resources.
#[derive(Debug, Default)]
pub struct Api {
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    operation: Operation,
    resource: Arc<dyn Resource>,
}

impl Operation {
    pub const fn new(id: &'static str, method: Method, path: &'static str, needs: Right) -> Self {
        Self { id, method, path: Template::new(path), needs }
    }
}

impl Call {
    /// The body as `T`, from JSON of at most `limit_bytes`.
    pub async fn json<T: serde::de::DeserializeOwned>(
        body: RequestBody,
        limit_bytes: usize,
    ) -> Result<T, Problem> {
        let text = Self::bytes(body, limit_bytes).await?;
        serde_json::from_slice(&text).map_err(|error| {
            Problem::bad(format!("the body is not what this address takes: {error}"))
        })
    }

    /// The body, whole.
    pub async fn bytes(body: RequestBody, limit_bytes: usize) -> Result<Bytes, Problem> {
        #[expect(clippy::disallowed_methods, reason = "the body is limited")]
        let whole = Limited::new(body.to_be_gathered(), limit_bytes).collect().await;
        whole.map(http_body_util::Collected::to_bytes).map_err(|error| {
            if error.is::<Crowded>() {
                return Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
            }
            if error.is::<Stalled>() {
                return Problem::new(StatusCode::REQUEST_TIMEOUT, error.to_string());
            }
            match error.is::<LengthLimitError>() {
                true => Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("this address takes bodies of at most {limit_bytes} bytes"),
                ),
                false => Problem::bad(format!("the body could not be read: {error}")),
            }
        })
    }

    /// A number from the query, or `default`.
    pub fn number(&self, name: &str, default: u64) -> Result<u64, Problem> {
        let Some(text) = self.query.get(name) else { return Ok(default) };
        text.parse()
            .map_err(|_| Problem::bad(format!("`{name}` is a number, and {text:?} is none")))
    }
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }

    /// 400.
    pub fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404.
    pub fn absent(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    fn into_response(self) -> Response<Body> {
        let title = self.status.canonical_reason().unwrap_or("Refused");
        let body = serde_json::json!({
            "type": "about:blank", "status": self.status.as_u16(), "title": title, "detail": self.detail,
        });
        super::response(self.status, "application/problem+json", body.to_string())
    }
}

/// A value as the answer.
pub fn json<T: Serialize>(value: &T) -> Response<Body> {
    let text = serde_json::to_string_pretty(value).expect("plain values have a form in JSON");
    super::response(StatusCode::OK, "application/json", text + "\n")
}

/// An answer that is JSON already.
pub fn answer(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    super::response(status, "application/json", text)
}

impl Api {
    pub fn new(resources: &[Arc<dyn Resource>]) -> Self {
        let mut places: Vec<Place> = resources
            .iter()
            .flat_map(|resource| {
                let place = |operation| Place { operation, resource: Arc::clone(resource) };
                resource.operations().into_iter().map(place)
            })
            .collect();
        places.sort_by_key(|place| place.operation.path.rank());
        Self { places }
    }

    /// Where the table of operations and [`OPENAPI`] say different things, a line each.
    pub fn disagreements(&self) -> Vec<String> {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap_or_default();
        let mut documented: BTreeMap<(String, String), Option<String>> = BTreeMap::new();
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                let id = operation["operationId"].as_str().map(str::to_owned);
                documented.insert((path.replace("...}", "}"), method.to_uppercase()), id);
            }
        }
        let mut lines = Vec::new();
        for Operation { id, method, path, .. } in self.places.iter().map(|place| &place.operation) {
            let path = format!("/{}", path.as_str().replace("...}", "}"));
            match documented.remove(&(path.clone(), method.to_string())) {
                Some(Some(named)) if named == *id => {}
                Some(named) => {
                    lines.push(format!("{method} {path} is {id}, and documented as {named:?}"));
                }
                None => lines.push(format!("{method} {path} ({id}) is not documented")),
            }
        }
        let absent = |(path, method): &(String, String)| {
            format!("{method} {path} is documented, and there is no such operation")
        };
        lines.extend(documented.keys().map(absent));
        lines
    }

    /// Answers a visit below [`PREFIX`]; `path` is the rest of the address.
    pub fn answer(&self, visit: Visit, path: &str) -> BoxFuture<'static, Response<Body>> {
        match self.call(visit, path) {
            Ok(answer) => answer.map(|done| done.unwrap_or_else(Problem::into_response)).boxed(),
            Err(refusal) => ready(refusal).boxed(),
        }
    }

    fn call(
        &self,
        visit: Visit,
        path: &str,
    ) -> Result<BoxFuture<'static, Result<Response<Body>, Problem>>, Response<Body>> {
        let fits = |place: &&Place| place.operation.path.captures(path).is_some();
        let mut here = self.places.iter().filter(fits).peekable();
        let Some(first) = here.peek() else {
            let detail =
                "there is no such address in this API; /-/api/v1/openapi.json has them all";
            return Err(Problem::absent(detail).into_response());
        };
        let address = &first.operation.path;
        let mut here = here.filter(|place| place.operation.path == *address).peekable();
        let methods: Vec<&str> = self.methods(address).into_iter().map(Method::as_str).collect();
        let wanted = if visit.method == Method::HEAD { Method::GET } else { visit.method.clone() };
        let Some(place) = here.find(|place| place.operation.method == wanted) else {
            let allow = methods.join(", ");
            let detail = format!("this address is for {allow}");
            let mut refusal = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).into_response();
            if let Ok(allow) = HeaderValue::from_str(&allow) {
                refusal.headers_mut().insert(header::ALLOW, allow);
            }
            return Err(refusal);
        };
        let operation = &place.operation;
        check_right(operation, &visit).map_err(Problem::into_response)?;
        let captures = operation.path.captures(path).unwrap_or_default();
        let decode = |text: &str| percent_decode_str(text).decode_utf8().map(Into::into);
        let captures = captures.into_iter().map(decode).collect::<Result<Vec<String>, _>>();
        let captures =
            captures.map_err(|_| Problem::bad("the address is not UTF-8").into_response())?;
        let query = visit.query.as_deref().unwrap_or_default();
        Ok(place.resource.call(Call {
            operation: operation.id,
            captures,
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers: visit.headers,
            body: visit.body,
            caller: visit.caller,
        }))
    }

    fn methods(&self, address: &Template) -> Vec<&Method> {
        let same = self.places.iter().filter(|place| place.operation.path == *address);
        same.map(|place| &place.operation.method).collect()
    }
}

/// Whether the visitor may. What changes anything is not done for a page of another site that a browser was led to: it would come with the visitor's
/// own right to be here.
fn check_right(operation: &Operation, visit: &Visit) -> Result<(), Problem> {
    if visit.caller.right < operation.needs {
        let detail = "this is for administrators: use an access token that `access.admins` names, or come from this machine itself";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let site = visit.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let from_elsewhere = site.is_some_and(|site| site != b"same-origin" && site != b"none");
    if operation.needs == Right::Administrator
        && (from_elsewhere || visit.headers.contains_key(header::ORIGIN))
    {
        let detail = "a page in a browser may not do this; use the command line";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
