//! A hub client's own cache folder, read: which repositories it holds, their references, snapshots and blobs.
//!
//! The client names every blob by the entity tag that the hub gave it, which is a digest, so a blob proves itself. What is half a download or
//! of another program is passed over. Left out: reading the blobs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::ecosystem::huggingface::file::Content;
use crate::ecosystem::huggingface::repository::{Commit, FilePath, Repository, RepositoryType};
use crate::types::{Algorithm, Digest};

/// The largest list of a commit's files.
const TREE_LIMIT_BYTES: u64 = 512 << 20;

/// The largest reference: a commit's name and a line's end.
const REFERENCE_LIMIT_BYTES: u64 = 256;

/// A cache folder.
#[derive(Debug, Default)]
pub struct Folder {
    pub repositories: Vec<Stored>,
}

/// One repository in it.
#[derive(Debug)]
pub struct Stored {
    pub repository: Repository,
    pub blobs: Vec<Blob>,
    /// Branches and tags, as they were asked for, to the commits that they led to.
    pub references: BTreeMap<String, Commit>,
    pub snapshots: BTreeMap<Commit, BTreeMap<FilePath, Blob>>,
    /// Commits whose full list of files was kept.
    pub trees: BTreeMap<Commit, BTreeMap<FilePath, Listed>>,
}

/// Bytes under the name that the client gave them.
#[derive(Debug, Clone)]
pub struct Blob {
    pub digest: Digest,
    pub size: u64,
    pub path: PathBuf,
}

/// A file as the client's list of a commit tells it.
#[derive(Debug, Clone, Deserialize)]
pub struct Listed {
    pub size: u64,
    /// Git's name of the file, or of the pointer to it.
    pub blob_id: String,
    pub lfs_sha256: Option<String>,
    pub lfs_size: Option<u64>,
    pub xet_hash: Option<String>,
}

impl Folder {
    /// Reads the folder at `root`. Blocking.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut repositories = Vec::new();
        for name in names(root)? {
            if let Some(repository) = repository(&name) {
                repositories.push(Stored::read(repository, &root.join(&name))?);
            }
        }
        Ok(Self { repositories })
    }

    pub fn find(&self, repository: &Repository) -> Option<&Stored> {
        self.repositories.iter().find(|stored| stored.repository == *repository)
    }
}

impl Stored {
    fn read(repository: Repository, root: &Path) -> io::Result<Self> {
        let mut stored = Self {
            repository,
            blobs: Vec::new(),
            references: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            trees: BTreeMap::new(),
        };
        let blobs = root.join("blobs");
        for name in names(&blobs)? {
            stored.blobs.extend(Blob::read(&blobs.join(name))?);
        }
        for (name, path) in files_below(&root.join("refs"))? {
            let commit = fs::read_to_string(limited(&path, REFERENCE_LIMIT_BYTES)?)?;
            if let Some(commit) = Commit::parse(commit.trim()) {
                stored.references.insert(name, commit);
            }
        }
        let trees = root.join("trees");
        for name in names(&trees)? {
            let Some(commit) = name.strip_suffix(".json").and_then(Commit::parse) else { continue };
            if let Some(tree) = read_tree(&trees.join(&name))? {
                stored.trees.insert(commit, tree);
            }
        }
        let snapshots = root.join("snapshots");
        for name in names(&snapshots)? {
            let Some(commit) = Commit::parse(&name) else { continue };
            let files = stored.snapshot(&commit, &snapshots.join(&name))?;
            stored.snapshots.insert(commit, files);
        }
        Ok(stored)
    }

    /// The files of a snapshot, each by the blob that its link leads to. Where the client could make no links, only the list tells the digest.
    fn snapshot(&self, commit: &Commit, root: &Path) -> io::Result<BTreeMap<FilePath, Blob>> {
        let mut files = BTreeMap::new();
        for (name, path) in files_below(root)? {
            let Some(file) = FilePath::parse(&name) else { continue };
            let linked = fs::read_link(&path).ok().and_then(|target| digest_of(&target));
            let listed = || self.trees.get(commit)?.get(&file)?.digest();
            let Some(digest) = linked.or_else(listed) else { continue };
            // A link whose blob is gone says nothing.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            files.insert(file, Blob { digest, size: metadata.len(), path });
        }
        Ok(files)
    }

    /// The blob of this digest.
    pub fn blob(&self, digest: &Digest) -> Option<&Blob> {
        let in_snapshots = self.snapshots.values().flat_map(BTreeMap::values);
        self.blobs.iter().chain(in_snapshots).find(|blob| blob.digest == *digest)
    }
}

