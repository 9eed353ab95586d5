//! What a command is told to deal with: names, and files that list them.

use std::fs;
use std::path::Path;

use clap::Args;

use crate::bundle::resource::Missing;
use crate::collect::lists::{List, ListError};
use crate::collect::{Dependencies, Platform, Want, What};

/// What names begin with; all else is a file.
const SCHEMES: [&str; 3] = ["hf:", "pypi:", "oci:"];

/// The largest list.
const LIMIT_BYTES: u64 = 64 << 20;

/// Names and lists, and how much of them.
#[derive(Debug, Clone, Args)]
pub(super) struct Wanted {
    /// hf:ORG/MODEL@REVISION, pypi:NAME==VERSION, oci:NAME:TAG, or a file: requirements.txt, uv.lock, poetry.lock, pylock.toml, larder.toml, larder.lock
    #[arg(value_name = "WHAT")]
    pub(super) what: Vec<String>,
    /// Only what runs on this platform, such as linux/amd64; may be given several times [default: all]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<Platform>,
    /// Choose versions of what packages require for this Python, such as 3.12 [default: the newest]
    #[arg(long, value_name = "VERSION")]
    python: Option<String>,
    /// Leave out what packages require
    #[arg(long)]
    no_deps: bool,
    /// Only files of a repository that fit this pattern, such as '*.safetensors'; may be given several times
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
}

impl Wanted {
    /// Reads the lists. What they name and no index can give comes with them.
    pub(super) fn read(&self) -> Result<(Vec<Want>, Vec<Missing>), ListError> {
        if self.what.is_empty() {
            let fault = "give names such as hf:ORG/MODEL, or files that list them".to_owned();
            return Err(ListError { file: "nothing is named".to_owned(), fault });
        }
        let mut all = List::default();
        for text in &self.what {
            let is_name = SCHEMES.iter().any(|scheme| text.starts_with(scheme));
            if is_name && !Path::new(text).exists() {
                let what: What = text.parse().map_err(|fault: crate::collect::Unnamed| {
                    ListError { file: fault.text, fault: fault.fault }
                })?;
                let dependencies = Dependencies::Followed;
                all.wants.push(Want { dependencies, ..Want::all_of(what) });
                continue;
            }
            let listed = load(text).map_err(|fault| {
                let fault = format!("{fault}; names begin with {}", SCHEMES.join(", "));
                ListError { file: text.clone(), fault }
            })?;
            let list = List::read(text, &listed, &mut |path| load(path))?;
            all.wants.extend(list.wants);
            all.left_out.extend(list.left_out);
        }
        for want in &mut all.wants {
            if !self.platform.is_empty() {
                want.platforms.clone_from(&self.platform);
            }
            if self.no_deps {
                want.dependencies = Dependencies::Listed;
            }
            want.python = self.python.clone().or_else(|| want.python.take());
            want.include.extend(self.include.iter().cloned());
        }
        let left_out = all.left_out.into_iter().map(|(what, reason)| Missing { what, reason });
        Ok((all.wants, left_out.collect()))
    }
}

fn load(path: &str) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > LIMIT_BYTES {
        return Err(format!("it is larger than {LIMIT_BYTES} bytes"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}
