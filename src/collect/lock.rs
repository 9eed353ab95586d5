//! `larder.lock`: exactly what was seen when something was locked. TOML, so that people can read what changed:
//!
//! ```toml
//! version = 1
//!
//! [[locked]]
//! what = "hf:org/model@main"          # as it was asked for
//! exact = "hf:org/model@0123…"        # what that was
//!
//! [[locked.files]]
//! name = "config.json"
//! digest = "sha256:…"
//! size = 570
//! ```

use serde::{Deserialize, Serialize};

use crate::collect::{Platform, Want, What};

/// A lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    #[serde(default)]
    pub locked: Vec<Locked>,
}

/// One thing that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    pub what: What,
    /// The commit, version or digest that it stood for.
    pub exact: What,
    /// The platforms that were locked, if not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
    pub files: Vec<LockedFile>,
}

/// A file and its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Empty where a list names only digests: whichever file has it.
    pub name: String,
    /// `sha256:…`, as lock files of all kinds name it.
    pub digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

const VERSION: u32 = 1;

impl Lock {
    /// A lock of the form that this program writes.
    pub const fn new(locked: Vec<Locked>) -> Self {
        Self { version: VERSION, locked }
    }

    /// Reads a file's text. `Err`: what is wrong with it, for people.
    pub fn read(text: &str) -> Result<Self, String> {
        let lock: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        match lock.version {
            VERSION => Ok(lock),
            other => Err(format!("it is of version {other}; this Larder reads version {VERSION}")),
        }
    }

    /// The file's text; equal locks give equal texts.
    pub fn write(&self) -> String {
        let text = toml::to_string(self).expect("texts and numbers have a form in TOML");
        format!("# Written by `larder lock`; `larder pull` and `larder check` read it.\n{text}")
    }

    /// What it names, file by file.
    pub fn wants(self) -> Vec<Want> {
        let want = |locked: Locked| Want {
            platforms: locked.platforms,
            files: locked.files,
            ..Want::all_of(locked.exact)
        };
        self.locked.into_iter().map(want).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_read_back() {
        let file = LockedFile {
            name: "a b.txt".into(),
            digest: format!("sha256:{}", "a".repeat(64)),
            size: Some(3),
        };
        let locked = Locked {
            what: "hf:org/model".parse().expect("a name"),
            exact: "hf:org/model@0123".parse().expect("a name"),
            platforms: Vec::new(),
            files: vec![file.clone(), LockedFile { size: None, ..file }],
        };
        let lock = Lock::new(vec![locked]);
        let text = lock.write();
        assert_eq!(Lock::read(&text), Ok(lock.clone()), "{text}");
        assert_eq!(lock.wants()[0].what.to_string(), "hf:org/model@0123");
        let newer = text.replace("version = 1", "version = 2");
        assert!(Lock::read(&newer).is_err_and(|fault| fault.contains("version 2")));
        assert!(Lock::read("version = 1\nunknown = 1").is_err());
    }
}
