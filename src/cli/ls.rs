//! `larder ls`: what is kept.

use std::process::ExitCode;

use clap::Args;

use super::reach::Reach;
use super::{Outcome, Overrides, lines};
use crate::keep::listing::{Item, Page};

/// List what is kept: models, packages, images, in the words of their registries.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Ls {
    /// What names begin with: hf:, hf:org/, pypi:numpy, oci:registry.example.org/team/
    #[arg(default_value = "")]
    prefix: String,
    /// Tell all there is to say in a line
    #[arg(long, short)]
    long: bool,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder ls
  larder ls --long hf:org/
  larder ls pypi:numpy --json
  larder ls oci: --limit 20

FILES are contents that are kept, of those that belong to it. Who is no administrator sees what is kept for everybody.";

/// Things asked for at once.
const PAGE: usize = 500;

impl Ls {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            let items = self.items(reach).await?;
            match self.json {
                true => say!("{}", serde_json::to_string_pretty(&items)?),
                false if items.is_empty() => eprintln!("nothing of that is kept"),
                false => put!("{}", self.text(&items)),
            }
            Ok(ExitCode::SUCCESS)
        }
    }

    async fn items(&self, reach: &Reach) -> Result<Vec<Item>, super::reach::ReachError> {
        let mut items: Vec<Item> = Vec::new();
        let mut after: Option<String> = None;
        while items.len() < self.limit {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("prefix", &self.prefix);
            query.append_pair("limit", &PAGE.min(self.limit - items.len()).to_string());
            if let Some(after) = &after {
                query.append_pair("after", after);
            }
            let page: Page = reach.get(&format!("entries?{}", query.finish())).await?;
            items.extend(page.entries);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        items.truncate(self.limit);
        Ok(items)
    }

    fn text(&self, items: &[Item]) -> String {
        let mut head = vec!["NAME", "SIZE", "FILES"];
        if self.long {
            head.extend(["KEPT", "CONFIRMED", "UPSTREAM", "FOR", "PINNED", "IS"]);
        }
        let rows: Vec<Vec<String>> = items.iter().map(|item| self.row(item)).collect();
        lines::table(&head, &rows)
    }

    fn row(&self, item: &Item) -> Vec<String> {
        let mut row = vec![
            item.name.clone(),
            lines::size(item.kept_bytes),
            lines::part(item.kept_files, item.files),
        ];
        if self.long {
            row.extend([
                lines::day(item.first_kept.as_deref()),
                lines::day(item.validated.as_deref()),
                item.presence.clone(),
                item.audience.clone(),
                if item.pinned { "pinned" } else { "-" }.to_owned(),
                item.identity.clone(),
            ]);
        }
        row
    }
}
