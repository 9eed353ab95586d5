//! The start page: what this is, how clients use it, what it holds.

use std::fmt::Write as _;

use super::Guide;
use crate::store::Usage;

pub(super) const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Larder</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
pre { background: #f3f3f0; padding: .6rem; overflow-x: auto; margin: .2rem 0 1rem }
td { padding-right: 2rem }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1b1b1b } pre { background: #2a2a2a } a { color: #9bf } }
</style>
<h1>Larder</h1>
<p>This server keeps what passes through it once and serves it again, whatever happens upstream.</p>
";

/// The page in HTML.
pub(super) fn start(usage: &Usage, guides: &[Guide]) -> String {
    let mut html = HEAD.to_owned();
    html.push_str("<h2>Use it</h2>\n");
    for guide in guides {
        let _ = writeln!(html, "<h3>{}</h3>", escape(&guide.mount));
        for line in &guide.lines {
            let (client, text) = (escape(&line.client), escape(&line.text));
            let _ = writeln!(html, "<p>{client}</p>\n<pre>{text}</pre>");
        }
    }
    html.push_str("<h2>What it holds</h2>\n<table>\n");
    for (what, amount) in amounts(usage) {
        let _ = writeln!(html, "<tr><td>{what}<td>{amount}");
    }
    html.push_str("</table>\n<p><a href=\"/-/ready\">readiness</a>, <a href=\"/-/api/v1/status\">status</a>, ");
    let _ = writeln!(
        html,
        "<a href=\"/-/metrics\">metrics</a>. Larder {}.</p>",
        env!("CARGO_PKG_VERSION")
    );
    html
}

fn amounts(usage: &Usage) -> [(&'static str, String); 5] {
    let budget = usage.budget_bytes.map_or_else(|| "none, nothing is evicted".to_owned(), size);
    [
        ("entries", usage.entries.to_string()),
        ("files", usage.blobs.to_string()),
        ("size of the files", size(usage.blob_bytes)),
        ("size of the index", size(usage.index_bytes)),
        ("budget", budget),
    ]
}

/// A size for people, with three significant digits.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1000.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let digits = match amount {
        _ if unit == 0 => 0,
        small if small < 9.995 => 2,
        medium if medium < 99.95 => 1,
        _ => 0,
    };
    format!("{amount:.digits$} {}", UNITS[unit])
}

pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "0.98 KiB"),
            (1024, "1.00 KiB"),
            (10 << 20, "10.0 MiB"),
            (500 << 20, "500 MiB"),
            (1_500_000_000, "1.40 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn what_is_configured_cannot_become_markup() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
