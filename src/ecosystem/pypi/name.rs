//! Names of projects, and what a file's name says of its project and version.

use std::borrow::Cow;

/// The longest name that is looked at.
const LONGEST: usize = 256;

/// Most ways in which one file name is split.
const MOST_SPLITS: usize = 3;

/// Suffixes of distribution files, longest first where one ends another.
const SUFFIXES: [&str; 14] = [
    ".whl",
    ".tar.gz",
    ".zip",
    ".tar.bz2",
    ".tar.xz",
    ".tar.lzma",
    ".tar.Z",
    ".tgz",
    ".tar",
    ".egg",
    ".exe",
    ".msi",
    ".rpm",
    ".deb",
];

/// Whether `name` is a project's name (core metadata specification). Checked before it is normalised: normalising would
/// hide what is wrong.
pub fn is_valid(name: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= LONGEST
        && edge(name.bytes().next())
        && edge(name.bytes().next_back())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The normalised form (PEP 503): lower case, runs of `-`, `_` and `.` become one `-`.
pub fn normalised(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut previous = b'-';
    let normal = name.bytes().all(|byte| {
        let fits = plain(byte) || byte == b'-' && previous != b'-';
        previous = byte;
        fits
    });
    if normal && previous != b'-' {
        return Cow::Borrowed(name);
    }
    let mut result = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' if result.ends_with('-') => {}
            '-' | '_' | '.' => result.push('-'),
            other => result.push(other.to_ascii_lowercase()),
        }
    }
    Cow::Owned(result)
}

/// One reading of a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split<'a> {
    /// Normalised.
    pub project: String,
    /// As the name spells it.
    pub version: &'a str,
}

/// The projects and versions that a file's name may stand for, the most likely first; empty for what is no distribution file.
///
/// A wheel names them without doubt. In a source archive's name, `-` may belong to the project, so the split is best made
/// at the last one before a digit (PEP 625 asks for exactly one, older archives do not obey).
pub fn splits(filename: &str) -> Vec<Split<'_>> {
    let Some((stem, suffix)) = stem(filename) else { return Vec::new() };
    let fixed = matches!(suffix, ".whl" | ".egg");
    let mut cuts: Vec<usize> = stem.match_indices('-').map(|(at, _)| at).collect();
    if fixed {
        cuts.truncate(1);
    } else {
        let versioned = |at: &usize| {
            let rest = stem[at + 1..].trim_start_matches(['v', 'V']);
            rest.starts_with(|first: char| first.is_ascii_digit())
        };
        let (mut likely, mut others): (Vec<_>, Vec<_>) = cuts.into_iter().partition(versioned);
        likely.reverse();
        others.reverse();
        likely.append(&mut others);
        cuts = likely;
    }
    let split = |at: usize| {
        let project = &stem[..at];
        let rest = &stem[at + 1..];
        let version = if fixed { rest.split('-').next().unwrap_or(rest) } else { rest };
        is_valid(project)
            .then(|| Split { project: normalised(project).into_owned(), version })
            .filter(|split| !split.version.is_empty())
    };
    let mut found: Vec<Split<'_>> = Vec::new();
    for one in cuts.into_iter().filter_map(split) {
        if found.len() < MOST_SPLITS && found.iter().all(|other| other.project != one.project) {
            found.push(one);
        }
    }
    found
}

/// Whether a file's name may stand for `project` (normalised).
pub fn is_of(project: &str, filename: &str) -> bool {
    let plain = |rest: &str| {
        rest.starts_with(|first: char| first.is_ascii_digit())
            && (rest.ends_with(".whl") || !rest.contains('-') && is_distribution(rest))
    };
    // Nearly all files are named by the book; the others are worth the longer look.
    after_project(project, filename).is_some_and(plain)
        || splits(filename).iter().any(|split| split.project == project)
}

/// What follows `project` and a dash, when the file's name begins so in any spelling of the same length.
fn after_project<'a>(project: &str, filename: &'a str) -> Option<&'a str> {
    let (head, rest) = filename.split_at_checked(project.len())?;
    let same = |(one, other): (u8, u8)| match other {
        b'-' => matches!(one, b'-' | b'_' | b'.'),
        other => one.to_ascii_lowercase() == other,
    };
    let spelled = head.bytes().zip(project.bytes()).all(same);
    rest.strip_prefix('-').filter(|_| spelled)
}

