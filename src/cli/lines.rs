//! Answers as people read them: columns, sizes, times.

use crate::types::Timestamp;

/// Rows under a head, each column as wide as its widest cell; the last one is not filled up.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |row: &[String]| row.iter().map(|cell| cell.chars().count()).collect::<Vec<_>>();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(cells(row)) {
            *width = (*width).max(cell);
        }
    }
    let line = |row: Vec<&str>| {
        let filled = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        filled.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(head.to_vec())).chain(body).collect()
}

/// `1.5 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 record`, `2 records`, `3 entries`.
pub fn count(number: impl TryInto<u64>, one: &str) -> String {
    match (number.try_into().unwrap_or(u64::MAX), one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (several, Some(stem)) => format!("{several} {stem}ies"),
        (several, None) => format!("{several} {one}s"),
    }
}

/// A text of somebody else's as it may go to a terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// `12 of 14`, or `14` when that is all.
pub fn part(some: u64, all: u64) -> String {
    if some == all { all.to_string() } else { format!("{some} of {all}") }
}

/// The day of an RFC 3339 instant.
pub fn day(time: Option<&str>) -> String {
    time.and_then(|time| time.get(..10)).unwrap_or("-").to_owned()
}

/// `3 h` for what took that long.
pub fn span(millis: u64) -> String {
    let seconds = Timestamp(millis).secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let text = table(&["NAME", "SIZE"], &[row(&["hf:ä/b", "1 B"]), row(&["x", ""])]);
        assert_eq!(text, "NAME    SIZE\nhf:ä/b  1 B\nx\n");
        assert_eq!(table(&["NAME"], &[]), "NAME\n");
    }

    #[test]
    fn numbers_are_written_for_people() {
        let check = |bytes, expected: &str| assert_eq!(size(bytes), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1536, "1.5 KiB");
        check(3 << 30, "3.0 GiB");
        check(u64::MAX, "16384.0 PiB");
        assert_eq!((part(3, 3), part(2, 3)), ("3".to_owned(), "2 of 3".to_owned()));
        assert_eq!(day(Some("2026-03-01T00:00:00.000Z")), "2026-03-01");
        let counts = (count(0_u64, "rule"), count(1_usize, "rule"), count(2_u64, "rule"));
        assert_eq!(counts, ("0 rules".to_owned(), "1 rule".to_owned(), "2 rules".to_owned()));
        assert_eq!((day(None), span(61_000)), ("-".to_owned(), "1 min".to_owned()));
    }
}
