//! What a path stands for.
//!
//! Paths are read as they were sent: `%2F` belongs to the segment it stands in, since revisions are written with it. A repository's name may
//! be one segment, so a word that the hub uses itself wins (`gpt2/refs`). What is not known here is passed through, never refused.

use crate::ecosystem::huggingface::repository::{
    Commit, FilePath, Repository, RepositoryType, Revision, decoded,
};

/// A path, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `ID/resolve/REVISION/PATH`, `api/resolve-cache/TYPE/ID/COMMIT/PATH`: a file as it was meant.
    Resolve(FileRoute),
    /// `ID/raw/REVISION/PATH`: a file as git has it, which is a pointer where the file is large.
    Raw(FileRoute),
    /// `api/TYPE/ID` and `api/TYPE/ID/revision/REVISION`.
    Info { repository: Repository, revision: Option<Revision> },
    /// `api/TYPE/ID/tree/REVISION` and a folder below it.
    Tree { repository: Repository, revision: Revision, folder: Option<FilePath> },
    /// `api/TYPE/ID/paths-info/REVISION`.
    PathsInfo { repository: Repository, revision: Revision },
    /// `api/TYPE/ID/refs`.
    Refs { repository: Repository },
    /// `api/TYPE/ID/commits/REVISION`.
    Commits { repository: Repository, revision: Revision },
    /// `api/TYPE/ID/auth-check`.
    AuthCheck { repository: Repository },
    /// `api/TYPE/ID/xet-read-token/REVISION`.
    XetToken { repository: Repository, revision: Revision },
    /// Anything else that belongs to one repository.
    Other { repository: Repository },
    /// `api/telemetry/...`: nobody's business.
    Telemetry,
    /// Below [`OWN`]: addresses that Larder hands out itself.
    Own(OwnRoute),
    /// `v2/...`: the repositories as a container registry sees them.
    Registry(RegistryRoute),
    /// `ID.git/info/lfs/objects/batch`.
    LfsBatch { repository: Repository },
    /// Git's own protocol: `ID.git/...`, `ID/info/refs`, `ID/git-upload-pack`.
    Git { repository: Repository },
    /// All the rest: passed through.
    Pass,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRoute {
    pub repository: Repository,
    pub revision: Revision,
    pub path: FilePath,
}

/// Where Larder's own addresses for hub clients begin: no repository can be named so.
pub const OWN: &str = "-/hf/";

/// Below [`OWN`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnRoute {
    /// `xet/v1/reconstructions/HASH`, `xet/v2/...`.
    Reconstruction {
        version: u8,
        hash: String,
    },
    /// `xet/v1/telemetry`: nobody's business either.
    XetTelemetry,
    /// `xet/xorb/CAPABILITY/INDEX`: a virtual xorb of a file.
    Xorb {
        capability: String,
        index: String,
    },
    /// `blob/CAPABILITY`: a whole file, for git-lfs and Ollama.
    Blob {
        capability: String,
    },
    /// `record/TYPE/ID`: what is known of a repository.
    Record {
        repository: Repository,
    },
    /// `datasets-server/PATH`: what the host `datasets-server.*` is mapped to.
    DatasetsServer {
        rest: String,
    },
    Unknown,
}

/// Below `v2/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryRoute {
    /// `v2/` itself.
    Ping,
    Manifest {
        name: String,
        reference: String,
    },
    /// The digest as it was written: `sha256:HEX`, `sha256-HEX`.
    Blob {
        name: String,
        digest: String,
    },
    Unknown,
}

/// Reads a path below the mount, without its leading slash, still encoded.
pub fn route(path: &str) -> Route {
    let segments: Vec<&str> = path.split('/').collect();
    match segments.as_slice() {
        ["-", "hf", rest @ ..] => Route::Own(own(rest)),
        ["-", ..] => Route::Own(OwnRoute::Unknown),
        ["v2", rest @ ..] => Route::Registry(registry(rest)),
        // Xet's client reports to the root of the host that gave it its token.
        ["api", "telemetry", ..] | ["v1", "telemetry"] => Route::Telemetry,
        ["api", "resolve-cache", kind, rest @ ..] => resolve_cache(kind, rest),
        ["api", kind, rest @ ..] => {
            RepositoryType::parse(kind).and_then(|kind| api(kind, rest)).unwrap_or(Route::Pass)
        }
        [kind, rest @ ..] => match RepositoryType::parse(kind) {
            Some(RepositoryType::Models) => Route::Pass,
            Some(kind) => web(kind, rest).unwrap_or(Route::Pass),
            None => web(RepositoryType::Models, &segments).unwrap_or(Route::Pass),
        },
        [] => Route::Pass,
    }
}