/// Whether the name ends as distribution files do.
pub fn is_distribution(filename: &str) -> bool {
    stem(filename).is_some()
}

/// The version that a file of `project` (normalised) carries, by its name.
pub fn version_of<'a>(project: &str, filename: &'a str) -> Option<&'a str> {
    splits(filename).into_iter().find(|split| split.project == project).map(|split| split.version)
}

fn stem(filename: &str) -> Option<(&str, &'static str)> {
    SUFFIXES.into_iter().find_map(|suffix| {
        let stem = filename.strip_suffix(suffix)?;
        (!stem.is_empty()).then_some((stem, suffix))
    })
}

/// Whether a normalised name fits a pattern in which `*` stands for any run of characters: `acme-*`.
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for name in
            ["", "-a", "a-", ".", "..", "a/b", "a b", "a%2fb", "é", "a\0", "_", &"a".repeat(257)]
        {
            assert!(!is_valid(name), "{name}");
        }
        for name in ["a", "A1", "zope.interface", "ruamel_yaml-x"] {
            assert!(is_valid(name), "{name}");
        }
    }

    #[test]
    fn names_are_normalised() {
        for (name, expected) in [
            ("six", "six"),
            ("Foo.Bar__baz-.-Q", "foo-bar-baz-q"),
            ("a--b", "a-b"),
            ("a-b", "a-b"),
            ("A", "a"),
        ] {
            assert_eq!(normalised(name), expected);
        }
    }

    #[test]
    fn file_names_are_split_the_most_likely_way_first() {
        let check = |filename: &str, expected: &[(&str, &str)]| {
            let found: Vec<_> =
                splits(filename).into_iter().map(|one| (one.project, one.version)).collect();
            let found: Vec<_> =
                found.iter().map(|(name, version)| (name.as_str(), *version)).collect();
            assert_eq!(found, expected, "{filename}");
        };
        check("six-1.16.0-py2.py3-none-any.whl", &[("six", "1.16.0")]);
        check("torch-2.1.0+cu118-cp310-cp310-linux_x86_64.whl", &[("torch", "2.1.0+cu118")]);
        check("foo_bar-1.0-1-py3-none-any.whl", &[("foo-bar", "1.0")]);
        check("setuptools-0.6c11-py2.6.egg", &[("setuptools", "0.6c11")]);
        check("zope.interface-5.0.tar.gz", &[("zope-interface", "5.0")]);
        check("foo-bar-1.0.tar.gz", &[("foo-bar", "1.0"), ("foo", "bar-1.0")]);
        check("py-2-3.0-1.zip", &[("py-2-3-0", "1"), ("py-2", "3.0-1"), ("py", "2-3.0-1")]);
        check("demo-v1.0.tgz", &[("demo", "v1.0")]);
        check("demo-latest.tar.bz2", &[("demo", "latest")]);
        check(
            "demo-1.0.win32-py2.7.exe",
            &[("demo", "1.0.win32-py2.7"), ("demo-1-0-win32", "py2.7")],
        );
        for no_distribution in
            ["demo-1.0.tar.gz.asc", "index.html", "demo.whl", "-1.0.tar.gz", ".whl"]
        {
            check(no_distribution, &[]);
        }
    }

    #[test]
    fn the_short_look_agrees_with_the_long_one() {
        for (project, filename, expected) in [
            ("six", "six-1.0-py3-none-any.whl", true),
            ("six", "sixth-1.0-py3-none-any.whl", false),
            ("foo-bar", "Foo.Bar-1.0.tar.gz", true),
            ("foo-bar", "foo__bar-1.0.tar.gz", true),
            ("foo", "foo-2-1.0.tar.gz", true),
            ("foo-2", "foo-2-1.0.tar.gz", true),
            ("foo", "foo-1.0.html", false),
        ] {
            assert_eq!(is_of(project, filename), expected, "{project} {filename}");
        }
    }

    #[test]
    fn patterns_route_names() {
        for (pattern, name, expected) in [
            ("acme-*", "acme-core", true),
            ("acme-*", "acme", false),
            ("acme", "acme", true),
            ("acme", "acme-core", false),
            ("*-internal", "x-internal", true),
            ("*", "anything", true),
            ("a*b*c", "a-xx-b-yy-c", true),
            ("a*b*c", "a-c", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
