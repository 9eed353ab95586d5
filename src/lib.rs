//! Larder stands between machines and the places they pull machine-learning software from. Whatever passes through it once is
//! kept, verified, and served again, whatever happens upstream.
//!
//! This page is the map: what must hold, where things live, one request walked through. It is kept true in the commit
//! that would make it untrue.
//!
//! # Bird's eye
//!
//! ```text
//!             admit    route     plan      judge      get                    deliver
//! client ──▶ server ──▶ proxy ──▶ ecosystem ──▶ policy ──▶ cache ──▶ store      ──▶ client
//!                                  (pure)      (pure)       └─────▶ upstream
//! ```
//!
//! Folders are layers, and imports point down only (`tests/it/layers.rs` is the judge):
//!
//! | folder | what it holds | may import |
//! | --- | --- | --- |
//! | [`types`] | digest, key, head, event, secret, size, time: values | nothing of ours |
//! | [`clock`] | the only reader of wall time | types |
//! | [`telemetry`] | log and metric set-up | nothing of ours |
//! | [`semantics`] | HTTP as pure functions: freshness, conditions, ranges, `Vary`, `Cache-Status` | types |
//! | [`formats`] | what the first bytes of model files say: safetensors, GGUF; pure | nothing of ours |
//! | [`advisory`] | known vulnerabilities and malicious packages: OSV records, filed by package; pure | types |
//! | [`inspect`] | what is in a file, read and never run: pickles, archives, compressed streams, templates; pure | types, formats |
//! | [`licence`] | names and texts of licences as SPDX expressions, and what they forbid; pure | nothing of ours |
//! | [`signature`] | who vouches for a file: attestations, signed models, verified without network; pure | nothing of ours |
//! | [`policy`] | facts, rules and time in, decision out; `when` is its language of conditions; pure | types, licence, advisory |
//! | [`rulings`] | the rules in force, taken up from their files while the server runs; the record of decisions | types, clock, advisory, policy |
//! | [`store`] | an index (redb) over content-addressed blobs; disk, and its twin in memory | types, semantics |
//! | [`upstream`] | the way out: TLS, redirects, challenges and tokens, retries, circuit breaker, limits; client, and its scripted twin | types |
//! | [`server`] | the way in: listeners, TLS, HTTP/1.1 and HTTP/2, limits, draining, access log | nothing of ours |
//! | [`cache`] | hit, revalidate or fill, once for everybody; artifacts, documents, exchanges; verdicts on what is in files | types, clock, semantics, inspect, store, upstream |
//! | [`ecosystem`] | one folder per protocol: a request's head in, a plan out; pure | types, semantics, licence, advisory, signature, policy, `upstream::request`, `cache::lookup`, `cache::failure` |
//! | [`trace`] | what became of things: the ledger, a log that shows if anybody changes it; who pulled what | types, clock, store, cache, `server::Ended` |
//! | [`proxy`] | the pipeline | types, clock, semantics, policy, rulings, `upstream::request`, server, cache, ecosystem, `trace::pulls` |
//! | [`passport`] | everything that is known of a model, as one value; what changed between two commits; pure | types, formats, licence, signature, the hub's `record` |
//! | [`bom`] | bills of materials (CycloneDX); pure | types, licence, passport |
//! | [`snapshots`] | names for instants of the past | types, store |
//! | [`keep`] | keeping by hand: listing, removing, pinning, tidying up, in the words of each ecosystem | types, clock, store, cache, ecosystem |
//! | [`admin`] | Larder's own pages and API under `/-/` | types, clock, cache, keep, store, policy, rulings, server, snapshots, trace |
//! | [`models`] | passports over the API, gathered by asking the hub's mount as the caller; bills of what was pulled | types, clock, formats, signature, the hub, passport, bom, keep, trace, admin, server, `store::StoreError` |
//! | [`identity`] | whose a hub's name is, over the API | types, cache, ecosystem, server, admin |
//! | [`feed`] | advisories from a folder and from addresses, read again when they change; the OSV API | types, clock, advisory, upstream, admin, server |
//! | [`collect`] | what is wanted, as people and lock files name it; pure | types, ecosystem |
//! | [`bundle`] | prefetching, offline readiness, and bundles for sites without any upstream | types, clock, collect, store, upstream, server, cache, ecosystem, keep, admin |
//! | [`heal`] | what the disk has damaged, fetched again as clients would, before they do | types, clock, store, cache, ecosystem, keep, admin, server, bundle |
//! | [`import`] | what a client downloaded before, taken over as a download from there | everything |
//! | `fuzz` | doors for fuzzers to every parser; built for tests alone | everything |
//! | [`config`], [`app`] | settings of every module; the composition root | everything |
//! | [`cli`] | a file for each command; what concerns a running Larder is asked over its API, or of one in this process where none runs | everything |
//! | [`banner`] | what people are told at the start | everything |
//!
//! # One request
//!
//! `GET /simple/six/` arrives. [`server`] has checked framing, `Host` and limits and calls the handler it was given, the
//! [`proxy`]. `proxy::target` refuses paths that two parsers could read differently; `proxy::access` lets the client in;
//! `proxy::routes` finds the mount. The mount's [`ecosystem::Ecosystem::plan`], a pure function, answers with a [`ecosystem::Step`]: a
//! reply, documents it must see first, or a [`ecosystem::Plan`]. Here it is a plan: this document, rendered as JSON.
//! `proxy::judge` asks whether this client and this subject may pass: the adapter has had its facts judged by the rules that were
//! in force when the request came. [`cache::Cache::document`] serves what is fresh, refreshes what is stale in a single flight that
//! outlives its clients, and serves what is kept when upstream cannot say. `proxy::rendering` turns the document into the client's
//! form once per version; `proxy::deliver` adds preconditions, ranges and the marks of a cache.
//!
//! The same request, made again within the same second while the cache learns nothing, gets the same answer without any of that: from [`proxy`]'s memory of the
//! moment, and over HTTP/1 as the very bytes, before the HTTP layer has read it.
//!
//! `GET …/six-1.17.0-py2.py3-none-any.whl` differs in two places: the plan first needs the project's page, which names the digest; and
//! [`cache::Cache::artifact`] joins or starts a fill, whose bytes go from upstream into a file and from the file to every reader. A file of the hub or
//! of a registry is looked into on that way by [`inspect`].
//!
//! `GET /v2/alpine/manifests/3.20` differs in whom it is for: the mount asks for the tag on behalf of everybody first, then of whoever else may read it;
//! the manifest that it names leaves a link for each of its blobs, and a blob, kept once for all, is given out only by way of such a link.
//!
//! A tag of an image or a branch of a model is a document as a page is: it names a digest or a commit, and remembers which ones it named before. What a
//! document was found to refer to (the list of a commit's files, the parts of an image) it may name as follow-ups, which the cache fetches
//! once nobody waits for it. Rights are documents, too: upstream's yes or no for one credential, believed for a short while.
//!
//! `GET /@2026-03-01/simple/six/` is the same request as of the end of that day: the pipeline takes the instant from the address and hands it to the adapter
//! ([`ecosystem::Ask::as_of`]), which picks, from what its documents remember, what was so then; nothing that moves is asked for. Rights and policy are today's.
//! What was not seen is an honest error, never a newer answer.
//!
//! What nobody asks for is done beside that: the store reads its blobs again and notes what is damaged, [`heal`] fetches that by the same line with no
//! rights but the mount's, and the cache looks into what was kept before it could be.
//!
//! # What always holds
//!
//! - Nothing is visible in the store before its digest is verified and its bytes are durable; the index is committed last.
//! - A client never completes a body that is wrong: the tail waits for the digest, and a fault cuts the connection.
//! - Each byte of an artifact crosses upstream once, however many ask, and a client that leaves stops nothing.
//! - A good document is never replaced by an outage, an error page or an empty one.
//! - Only declared origins are asked; credentials go to their own host only.
//!
//! # What is nowhere
//!
//! - `cache`, `store`, `upstream`, `server` name no ecosystem.
//! - `types`, `semantics`, `formats`, `inspect`, `licence`, `advisory`, `signature`, `policy`, `ecosystem`, `collect`, `passport`, `bom` do no I/O, read no
//!   clock, spawn nothing.
//! - Only [`app`] builds components and owns the task sets in which others spawn.
//! - Apart from `server`'s own refusals, only `proxy` turns a failure into a response.
//! - A [`types::CacheKey`] cannot be built without an [`types::Audience`].
//! - Adding an ecosystem is one folder and two lines.

pub mod admin;
pub mod advisory;
pub mod app;
pub mod banner;
pub mod bom;
pub mod bundle;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod ecosystem;
pub mod feed;
pub mod formats;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
pub mod heal;
pub mod identity;
pub mod import;
pub mod inspect;
pub mod keep;
pub mod licence;
pub mod models;
pub mod passport;
pub mod policy;
pub mod proxy;
pub mod rulings;
pub mod semantics;
pub mod server;
pub mod signature;
pub mod snapshots;
pub mod store;
pub mod telemetry;
pub mod trace;
pub mod types;
pub mod upstream;