/// What follows the type in `api/TYPE/...`.
fn api(kind: RepositoryType, rest: &[&str]) -> Option<Route> {
    let (repository, rest) = repository(kind, rest, is_api_word)?;
    let route = match rest {
        [] | [""] => Route::Info { repository, revision: None },
        ["revision", name] => Route::Info { repository, revision: Some(revision(name)?) },
        ["tree", name, folder @ ..] => {
            let folder = match folder {
                [] | [""] => None,
                folder => Some(path(folder)?),
            };
            Route::Tree { repository, revision: revision(name)?, folder }
        }
        ["paths-info", name] => Route::PathsInfo { repository, revision: revision(name)? },
        ["refs"] => Route::Refs { repository },
        ["commits", name] => Route::Commits { repository, revision: revision(name)? },
        ["auth-check"] => Route::AuthCheck { repository },
        ["xet-read-token", name] => Route::XetToken { repository, revision: revision(name)? },
        _ => Route::Other { repository },
    };
    Some(route)
}

/// Words that follow a repository's id in the API, and therefore are no second half of one.
fn is_api_word(word: &str) -> bool {
    matches!(
        word,
        "revision"
            | "tree"
            | "treesize"
            | "paths-info"
            | "refs"
            | "commits"
            | "commit"
            | "compare"
            | "auth-check"
            | "xet-read-token"
            | "xet-write-token"
            | "safetensors-metadata"
            | "parquet"
            | "croissant"
            | "discussions"
            | "resource-group"
            | "settings"
            | "branch"
            | "tag"
            | "preupload"
            | "super-squash"
            | "user-access-request"
            | "lfs-files"
            | "like"
            | "likers"
            | "notebook"
            | "scan"
            | ""
    )
}

/// What follows the type's prefix in addresses of pages, files and git.
fn web(kind: RepositoryType, segments: &[&str]) -> Option<Route> {
    if let Some(route) = git(kind, segments) {
        return Some(route);
    }
    let (repository, rest) = repository(kind, segments, is_web_word)?;
    let (verb, rest) = rest.split_first()?;
    match *verb {
        "resolve" => file(repository, rest).map(Route::Resolve),
        "raw" => file(repository, rest).map(Route::Raw),
        "git-upload-pack" => Some(Route::Git { repository }),
        "info" if matches!(rest, ["refs"]) => Some(Route::Git { repository }),
        "info" if matches!(rest, ["lfs", "objects", "batch"]) => {
            Some(Route::LfsBatch { repository })
        }
        _ => Some(Route::Other { repository }),
    }
}

fn is_web_word(word: &str) -> bool {
    matches!(
        word,
        "resolve"
            | "raw"
            | "blob"
            | "tree"
            | "blame"
            | "commits"
            | "commit"
            | "discussions"
            | "settings"
            | "git-upload-pack"
            | "info"
    )
}

/// `ID.git/...`.
fn git(kind: RepositoryType, segments: &[&str]) -> Option<Route> {
    let at = segments.iter().take(2).position(|segment| segment.ends_with(".git"))?;
    let id = segments[..=at].join("/");
    let repository = Repository::parse(kind, id.strip_suffix(".git")?)?;
    Some(match &segments[at + 1..] {
        ["info", "lfs", "objects", "batch"] => Route::LfsBatch { repository },
        _ => Route::Git { repository },
    })
}

/// The repository that segments begin with, and the segments behind it.
fn repository<'a, 'b>(
    kind: RepositoryType,
    segments: &'a [&'b str],
    is_word: fn(&str) -> bool,
) -> Option<(Repository, &'a [&'b str])> {
    let (first, rest) = segments.split_first()?;
    let first = decoded(first)?;
    // A client that escapes the slash of an id means the same repository, unless the address would mean something else without the escape.
    if let Some((_, second)) = first.split_once('/') {
        if is_word(second) {
            return None;
        }
        return Some((Repository::parse(kind, &first)?, rest));
    }
    match rest.split_first() {
        Some((second, rest)) if !is_word(second) => {
            let id = format!("{first}/{}", decoded(second)?);
            Some((Repository::parse(kind, &id)?, rest))
        }
        _ => Some((Repository::parse(kind, &first)?, rest)),
    }
}

