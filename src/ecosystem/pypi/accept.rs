//! Which representation of a page a client reads (PEP 691): quality values, wildcards, the `latest` aliases and `?format=`.

use http::{HeaderMap, header};

/// A representation of an index page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Representation {
    /// `text/html`, the alias for the HTML form.
    Html,
    /// The versioned name of the HTML form.
    HtmlV1,
    JsonV1,
}

impl Representation {
    /// In the order in which ties are decided: what a client that accepts everything gets comes first.
    const ALL: [Self; 3] = [Self::Html, Self::HtmlV1, Self::JsonV1];

    /// The `Content-Type` of the representation. pip and uv refuse JSON under any other name.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::HtmlV1 => "application/vnd.pypi.simple.v1+html",
            Self::JsonV1 => "application/vnd.pypi.simple.v1+json",
        }
    }

    /// What the client gives for it: the quality of its own name, or of an alias that is named outright (wildcards cover the own name).
    fn quality(self, ranges: &[MediaRange]) -> u16 {
        let mut aliases = self.names().iter();
        let own = aliases.next().map_or(0, |name| quality(ranges, name));
        let named = aliases.flat_map(|alias| ranges.iter().filter(move |one| one.range == *alias));
        named.map(|one| one.quality).fold(own, u16::max)
    }

    /// The names it is asked for by, its own first. `latest` is answered with the version that it stands for.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Html => &["text/html"],
            Self::HtmlV1 => {
                &["application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html"]
            }
            Self::JsonV1 => {
                &["application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json"]
            }
        }
    }
}

/// What a refusal lists.
pub const OFFERED: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html, text/html";

/// Chooses the representation; `None` when the client accepts none that there is (406). `?format=` overrides `Accept`; no `Accept` at
/// all, or `*/*`, means `text/html`, which is what browsers and the oldest clients read.
pub fn negotiate(headers: &HeaderMap, query: Option<&str>) -> Option<Representation> {
    if let Some(format) = asked_format(query) {
        let named = |one: &Representation| one.names().contains(&format.as_str());
        return Representation::ALL.into_iter().find(named);
    }
    let ranges = media_ranges(headers);
    if ranges.is_empty() {
        return Some(Representation::Html);
    }
    let mut best: Option<(Representation, u16)> = None;
    for candidate in Representation::ALL {
        let quality = candidate.quality(&ranges);
        if quality > best.map_or(0, |(_, highest)| highest) {
            best = Some((candidate, quality));
        }
    }
    best.map(|(representation, _)| representation)
}

fn asked_format(query: Option<&str>) -> Option<String> {
    url::form_urlencoded::parse(query?.as_bytes())
        .find(|(name, _)| name == "format")
        // A plus sign that was not escaped reads as a space.
        .map(|(_, value)| value.trim().replace(' ', "+").to_ascii_lowercase())
}

/// One element of `Accept`: a media range in lower case and its quality in thousandths (RFC 9110 section 12.5.1).
struct MediaRange {
    range: String,
    quality: u16,
}

fn media_ranges(headers: &HeaderMap) -> Vec<MediaRange> {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
        .map(media_range)
        .collect()
}

fn media_range(element: &str) -> MediaRange {
    let mut parts = element.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default().to_ascii_lowercase();
    let quality = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map_or(1000, |(_, value)| thousandths(value.trim()));
    MediaRange { range, quality }
}

/// A malformed quality counts as 0: what a client did not manage to ask for is not forced on it.
fn thousandths(text: &str) -> u16 {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => (value * 1000.0).round() as u16,
        _ => 0,
    }
}

/// The quality of the most specific range that covers `name`.
fn quality(ranges: &[MediaRange], name: &str) -> u16 {
    let specificity = |range: &str| match range.split_once('/') {
        _ if range == name => 3,
        Some((kind, "*")) if name.split('/').next() == Some(kind) => 2,
        Some(("*", "*")) => 1,
        _ if range == "*" => 1,
        _ => 0,
    };
    let covering = ranges.iter().map(|one| (specificity(&one.range), one.quality));
    covering.filter(|(specificity, _)| *specificity > 0).max().map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Option<Representation> = Some(Representation::JsonV1);
    const HTML_V1: Option<Representation> = Some(Representation::HtmlV1);
    const HTML: Option<Representation> = Some(Representation::Html);

    fn check(accept: &str, expected: Option<Representation>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("a field value"));
        assert_eq!(negotiate(&headers, None), expected, "{accept}");
    }

    #[test]
    fn refusals_are_respected() {
        check("application/json", None);
        check("text/plain, image/*", None);
        check("text/html;q=0", None);
        check("*/*, text/html;q=0, application/vnd.pypi.simple.v1+html;q=0", JSON);
        check("text/html;q=nonsense", None);
        check("application/vnd.pypi.simple.v2+json", None);
    }

    #[test]
    fn what_clients_send_is_understood() {
        let v1 = "application/vnd.pypi.simple.v1";
        // pip and pdm, uv, poetry, devpi, a browser, and nothing.
        check(&format!("{v1}+json, {v1}+html; q=0.1, text/html; q=0.01"), JSON);
        check(&format!("{v1}+json, {v1}+html;q=0.2, text/html;q=0.01"), JSON);
        check(&format!("{v1}+json, */*;q=0.1"), JSON);
        check(&format!("text/html, {v1}+html;q=0.9, {v1}+json;q=0.8"), HTML);
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML);
        check("", HTML);
        check("*/*", HTML);
        check("*", HTML);
        assert_eq!(negotiate(&HeaderMap::new(), None), HTML);
    }

    #[test]
    fn quality_specificity_and_aliases_decide() {
        check("text/html;q=0.4, application/vnd.pypi.simple.v1+html;q=0.5", HTML_V1);
        check("APPLICATION/vnd.pypi.simple.latest+JSON; Q=0.2, text/html;q=0.1", JSON);
        check("application/vnd.pypi.simple.latest+html", HTML_V1);
        check("application/*;q=0.3, text/html;q=0.2", HTML_V1);
        check(
            "application/*, application/vnd.pypi.simple.v1+html;q=0.1, application/vnd.pypi.simple.latest+html;q=0.1",
            JSON,
        );
    }

    #[test]
    fn the_query_overrides_the_field() {
        let check = |query: &str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, "text/html".parse().expect("a field value"));
            assert_eq!(negotiate(&headers, Some(query)), expected, "{query}");
        };
        check("format=application/vnd.pypi.simple.v1+json", JSON);
        check("a=b&format=application%2Fvnd.pypi.simple.latest%2Bjson", JSON);
        check("format=application/vnd.pypi.simple.v1%2Bhtml", HTML_V1);
        check("format=msgpack", None);
        check("other=1", HTML);
    }
}
