//! Writes project pages in HTML, the form that PEP 833 froze at version 1.4, and the root index.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::ecosystem::pypi::listing::{Entry, Listing, fragment};
use crate::ecosystem::pypi::page::{Extra, Sidecar, Yanked};

/// The page as text.
pub fn page(listing: &Listing<'_>) -> String {
    let mut text = String::with_capacity(1024 + 512 * listing.entries.len());
    write_page(&mut text, listing).expect("writing to memory does not fail");
    text
}

/// A root index that links to the pages below it.
pub fn root(projects: &[Box<str>]) -> String {
    let mut text = String::with_capacity(256 + 64 * projects.len());
    text.push_str(
        "<!DOCTYPE html>\n<html>\n  <head>\n    <meta name=\"pypi:repository-version\" content=\"1.0\">\n    \
         <title>Simple index</title>\n  </head>\n  <body>\n",
    );
    for project in projects {
        let name = escaped(project);
        let href = crate::ecosystem::pypi::name::normalised(project);
        writeln!(text, "    <a href=\"{}/\">{name}</a>", escaped(&href))
            .expect("writing to memory does not fail");
    }
    text.push_str("  </body>\n</html>\n");
    text
}

fn write_page(text: &mut String, listing: &Listing<'_>) -> fmt::Result {
    let name = escaped(&listing.page.name);
    text.push_str("<!DOCTYPE html>\n<html>\n  <head>\n");
    meta(text, "pypi:repository-version", &format!("1.{}", listing.api_minor()))?;
    if let Some(status) = listing.status {
        meta(text, "pypi:project-status", &status.status)?;
        if let Some(reason) = &status.reason {
            meta(text, "pypi:project-status-reason", reason)?;
        }
    }
    if let Some(mark) = &listing.mark {
        meta(text, "larder:state", mark)?;
    }
    if let Some(notice) = &listing.page.notice {
        meta(text, "larder:notice", notice)?;
    }
    write!(
        text,
        "    <title>Links for {name}</title>\n  </head>\n  <body>\n    <h1>Links for {name}</h1>\n"
    )?;
    for entry in &listing.entries {
        anchor(text, entry)?;
    }
    text.push_str("  </body>\n</html>\n");
    if let Some(serial) = &listing.page.serial {
        writeln!(text, "<!--SERIAL {}-->", escaped(serial).replace('-', ""))?;
    }
    Ok(())
}

fn meta(text: &mut String, name: &str, content: &str) -> fmt::Result {
    writeln!(text, "    <meta name=\"{name}\" content=\"{}\">", escaped(content))
}

fn anchor(text: &mut String, entry: &Entry<'_>) -> fmt::Result {
    let Entry { file, attributes, yanked, href, mark, sidecar, provenance } = entry;
    write!(text, "    <a href=\"{}", escaped(href))?;
    if let Some(digest) = fragment(&file.hashes) {
        write!(text, "#{}", escaped(&digest))?;
    }
    text.push('"');
    if let Some(requires) = &attributes.requires_python {
        attribute(text, "data-requires-python", requires)?;
    }
    match &**yanked {
        Yanked::No => {}
        Yanked::Yes => attribute(text, "data-yanked", "")?,
        Yanked::Because(reason) => attribute(text, "data-yanked", reason)?,
    }
    if *sidecar == Some(true) {
        let digest = match &attributes.core_metadata {
            Sidecar::Hashed(hashes) => fragment(hashes),
            Sidecar::Unsaid | Sidecar::No | Sidecar::Yes => None,
        };
        let value = digest.unwrap_or_else(|| "true".to_owned());
        attribute(text, "data-core-metadata", &value)?;
        attribute(text, "data-dist-info-metadata", &value)?;
    }
    if let Some(address) = provenance {
        attribute(text, "data-provenance", address)?;
    }
    if let Some(signed) = attributes.gpg_sig {
        attribute(text, "data-gpg-sig", if signed { "true" } else { "false" })?;
    }
    for extra in &attributes.extra {
        unknown(text, extra)?;
    }
    if let Some(mark) = mark {
        attribute(text, "data-larder-state", mark)?;
    }
    write!(text, ">{}</a>", escaped(&file.filename))?;
    if let Some(mark) = mark {
        write!(text, " ({})", escaped(mark))?;
    }
    text.push_str("<br/>\n");
    Ok(())
}

fn attribute(text: &mut String, name: &str, value: &str) -> fmt::Result {
    write!(text, " {name}=\"{}\"", escaped(value))
}

/// Attributes that an HTML upstream sent; keys of a JSON upstream have no form in HTML.
fn unknown(text: &mut String, extra: &Extra) -> fmt::Result {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match serde_json::from_str::<String>(&extra.json) {
        Ok(value) if extra.key.starts_with("data-") && extra.key.bytes().all(plain) => {
            attribute(text, &extra.key, &value)
        }
        _ => Ok(()),
    }
}

/// Text that means itself, in an attribute or between tags.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut result = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => result.push_str("&amp;"),
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '"' => result.push_str("&quot;"),
            '\'' => result.push_str("&#x27;"),
            other => result.push(other),
        }
    }
    Cow::Owned(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_the_page() {
        let mut text = String::new();
        attribute(&mut text, "data-yanked", "\"><script>&'").expect("memory");
        assert_eq!(text, " data-yanked=\"&quot;&gt;&lt;script&gt;&amp;&#x27;\"");
        let hostile = Extra { key: "data-x onload".into(), json: "\"y\"".into() };
        let mut text = String::new();
        unknown(&mut text, &hostile).expect("memory");
        assert_eq!(text, "");
    }

    #[test]
    fn the_root_index_links_to_normalised_names() {
        let text = root(&["Foo_Bar".into()]);
        assert!(text.contains("<a href=\"foo-bar/\">Foo_Bar</a>"), "{text}");
    }
}