/// `REVISION/PATH`.
fn file(repository: Repository, rest: &[&str]) -> Option<FileRoute> {
    let (revision, rest) = match rest {
        // Written without escapes by people; no branch is named `refs`.
        ["refs", area @ ("pr" | "convert" | "heads" | "tags"), name, rest @ ..] => {
            (Revision::parse(&format!("refs/{area}/{}", decoded(name)?))?, rest)
        }
        [name, rest @ ..] => (revision(name)?, rest),
        [] => return None,
    };
    Some(FileRoute { repository, revision, path: path(rest)? })
}

fn resolve_cache(kind: &str, rest: &[&str]) -> Route {
    let read = || {
        let kind = RepositoryType::parse(kind)?;
        // An id has one or two segments; the commit behind it tells which.
        let is_commit = |segment: &&str| Commit::parse(segment).is_some();
        let at = rest.iter().position(is_commit)?;
        let repository = Repository::parse(kind, &decoded(&rest[..at].join("/"))?)?;
        file(repository, &rest[at..])
    };
    read().map_or(Route::Pass, Route::Resolve)
}

fn revision(segment: &str) -> Option<Revision> {
    Revision::parse(&decoded(segment)?)
}

fn path(segments: &[&str]) -> Option<FilePath> {
    FilePath::parse(&decoded(&segments.join("/"))?)
}

fn own(rest: &[&str]) -> OwnRoute {
    let owned = |text: &str| text.to_owned();
    match rest {
        ["xet", version @ ("v1" | "v2"), "reconstructions", hash] => OwnRoute::Reconstruction {
            version: if *version == "v1" { 1 } else { 2 },
            hash: owned(hash),
        },
        ["xet", "v1", "telemetry"] => OwnRoute::XetTelemetry,
        ["xet", "xorb", text, index] => {
            OwnRoute::Xorb { capability: owned(text), index: owned(index) }
        }
        ["blob", text] => OwnRoute::Blob { capability: owned(text) },
        ["datasets-server", rest @ ..] => OwnRoute::DatasetsServer { rest: rest.join("/") },
        ["record", rest @ ..] => match decoded(&rest.join("/")).map(|text| text.parse()) {
            Some(Ok(repository)) => OwnRoute::Record { repository },
            _ => OwnRoute::Unknown,
        },
        _ => OwnRoute::Unknown,
    }
}

