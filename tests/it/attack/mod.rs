//! What attackers try, and what comes of it. Where an attack concerns one part alone, its test stands beside that part:
//!
//! | attack | outcome | where |
//! | --- | --- | --- |
//! | request smuggling and splitting, HTTP/1.1 | refused, nothing behind it is answered | `server::framing`, `src/server/tests/framing.rs` |
//! | the same by way of HTTP/2 | the stream or the connection ends, upstream hears nothing | [`http2`] |
//! | response splitting by upstream | what follows a body is no answer | `upstream::faults` |
//! | path traversal | 400 or 404, upstream hears nothing | `server::paths`, `oci::bad_input`, `src/proxy/target.rs` |
//! | `Host`, `X-Forwarded-*` and their kin | clean requests get what they would have got | [`poisoning`] |
//! | denial of service by poisoned errors | not kept | [`poisoning`] |
//! | cache deception | what a credential or cookie brought is not given to others | [`poisoning`] |
//! | requests forged by redirects, `ns`, realms, links, CAS addresses | the victim hears nothing | [`forgery`], `oci::tokens`, `oci::bad_input`, `pypi::bad_input`, `upstream::redirects` |
//! | DNS rebinding | no connection | [`forgery`] |
//! | credentials to other hosts | dropped | `pypi::routing`, `huggingface::replays_privacy`, `oci::tokens`, `upstream::redirects` |
//! | tricks to become an administrator: forwarded, `Host`, `Origin`, methods in fields, half a token | 403, nothing changes | [`administrators`] |
//! | what a network was granted, from another one | 403 | [`administrators`] |
//! | replayed tokens | opened what they were made for, where, and as long | [`rights`], `oci::leaks`, `huggingface::replays_privacy` |
//! | timing of existence | what is private costs upstream what is absent costs | [`rights`] |
//! | decompression bombs | 502, bounded memory | `faults`, `src/ecosystem/huggingface/xet/chunks.rs` |
//! | symbolic and hard links in the data directory | nothing outside is read, written or removed | [`disk`] |
//! | rapid reset, floods of CONTINUATION, SETTINGS, PING, empty frames | the connection ends, others are served | [`http2`] |
//! | bodies by the hundred, all at once | 503, bounded memory | `server::memory` |
//! | slow heads and bodies, clients that do not read | cut in time | `src/server/tests/limits.rs`, `src/server/tests/http2.rs` |
//! | more connections than places | 503, and the places come back | `src/server/tests/limits.rs`, [`crowds`] |
//! | 10,000 idle connections | a few KiB each, others are served | [`crowds`] |
//! | secrets in logs, metrics, the index, errors, `larder config` | none | [`secrets`] |
//! | files that do harm to whoever loads them | refused, nobody has them whole, not kept | `huggingface::inspected`, `src/inspect/tests.rs` |
//! | forged attestations, those of other files, other publishers and other roots | not verified | `src/signature/mod.rs` |
//! | models that were changed after they were signed, signatures of others, cut and vast ones | refused before a byte is fetched | `policy/signed.rs` |
//! | forged signatures of images, those of other images, other keys and other roots, by the hundred | not believed, a bounded number is looked at | `policy::signed_images`, `src/signature/image/tests.rs` |
//! | who pulled a model, asked by somebody who is no administrator | not told | `src/models/pulled.rs` |
//! | damage on the disk, so that what a client's credential opened is fetched again | not without that client | `heal` |

mod administrators;
mod crowds;
mod disk;
mod forgery;
mod frames;
mod http2;
mod poisoning;
mod rights;
mod secrets;
