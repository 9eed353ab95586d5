//! Reads project pages in HTML (PEP 503 and the PEPs that extend it), and flat pages of links.
//!
//! The text goes through a tokeniser that follows the WHATWG rules, so that entities, comments, scripts and unclosed tags mean what they mean
//! to a browser; no tree is built, so a page of 50 MB costs no more memory than its links.

use std::mem;

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};
use url::Url;

use crate::ecosystem::pypi::offer::{self, Offer, Offered};
use crate::ecosystem::pypi::page::{
    Attributes, Extra, Hashes, Provenance, Sidecar, Status, Yanked,
};
use crate::ecosystem::pypi::{links, name};

/// Reads a page whose text starts with an angle bracket. `Err` when nothing shows that it is an index page: error pages and sign-in pages of
/// networks come with status 200, too.
pub fn page(text: &str, url: &Url) -> Result<Offer, String> {
    let mut reader = Reader {
        base: url.clone(),
        based: false,
        title: String::new(),
        declared: false,
        failure: None,
        status: None,
        reason: None,
        offer: Offer::default(),
    };
    scan(text, |piece| match piece {
        Piece::Tag(tag) => reader.tag(tag),
        Piece::Title(text) => reader.title.push_str(&text),
    });
    reader.finish()
}

/// The project names that a root index links to: the last segment of each link that is a directory's.
pub fn projects(text: &str) -> Vec<Box<str>> {
    let mut projects = Vec::new();
    scan(text, |piece| {
        if let Piece::Tag(tag) = piece
            && tag.name == b"a"
            && let Some(name) = tag.attributes.get("href").and_then(|href| href.strip_suffix('/'))
            && let name = links::decoded(links::last_segment(name))
            && name::is_valid(&name)
        {
            projects.push(name.into());
        }
    });
    projects
}

/// A piece of a page that says something.
enum Piece {
    Tag(Tag),
    /// Text of the page's title.
    Title(String),
}

/// A tag's attributes as written, decoded; the first of a name counts. They are few, so a list is faster than a map.
#[derive(Default)]
struct Written(Vec<(String, String)>);

impl Written {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn remove(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(place).1)
    }

    fn add(&mut self, name: String, value: String) {
        if self.get(&name).is_none() {
            self.0.push((name, value));
        }
    }
}

/// A start tag with its attributes.
#[derive(Default)]
struct Tag {
    name: Vec<u8>,
    attributes: Written,
    pending: Option<String>,
}

fn scan(text: &str, mut visit: impl FnMut(Piece)) {
    let mut open = Tag::default();
    let mut in_title = false;
    let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| -> Option<()> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                open = Tag { name: name.to_vec(), ..Tag::default() };
            }
            CallbackEvent::AttributeName { name } => open.attribute(name),
            CallbackEvent::AttributeValue { value } => open.value(value),
            CallbackEvent::CloseStartTag { .. } => {
                open.settle();
                in_title = open.name == b"title";
                visit(Piece::Tag(mem::take(&mut open)));
            }
            CallbackEvent::EndTag { .. } => in_title = false,
            CallbackEvent::String { value } if in_title => visit(Piece::Title(lossy(value))),
            _ => {}
        }
        None
    });
    // Scripts, styles and titles hold text, not tags.
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(text, emitter) {
        let Ok(()) = token;
    }
}

impl Tag {
    fn attribute(&mut self, name: &[u8]) {
        self.settle();
        self.pending = Some(lossy(name));
    }

    fn value(&mut self, value: &[u8]) {
        if let Some(name) = self.pending.take() {
            self.attributes.add(name, lossy(value));
        }
    }

    /// Notes an attribute that came without a value.
    fn settle(&mut self) {
        if let Some(name) = self.pending.take() {
            self.attributes.add(name, String::new());
        }
    }
}

/// What was read of a page so far.
struct Reader {
    base: Url,
    based: bool,
    title: String,
    /// Some `pypi:` meta tag was there.
    declared: bool,
    failure: Option<String>,
    status: Option<String>,
    reason: Option<String>,
    offer: Offer,
}

impl Reader {
    fn tag(&mut self, tag: Tag) {
        match tag.name.as_slice() {
            b"a" => self.offer.files.extend(anchor(&self.base, tag.attributes)),
            b"base" => self.rebase(&tag.attributes),
            b"meta" => self.meta(&tag.attributes),
            _ => {}
        }
    }

    /// The first `<base href>` counts (HTML section 4.2.3).
    fn rebase(&mut self, attributes: &Written) {
        if let Some(href) = attributes.get("href")
            && !mem::replace(&mut self.based, true)
            && let Ok(base) = self.base.join(href.trim())
        {
            self.base = base;
        }
    }

    fn meta(&mut self, attributes: &Written) {
        let text = |key: &str| attributes.get(key).unwrap_or_default();
        let content = text("content").to_owned();
        match text("name") {
            "pypi:repository-version" => match offer::api_minor(&content) {
                Ok(minor) => self.offer.api_minor = minor,
                Err(error) => self.failure = Some(error),
            },
            "pypi:project-status" => self.status = Some(content),
            "pypi:project-status-reason" => self.reason = Some(content),
            _ => return,
        }
        self.declared = true;
    }

