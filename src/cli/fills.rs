//! `larder fills`: transfers from upstream under way.

use std::process::ExitCode;

use clap::Args;
use http::Method;

use super::reach::Reach;
use super::{Outcome, Overrides, lines};
use crate::keep::fills::{Fill, Fills as All};

/// List the transfers from upstream that are under way, or end one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Fills {
    /// End the transfer with this number: its readers are cut off, what came is kept for the next one
    #[arg(long, value_name = "ID")]
    cancel: Option<u64>,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) overrides: Overrides,
}

const EXAMPLES: &str = "Examples:
  larder fills
  larder fills --json
  larder fills --cancel 17

For administrators: from the server's own machine, or with a token that access.admins names, in LARDER_TOKEN.";

impl Fills {
    pub(super) fn run(self) -> impl AsyncFnOnce(&Reach) -> Outcome {
        async move |reach: &Reach| {
            if let Some(id) = self.cancel {
                let address = format!("fills/{id}");
                let answer: serde_json::Value = reach.call(Method::DELETE, &address).await?;
                match self.json {
                    true => say!("{}", serde_json::to_string_pretty(&answer)?),
                    false => say!("ended transfer {id}"),
                }
                return Ok(ExitCode::SUCCESS);
            }
            let all: All = reach.get("fills").await?;
            match self.json {
                true => say!("{}", serde_json::to_string_pretty(&all)?),
                false => put!("{}", text(&all)),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn text(all: &All) -> String {
    let rows: Vec<Vec<String>> = all.fills.iter().map(row).collect();
    lines::table(&["ID", "STATE", "HAS", "OF", "RATE", "READERS", "SINCE", "FROM"], &rows)
}

fn row(fill: &Fill) -> Vec<String> {
    vec![
        fill.id.to_string(),
        fill.state.clone(),
        lines::size(fill.bytes),
        fill.total_bytes.map_or_else(|| "?".to_owned(), lines::size),
        format!("{}/s", lines::size(fill.bytes_per_second)),
        fill.readers.to_string(),
        lines::span(fill.running_ms),
        fill.from.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_a_line() {
        let fill = Fill {
            id: 7,
            name: None,
            from: "https://hub.example/org/m/resolve/main/w".to_owned(),
            bytes: 1 << 20,
            resumed_bytes: 0,
            total_bytes: None,
            bytes_per_second: 2048,
            readers: 2,
            running_ms: 5000,
            state: "running".to_owned(),
        };
        let told = text(&All { fills: vec![fill] });
        let expected = "7   running  1.0 MiB  ?   2.0 KiB/s  2        5 s    https://hub.example/org/m/resolve/main/w\n";
        assert!(told.ends_with(expected), "{told}");
    }
}