impl Blob {
    /// `None` for what has not the name of a blob: half a download, a lock.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let Some(digest) = digest_of(path) else { return Ok(None) };
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                Ok(Some(Self { digest, size: metadata.len(), path: path.to_owned() }))
            }
            Ok(_) => Ok(None),
            // A link to the store that several repositories share, whose blob is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Listed {
    /// The digest of the file's bytes.
    pub fn digest(&self) -> Option<Digest> {
        match &self.lfs_sha256 {
            Some(sha256) => Digest::from_hex(Algorithm::Sha256, sha256).ok(),
            None => Digest::from_hex(Algorithm::GitSha1, &self.blob_id).ok(),
        }
    }
}

/// `models--org--name`.
fn repository(name: &str) -> Option<Repository> {
    let (kind, id) = name.split_once("--")?;
    Repository::parse(RepositoryType::parse(kind)?, &id.replace("--", "/"))
}

/// The digest that the last part of a path is the name of.
fn digest_of(path: &Path) -> Option<Digest> {
    Content::of_tag(path.file_name()?.to_str()?).digest()
}

fn read_tree(path: &Path) -> io::Result<Option<BTreeMap<FilePath, Listed>>> {
    #[derive(Deserialize)]
    struct Kept {
        format_version: u32,
        files: BTreeMap<String, Listed>,
    }
    let text = fs::read(limited(path, TREE_LIMIT_BYTES)?)?;
    // Another version, or half a file: as if it were not there.
    let Ok(Kept { format_version: 1, files }) = serde_json::from_slice(&text) else {
        return Ok(None);
    };
    let named = files.into_iter().map(|(path, listed)| Some((FilePath::parse(&path)?, listed)));
    Ok(named.collect())
}

/// The path, if the file there is no larger than something of its kind is.
fn limited(path: &Path, limit_bytes: u64) -> io::Result<&Path> {
    match fs::metadata(path)?.len() > limit_bytes {
        true => {
            let text = format!("{} is larger than {limit_bytes} bytes", path.display());
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
        false => Ok(path),
    }
}

/// What is in a folder, in order; nothing if there is no such folder. Names that are no text are none of the client's.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Files and links below a folder, by their path from there. Links to folders are not followed.
fn files_below(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), root.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        for name in names(&folder)? {
            let path = folder.join(&name);
            let name = format!("{prefix}{name}");
            match fs::symlink_metadata(&path)?.is_dir() {
                true => folders.push((format!("{name}/"), path)),
                false => found.push((name, path)),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    #[test]
    fn a_folder_is_read_and_what_is_none_of_it_passed_over() {
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let root = folder.path().join("models--org--m");
        let (plain, large) = ("a".repeat(40), "b".repeat(64));
        write(&root.join("blobs").join(&plain), "plain");
        write(&root.join("blobs").join(&large), "large file");
        write(&root.join("blobs").join(format!("{large}.incomplete")), "half");
        write(&root.join("refs/main"), COMMIT);
        write(&root.join("refs/refs/pr/1"), &format!("{COMMIT}\n"));
        write(&root.join("refs/broken"), "nonsense");
        let snapshot = root.join("snapshots").join(COMMIT);
        write(&snapshot.join("copied.txt"), "copied");
        fs::create_dir_all(snapshot.join("d")).expect("a folder");
        symlink(format!("../../../blobs/{large}"), snapshot.join("d/model.bin")).expect("a link");
        symlink("../../blobs/gone", snapshot.join("gone")).expect("a link");
        write(
            &root.join("trees").join(format!("{COMMIT}.json")),
            &format!(
                r#"{{"format_version":1,"files":{{"copied.txt":{{"size":6,"blob_id":"{plain}","lfs_sha256":null,"lfs_size":null,"xet_hash":null}}}}}}"#
            ),
        );
        write(&folder.path().join("version.txt"), "1");
        write(&folder.path().join("models--a--b--c/refs/main"), COMMIT);

        let read = Folder::read(folder.path()).expect("a folder that can be read");
        assert_eq!(read.repositories.len(), 1);
        let stored = &read.repositories[0];
        assert_eq!(stored.repository.to_string(), "models/org/m");
        assert_eq!(stored.blobs.len(), 2);
        let names: Vec<&String> = stored.references.keys().collect();
        assert_eq!(names, ["main", "refs/pr/1"]);
        let commit = Commit::parse(COMMIT).expect("a commit");
        let files: Vec<_> = stored.snapshots[&commit]
            .iter()
            .map(|(path, blob)| (path.as_str(), blob.digest.to_hex(), blob.size))
            .collect();
        assert_eq!(files, [("copied.txt", plain, 6), ("d/model.bin", large, 10)]);
        assert!(
            Folder::read(&folder.path().join("nothing")).expect("empty").repositories.is_empty()
        );
    }
}
