//! `larder lock`: writes down exactly what names and lists mean now.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::reach::Reach;
use super::wanted::Wanted;
use super::{Outcome, Overrides, lines, misused};
use crate::bundle::resource::Missing;
use crate::bundle::take::{Depth, Taken, take_all};
use crate::bundle::walk::{Item, Plan};
use crate::collect::LockedFile;
use crate::collect::lock::{Lock, Locked};

/// Write down exactly what names and lists mean now: commits, versions and the digest of every file. What is not kept yet is fetched where its digest is
/// not told.
#[derive(Debug, Args)]
#[command(name = "lock", after_help = EXAMPLES)]
pub(super) struct LockFiles {
    #[command(flatten)]
    wanted: Wanted,
    /// Where to write it; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "larder.lock")]
    output: PathBuf,
    /// Files read at once
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    jobs: usize,
    /// Tell what was written, or what is missing, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder lock larder.toml                  writes larder.lock
  larder lock hf:org/model@main oci:alpine:3 -o models.lock
  larder pull larder.lock                  exactly that, or an error that names what is another now
  larder check larder.lock

Exit codes: 0 it is written, 1 something could not be locked and nothing is written, 2 wrong arguments.";

impl LockFiles {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let (wants, left_out) = match self.wanted.read() {
                Ok(read) => read,
                Err(fault) => return Ok(misused(&fault)),
            };
            let plan = Plan::make(reach, wants).await;
            // Of what is told, nothing needs to be here.
            let is_told = |item: &Item| item.locked.is_none() && item.strong_digest().is_some();
            let unknown: Vec<Item> =
                plan.items().into_iter().filter(|item| !is_told(item)).collect();
            let taken =
                take_all(reach, unknown, Depth::Digests, self.jobs, &|_, _| {}, |_| {}).await;
            let mut missing = left_out;
            missing.extend(plan.missed.iter().cloned().map(Missing::from));
            let lock = locked(&plan, taken, &mut missing);
            if missing.is_empty() {
                self.write(&lock)?;
            }
            self.tell(&lock, &missing)?;
            Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }

    fn write(&self, lock: &Lock) -> Result<(), std::io::Error> {
        if self.output == Path::new("-") {
            put!("{}", lock.write());
            return Ok(());
        }
        // Whoever reads it meets the old one or the new one, never half of it.
        let half = self.output.with_added_extension("part");
        fs::write(&half, lock.write())?;
        fs::rename(&half, &self.output)
    }

    fn tell(&self, lock: &Lock, missing: &[Missing]) -> Result<(), serde_json::Error> {
        let files: usize = lock.locked.iter().map(|locked| locked.files.len()).sum();
        for one in missing {
            eprintln!("failed: {}: {}", one.what, one.reason);
        }
        if self.json {
            let told = serde_json::json!({ "locked": lock.locked.len(), "files": files, "missing": missing });
            let told = serde_json::to_string_pretty(&told)?;
            match self.output == Path::new("-") {
                true => eprintln!("{told}"),
                false => say!("{told}"),
            }
        } else if missing.is_empty() {
            let things = lines::count(lock.locked.len(), "thing");
            eprintln!("{things}, {} locked", lines::count(files, "file"));
        }
        Ok(())
    }
}

/// What was found of each thing. What has no digest is missing.
fn locked(plan: &Plan, taken: Vec<Taken>, missing: &mut Vec<Missing>) -> Lock {
    let found: HashMap<String, Taken> =
        taken.into_iter().map(|taken| (taken.item.address.clone(), taken)).collect();
    let lock = plan.walked.iter().map(|walked| {
        let files = walked.items.iter().filter_map(|item| {
            let taken = found.get(&item.address);
            match taken.map_or_else(|| item.strong_digest(), |taken| taken.digest) {
                Some(digest) => {
                    let size = taken.and_then(|taken| taken.size).or(item.size);
                    Some(LockedFile { name: item.name.clone(), digest: digest.to_string(), size })
                }
                None => {
                    let what = format!("{} {}", item.of, item.name);
                    let reason = taken.map_or("", |taken| taken.fared.reason()).to_owned();
                    missing.push(Missing { what, reason });
                    None
                }
            }
        });
        Locked {
            what: walked.want.what.clone(),
            exact: walked.exact.clone(),
            platforms: walked.want.platforms.clone(),
            files: files.collect(),
        }
    });
    Lock::new(lock.collect())
}