    fn finish(self) -> Result<Offer, String> {
        let Self { title, declared, failure, status, reason, mut offer, .. } = self;
        if let Some(failure) = failure {
            return Err(failure);
        }
        let titled = title.trim_start().to_ascii_lowercase().starts_with("links for");
        if !declared && !titled {
            offer.files.retain(|file| name::is_distribution(&file.filename));
            if offer.files.is_empty() {
                let title = title.trim();
                return Err(format!("the answer is a web page titled {title:?}, no index page"));
            }
        }
        offer.status =
            status.map(|status| Status { status: status.into(), reason: reason.map(Into::into) });
        Ok(offer)
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The file that an anchor stands for; `None` for links to anything else.
fn anchor(base: &Url, mut attributes: Written) -> Option<Offered> {
    let (url, digest) = offer::resolve(base, &attributes.remove("href")?)?;
    let filename: Box<str> = links::decoded(links::last_segment(url.path())).into();
    if !offer::is_filename(&filename) {
        return None;
    }
    let mut hashes = Hashes::default();
    if let Some((name, value)) = digest {
        hashes.insert(&name, &value);
    }
    let mut take = |name: &str| attributes.remove(name);
    let (newer, older) = (take("data-core-metadata"), take("data-dist-info-metadata"));
    let known = Attributes {
        requires_python: take("data-requires-python")
            .filter(|text| !text.is_empty())
            .map(Into::into),
        yanked: match take("data-yanked") {
            None => Yanked::No,
            Some(reason) if reason.is_empty() => Yanked::Yes,
            Some(reason) => Yanked::Because(reason.into()),
        },
        core_metadata: sidecar(newer.or(older)),
        provenance: match take("data-provenance").filter(|text| !text.is_empty()) {
            None => Provenance::Unsaid,
            Some(address) => Provenance::At(address.into()),
        },
        gpg_sig: take("data-gpg-sig").and_then(|text| text.parse().ok()),
        extra: Vec::new(),
    };
    let extra = unknown(attributes);
    Some(Offered {
        filename,
        url: String::from(url).into(),
        hashes,
        size: None,
        upload_time: None,
        attributes: Attributes { extra, ..known },
    })
}

fn sidecar(value: Option<String>) -> Sidecar {
    let Some(value) = value else { return Sidecar::Unsaid };
    match value.split_once('=') {
        Some((name, digest)) => {
            let mut hashes = Hashes::default();
            hashes.insert(name, digest);
            Sidecar::Hashed(hashes)
        }
        None if value.eq_ignore_ascii_case("false") => Sidecar::No,
        None => Sidecar::Yes,
    }
}

/// The `data-` attributes that we do not know, but for those of other proxies like this one.
fn unknown(attributes: Written) -> Vec<Extra> {
    let ours = |key: &str| key.starts_with("data-") && !key.starts_with("data-larder-");
    let mut extra: Vec<Extra> = attributes
        .0
        .into_iter()
        .filter(|(key, _)| ours(key))
        .map(|(key, text)| Extra {
            key: key.into(),
            json: serde_json::json!(text).to_string().into(),
        })
        .collect();
    extra.sort_by(|one, other| one.key.cmp(&other.key));
    extra
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Offer, String> {
        page(text, &Url::parse("https://index.example/simple/six/").expect("an address"))
    }

    #[test]
    fn web_pages_that_are_no_index_are_refused() {
        for text in [
            "<html><head><title>Sign in</title></head><body><a href='/login'>Sign in</a></body></html>",
            "<html><body><h1>503 Service Unavailable</h1></body></html>",
            "<!-- <a href='six-1.0.tar.gz'>six</a> -->",
            "<script>document.write(\"<a href='six-1.0.tar.gz'>\")</script>",
            "<meta name='pypi:repository-version' content='2.0'><a href='six-1.0.tar.gz'>six</a>",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_empty_page_that_says_what_it_is_is_one() {
        for text in [
            "<!DOCTYPE html><html><head><title>Links for six</title></head></html>",
            "<html><meta name=pypi:repository-version content=1.1></html>",
        ] {
            assert_eq!(read(text).map(|offer| offer.files.len()), Ok(0), "{text}");
        }
    }

    #[test]
    fn attributes_are_read_with_their_entities() {
        let sha256 = "a".repeat(64);
        let offer = read(&format!(
            "<TITLE>Links for six</TITLE><a href=\"../../p/six-1.0%2Bcu1-py3-none-any.whl?a=1&amp;b=2#sha256={sha256}\" \
             data-requires-python=\"&gt;=3.8,&lt;4\" data-yanked data-core-metadata='sha256={sha256}' \
             data-dist-info-metadata=true data-gpg-sig=true data-colour=\"r&#233;d\">six</a><br/>"
        ))
        .expect("a page");
        let file = &offer.files[0];
        assert_eq!(&*file.filename, "six-1.0+cu1-py3-none-any.whl");
        assert_eq!(&*file.url, "https://index.example/p/six-1.0%2Bcu1-py3-none-any.whl?a=1&b=2");
        let mut hashes = Hashes::default();
        hashes.insert("sha256", &sha256);
        assert_eq!(file.hashes, hashes);
        let expected = Attributes {
            requires_python: Some(">=3.8,<4".into()),
            yanked: Yanked::Yes,
            core_metadata: Sidecar::Hashed(hashes),
            provenance: Provenance::Unsaid,
            gpg_sig: Some(true),
            extra: vec![Extra { key: "data-colour".into(), json: "\"réd\"".into() }],
        };
        assert_eq!(file.attributes, expected);
    }

    #[test]
    fn the_base_counts_and_only_files_are_taken_from_undeclared_pages() {
        let offer = read(
            "<html><head><base href='//cdn.example/d/'></head><a href='../'>up</a><a href='?C=N'>sort</a>\
             <a href='about.html'>about</a><a href='six-1.0.tar.gz'>six</a><a href='https://o.example/six-2.0.zip'>",
        )
        .expect("a page");
        let urls: Vec<_> = offer.files.iter().map(|file| &*file.url).collect();
        assert_eq!(urls, ["https://cdn.example/d/six-1.0.tar.gz", "https://o.example/six-2.0.zip"]);
    }
}
