//! Names: the package URL, the readable version.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What package URLs leave unescaped in their parts.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// The package URL of a repository at a commit. A hub other than the one that the type stands for is named in it; which that is, `is_known_hub` says.
pub fn purl(repository: &str, commit: Option<&str>, hub: Option<&str>) -> String {
    let parts: Vec<String> =
        repository.split('/').map(|part| utf8_percent_encode(part, PLAIN).to_string()).collect();
    let mut purl = format!("pkg:huggingface/{}", parts.join("/"));
    if let Some(commit) = commit {
        purl.push('@');
        purl.push_str(&commit.to_ascii_lowercase());
    }
    if let Some(hub) = hub {
        purl.push_str("?repository_url=");
        let hub = hub.trim_end_matches('/');
        purl.extend(utf8_percent_encode(hub, PLAIN));
    }
    purl
}

/// The first letters of a commit, as people write it.
pub fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// The readable version. `day` is one of RFC 3339's, or a whole time.
pub(super) fn version(
    repository: &str,
    day: Option<&str>,
    commit: &str,
    quant: Option<&str>,
) -> String {
    let short = short(commit);
    let day = day.and_then(|day| day.get(..10)).map(|day| day.replace('-', "."));
    let mut version = match day {
        Some(day) => format!("{repository}@{day}-{short}"),
        None => format!("{repository}@{short}"),
    };
    if let Some(quant) = quant {
        version.push('+');
        version.push_str(quant);
    }
    version
}
