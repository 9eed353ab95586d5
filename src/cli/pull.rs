//! `larder pull`: fetches ahead what names and lists mean, through the mounts.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Mutex;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::reach::Reach;
use super::wanted::Wanted;
use super::{Outcome, Overrides, lines, misused};
use crate::bundle::resource::Missing;
use crate::bundle::take::{Depth, Fared, Taken, take_all};
use crate::bundle::walk::Plan;

/// Fetch ahead what names and lists mean, so that it is kept and served from here. Run again, it goes on where it was.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Pull {
    #[command(flatten)]
    wanted: Wanted,
    /// Files fetched at once
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    jobs: usize,
    /// Say what happens as JSON, a line for each file and one in the end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder pull hf:org/model@main hf:datasets/org/name
  larder pull hf:org/model --include '*.safetensors' --include '*.json'
  larder pull pypi:requests==2.32.5 --python 3.12      with what it requires
  larder pull uv.lock --platform linux/amd64 --platform linux/arm64
  larder pull oci:registry.example/team/app:1.0        with signatures and the like
  larder pull larder.toml                              a list of all of these:

  [[pull]]
  what = \"hf:org/model@main\"
  include = [\"*.safetensors\", \"*.json\"]
  [[pull]]
  file = \"uv.lock\"
  platforms = [\"linux/amd64\"]

What a package requires is taken from its metadata: of each the newest version that all requirements allow. Lock files are taken as they are.

Exit codes: 0 all of it is kept now, 1 something is not, 2 wrong arguments.";

/// What came of a pull.
#[derive(Debug, Default, serde::Serialize)]
struct Summary {
    new: u64,
    new_bytes: u64,
    kept: u64,
    refused: u64,
    failed: u64,
}

impl Pull {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let (wants, left_out) = match self.wanted.read() {
                Ok(read) => read,
                Err(fault) => return Ok(misused(&fault)),
            };
            let view = View::new(self.json);
            let plan = Plan::make(reach, wants).await;
            let mut summary = Summary::default();
            for note in plan.walked.iter().flat_map(|walked| &walked.notes) {
                view.note(note);
            }
            for missing in
                left_out.into_iter().chain(plan.missed.iter().cloned().map(Missing::from))
            {
                summary.failed += 1;
                view.missed(&missing);
            }
            let items = plan.items();
            view.begin(items.len(), items.iter().filter_map(|item| item.size).sum());
            let progress = |_: &_, bytes| view.arrived(bytes);
            take_all(reach, items, Depth::Missing, self.jobs, &progress, |taken| {
                summary.count(&taken.fared);
                view.taken(taken);
            })
            .await;
            view.end(&summary);
            let is_whole = summary.failed == 0 && summary.refused == 0;
            Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

impl Summary {
    const fn count(&mut self, fared: &Fared) {
        match fared {
            Fared::New { bytes } => {
                self.new += 1;
                self.new_bytes += *bytes;
            }
            Fared::Kept => self.kept += 1,
            Fared::Refused { .. } => self.refused += 1,
            Fared::Missing { .. } | Fared::Failed { .. } | Fared::Mismatch { .. } => {
                self.failed += 1;
            }
        }
    }
}

/// How it looks: a bar on a terminal, else lines; or JSON.
enum View {
    Json,
    Lines,
    Bar(Mutex<ProgressBar>),
}

impl View {
    fn new(json: bool) -> Self {
        match (json, std::io::stderr().is_terminal()) {
            (true, _) => Self::Json,
            (false, true) => Self::Bar(Mutex::new(ProgressBar::hidden())),
            (false, false) => Self::Lines,
        }
    }

    fn begin(&self, files: usize, bytes: u64) {
        let Self::Bar(bar) = self else { return };
        let style = "{bytes} of {total_bytes} {wide_bar} {binary_bytes_per_sec} {eta} {msg}";
        let fresh = ProgressBar::new(bytes);
        if let Ok(style) = ProgressStyle::with_template(style) {
            fresh.set_style(style);
        }
        fresh.set_message(format!("{files} files"));
        *bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = fresh;
    }

    fn bar(&self, show: impl FnOnce(&ProgressBar)) {
        if let Self::Bar(bar) = self {
            show(&bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        }
    }

    fn arrived(&self, bytes: u64) {
        self.bar(|bar| bar.inc(bytes));
    }

    /// A line for people, above the bar if there is one.
    fn line(&self, line: &str) {
        match self {
            Self::Json => {}
            Self::Lines => eprintln!("{line}"),
            Self::Bar(_) => self.bar(|bar| bar.suspend(|| eprintln!("{line}"))),
        }
    }

    fn event(&self, event: &serde_json::Value) {
        if matches!(self, Self::Json) {
            say!("{event}");
        }
    }

    fn note(&self, note: &str) {
        self.line(&format!("note: {note}"));
        self.event(&json!({ "event": "note", "note": note }));
    }

    fn missed(&self, missing: &Missing) {
        self.line(&format!("failed: {}: {}", missing.what, missing.reason));
        self.event(&json!({ "event": "missed", "what": missing.what, "reason": missing.reason }));
    }

    fn taken(&self, taken: &Taken) {
        let Taken { item, fared, digest, .. } = taken;
        let name = format!("{} {}", item.of, item.name);
        match fared {
            Fared::New { bytes } => {
                if matches!(self, Self::Lines) {
                    self.line(&format!("new: {name} ({})", lines::size(*bytes)));
                }
            }
            Fared::Kept => self.arrived(item.size.unwrap_or_default()),
            Fared::Refused { reason } => self.line(&format!("refused: {name}: {reason}")),
            Fared::Missing { reason } | Fared::Failed { reason } => {
                self.line(&format!("failed: {name}: {reason}"));
            }
            Fared::Mismatch { reason } => self.line(&format!("wrong: {name}: {reason}")),
        }
        let mut event = json!({ "event": "file", "of": item.of, "name": item.name, "digest": digest.map(|digest| digest.to_string()) });
        if let (Some(event), Ok(serde_json::Value::Object(fared))) =
            (event.as_object_mut(), serde_json::to_value(fared))
        {
            event.extend(fared);
        }
        self.event(&event);
    }

    fn end(&self, summary: &Summary) {
        self.bar(ProgressBar::finish_and_clear);
        let Summary { new, new_bytes, kept, refused, failed } = summary;
        if matches!(self, Self::Json) {
            self.event(&json!({ "event": "summary", "summary": summary }));
        } else {
            say!(
                "{new} new ({}), {kept} kept before, {refused} refused, {failed} failed",
                lines::size(*new_bytes)
            );
        }
    }
}