fn registry(rest: &[&str]) -> RegistryRoute {
    let read = || {
        let (last, rest) = rest.split_last()?;
        let (verb, name) = rest.split_last()?;
        if name.is_empty() || name.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let (name, last) = (decoded(&name.join("/"))?.into_owned(), decoded(last)?.into_owned());
        match *verb {
            "manifests" => Some(RegistryRoute::Manifest { name, reference: last }),
            "blobs" => Some(RegistryRoute::Blob { name, digest: last }),
            _ => None,
        }
    };
    match rest {
        [] | [""] => RegistryRoute::Ping,
        _ => read().unwrap_or(RegistryRoute::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    fn repository(text: &str) -> Repository {
        text.parse().expect("a repository")
    }

    fn file_route(text: &str, revision: &str, path: &str) -> FileRoute {
        FileRoute {
            repository: repository(text),
            revision: Revision::parse(revision).expect("a revision"),
            path: FilePath::parse(path).expect("a path"),
        }
    }

    #[test]
    fn files_are_found_in_every_spelling() {
        let check = |path: &str, expected: FileRoute| {
            assert_eq!(route(path), Route::Resolve(expected), "{path}");
        };
        check("org/m/resolve/main/a.txt", file_route("models/org/m", "main", "a.txt"));
        check("gpt2/resolve/main/d/a.txt", file_route("models/gpt2", "main", "d/a.txt"));
        check("gpt2/resolve/main/resolve/a", file_route("models/gpt2", "main", "resolve/a"));
        check("datasets/squad/resolve/main/a", file_route("datasets/squad", "main", "a"));
        check("spaces/o/s/resolve/main/a", file_route("spaces/o/s", "main", "a"));
        check("o/m/resolve/refs%2Fpr%2F1/a", file_route("models/o/m", "refs/pr/1", "a"));
        check("o/m/resolve/refs/pr/1/a", file_route("models/o/m", "refs/pr/1", "a"));
        check("o/m/resolve/main/s%20d/a%2Bb", file_route("models/o/m", "main", "s d/a+b"));
        check("o/m/resolve/main/d%2Fa", file_route("models/o/m", "main", "d/a"));
        check("o%2Fm/resolve/main/a", file_route("models/o/m", "main", "a"));
        check(
            &format!("api/resolve-cache/models/o/m/{SHA}/d/a"),
            file_route("models/o/m", SHA, "d/a"),
        );
        check(
            &format!("api/resolve-cache/datasets/squad/{SHA}/a"),
            file_route("datasets/squad", SHA, "a"),
        );
    }

    #[test]
    fn what_is_no_file_is_passed_on() {
        for path in [
            "",
            "org",
            "models",
            "datasets",
            "models/o/m/resolve/main/a",
            "api/resolve-cache/models/o/m/main/a",
            "api/models",
            "api/whoami-v2",
            "o/m/resolve/main/d%2F..%2Fa",
            "o/m/resolve/main/",
            "o/m/resolve/a..b/c",
            "buckets/o/b/resolve/a",
            "o/m/resolve/main/%ff",
            "api/models/gpt2%2Frefs",
            "gpt2%2Fresolve/main/a",
        ] {
            assert!(
                matches!(route(path), Route::Pass | Route::Info { .. } | Route::Other { .. }),
                "{path}: {:?}",
                route(path)
            );
        }
    }

    #[test]
    fn reserved_words_win_over_names() {
        let check = |path: &str, expected: Route| assert_eq!(route(path), expected, "{path}");
        check("api/models/gpt2/refs", Route::Refs { repository: repository("models/gpt2") });
        check(
            "api/models/o/refs2",
            Route::Info { repository: repository("models/o/refs2"), revision: None },
        );
        check("api/models/o/m/refs", Route::Refs { repository: repository("models/o/m") });
        check(
            "api/models/gpt2/revision/main",
            Route::Info {
                repository: repository("models/gpt2"),
                revision: Revision::parse("main"),
            },
        );
        check(
            "api/datasets/o/d/tree/refs%2Fconvert%2Fparquet/data%2Fx",
            Route::Tree {
                repository: repository("datasets/o/d"),
                revision: Revision::parse("refs/convert/parquet").expect("a revision"),
                folder: FilePath::parse("data/x"),
            },
        );
        check(
            "api/models/o/m/discussions/1",
            Route::Other { repository: repository("models/o/m") },
        );
        check(
            "api/models/o/m/xet-read-token/main",
            Route::XetToken {
                repository: repository("models/o/m"),
                revision: Revision::parse("main").expect("a revision"),
            },
        );
    }

    #[test]
    fn the_other_protocols_have_their_places() {
        let check = |path: &str, expected: Route| assert_eq!(route(path), expected, "{path}");
        check(
            "o/m.git/info/lfs/objects/batch",
            Route::LfsBatch { repository: repository("models/o/m") },
        );
        check("datasets/d.git/info/refs", Route::Git { repository: repository("datasets/d") });
        check("gpt2/info/refs", Route::Git { repository: repository("models/gpt2") });
        check("v2/", Route::Registry(RegistryRoute::Ping));
        check(
            "v2/o/m/manifests/Q4_K_M",
            Route::Registry(RegistryRoute::Manifest {
                name: "o/m".to_owned(),
                reference: "Q4_K_M".to_owned(),
            }),
        );
        check(
            "-/hf/xet/v2/reconstructions/ab",
            Route::Own(OwnRoute::Reconstruction { version: 2, hash: "ab".to_owned() }),
        );
        let (capability, index) = ("c-d".to_owned(), "7".to_owned());
        check("-/hf/xet/xorb/c-d/7", Route::Own(OwnRoute::Xorb { capability, index }));
        let capability = "c-d".to_owned();
        check("-/hf/blob/c-d", Route::Own(OwnRoute::Blob { capability }));
        check(
            "-/hf/datasets-server/parquet",
            Route::Own(OwnRoute::DatasetsServer { rest: "parquet".to_owned() }),
        );
    }
}
