//! The records, filed by package: small enough that hundreds of thousands of them fit, and found by two binary searches.
//!
//! All names and versions stand in one text, to which the rows point: a record of a malicious package costs about 150 bytes. What a record costs beyond that is
//! its ranges, as far as they are more than "all versions".

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range as Stretch;

use super::range::Range;
use super::record::{Record, Unreadable, WireAffected};
use super::scheme::{Scheme, Version};
use super::{Finding, MALICIOUS, Place, Score};
use crate::types::Timestamp;

/// Between the names or versions of one list.
const BETWEEN: char = '\n';

/// Everything that is known. Never changes: newer records make a new one.
#[derive(Default)]
pub struct Advisories {
    text: Box<str>,
    /// In the order of their names.
    rows: Box<[Row]>,
    /// In the order of their packages, those of one package in the order of the rows.
    touches: Box<[Touch]>,
    newest: Timestamp,
    epoch: u64,
}

/// A record.
#[derive(Debug)]
struct Row {
    id: Span,
    aliases: Span,
    modified: Timestamp,
    is_withdrawn: bool,
    score: Option<Score>,
    place: Place,
}

/// What a record says of one package.
#[derive(Debug)]
struct Touch {
    /// Its ecosystem and its name.
    package: Span,
    row: u32,
    versions: Span,
    /// `None`: all versions.
    ranges: Option<Box<[Range]>>,
}

/// A part of the text.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

/// Reads records and files them.
pub struct Builder {
    ecosystems: Vec<String>,
    text: String,
    rows: Vec<Row>,
    touches: Vec<Touch>,
    /// The rows in force, by name. Others were replaced by a newer text of the same record.
    names: HashMap<String, u32>,
}

impl Builder {
    /// Keeps what concerns these ecosystems, by their OSV names; none given: all.
    pub fn new(ecosystems: &[String]) -> Self {
        Self {
            ecosystems: ecosystems.to_vec(),
            text: String::new(),
            rows: Vec::new(),
            touches: Vec::new(),
            names: HashMap::new(),
        }
    }

    /// Takes a record in. One that concerns no ecosystem of ours is passed over, as is one of which a newer text is there.
    pub fn add(&mut self, text: &[u8], place: Place) -> Result<(), Unreadable> {
        let record = Record::read(text)?;
        let is_ours = |affected: &&WireAffected| {
            let package = affected.package.as_ref();
            package.is_some_and(|package| self.is_ours(&package.ecosystem))
        };
        let ours: Vec<&WireAffected> = record.affected.iter().filter(is_ours).collect();
        let modified = record.modified.unwrap_or_default();
        let known = self.names.get(&record.id).map(|row| &self.rows[*row as usize]);
        if ours.is_empty() || known.is_some_and(|known| known.modified > modified) {
            return Ok(());
        }
        let number = u32::try_from(self.rows.len()).map_err(|_| Unreadable::too_many())?;
        let row = Row {
            id: self.write(&record.id)?,
            aliases: self.write(&record.aliases.join(&BETWEEN.to_string()))?,
            modified,
            is_withdrawn: record.withdrawn.is_some(),
            score: record.score(),
            place,
        };
        self.rows.push(row);
        for affected in ours {
            self.touch(number, affected)?;
        }
        self.names.insert(record.id, number);
        Ok(())
    }

    fn is_ours(&self, ecosystem: &str) -> bool {
        self.ecosystems.is_empty() || self.ecosystems.iter().any(|ours| ours == ecosystem)
    }

    fn touch(&mut self, row: u32, affected: &WireAffected) -> Result<(), Unreadable> {
        let Some(package) = &affected.package else { return Ok(()) };
        let scheme = Scheme::of(&package.ecosystem);
        let ordered = affected.ranges.iter().filter(|range| range.kind != "GIT");
        let ranges: Vec<Range> =
            ordered.filter_map(|range| Range::read(&range.events, scheme)).collect();
        let is_all = ranges.contains(&Range::Everything);
        let mut versions: Vec<String> = match is_all {
            // What is named one by one is covered anyway.
            true => Vec::new(),
            false => affected.versions.iter().map(|version| scheme.spelling(version)).collect(),
        };
        versions.sort_unstable();
        versions.dedup();
        let touch = Touch {
            package: self.write(&key(&package.ecosystem, &scheme.name(&package.name)))?,
            row,
            versions: self.write(&versions.join(&BETWEEN.to_string()))?,
            ranges: (!is_all).then(|| ranges.into()),
        };
        self.touches.push(touch);
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<Span, Unreadable> {
        let position = |length: usize| u32::try_from(length).map_err(|_| Unreadable::too_many());
        let start = position(self.text.len())?;
        let end = position(self.text.len() + text.len())?;
        self.text.push_str(text);
        Ok(Span { start, end })
    }

    /// All of it, in order.
    pub fn finish(self) -> Advisories {
        let Self { text, rows, touches, names, .. } = self;
        let mut order: Vec<(String, u32)> = names.into_iter().collect();
        order.sort_unstable();
        let mut moved: Vec<Option<u32>> = vec![None; rows.len()];
        for (place, (_, row)) in (0..).zip(&order) {
            moved[*row as usize] = Some(place);
        }
        let mut rows: Vec<(Option<u32>, Row)> = moved.iter().copied().zip(rows).collect();
        rows.retain(|(place, _)| place.is_some());
        rows.sort_unstable_by_key(|(place, _)| *place);
        let mut rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        let mut touches: Vec<Touch> = touches
            .into_iter()
            .filter_map(|touch| Some(Touch { row: moved[touch.row as usize]?, ..touch }))
            .collect();
        touches.sort_by_key(|touch| touch.row);
        touches.sort_by(|one, other| one.package.of(&text).cmp(other.package.of(&text)));
        lend_scores(&mut rows, &text);
        let newest = rows.iter().map(|row| row.modified).max().unwrap_or_default();
        let epoch = epoch(&rows, &text);
        Advisories { text: text.into(), rows: rows.into(), touches: touches.into(), newest, epoch }
    }
}

/// Records of the same thing say how bad it is for those that do not.
fn lend_scores(rows: &mut [Row], text: &str) {
    let known: HashMap<&str, Score> =
        rows.iter().filter_map(|row| Some((row.id.of(text), row.score?))).collect();
    for row in rows.iter_mut().filter(|row| row.score.is_none()) {
        row.score = row.aliases.list(text).filter_map(|alias| known.get(alias)).max().copied();
    }
}

fn epoch(rows: &[Row], text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    for row in rows {
        (row.id.of(text), row.modified, row.is_withdrawn).hash(&mut hasher);
    }
    hasher.finish()
}

/// Under which a package is filed.
fn key(ecosystem: &str, name: &str) -> String {
    format!("{ecosystem}{BETWEEN}{name}")
}

impl Advisories {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many of them are of malicious packages.
    pub fn malicious(&self) -> usize {
        let of_them = |row: &&Row| row.id.of(&self.text).starts_with(MALICIOUS);
        self.rows.iter().filter(of_them).count()
    }

    /// When the newest of them was written.
    pub fn newest(&self) -> Option<Timestamp> {
        (!self.is_empty()).then_some(self.newest)
    }

    /// Stands for all of it: changes whenever a record does.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        let ranges = |touch: &Touch| touch.ranges.as_deref().map_or(0, size_of_val);
        self.text.len()
            + size_of_val(&*self.rows)
            + size_of_val(&*self.touches)
            + self.touches.iter().map(ranges).sum::<usize>()
    }

    /// Where the text of a record stands.
    pub fn record(&self, id: &str) -> Option<Place> {
        let found = self.rows.binary_search_by(|row| row.id.of(&self.text).cmp(id)).ok()?;
        Some(self.rows[found].place)
    }

    /// What is known of a package, in whatever way its name is spelt.
    pub fn package(&self, ecosystem: &str, name: &str) -> Package<'_> {
        let scheme = Scheme::of(ecosystem);
        if self.is_empty() {
            return Package { shelf: self, scheme, touches: &[] };
        }
        let wanted = key(ecosystem, &scheme.name(name));
        let Stretch { start, end } = self.stretch(&wanted);
        Package { shelf: self, scheme, touches: &self.touches[start..end] }
    }

    fn stretch(&self, package: &str) -> Stretch<usize> {
        let start = self.touches.partition_point(|touch| touch.package.of(&self.text) < package);
        let of_it = |touch: &Touch| touch.package.of(&self.text) == package;
        start..start + self.touches[start..].partition_point(of_it)
    }

    /// What is known of one version.
    pub fn of(&self, ecosystem: &str, name: &str, version: &str) -> Vec<Finding<'_>> {
        self.package(ecosystem, name).at(version)
    }
}

/// What is known of one package.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    shelf: &'a Advisories,
    scheme: Scheme,
    touches: &'a [Touch],
}

impl<'a> Package<'a> {
    pub const fn is_empty(&self) -> bool {
        self.touches.is_empty()
    }

    /// What concerns a version and was not withdrawn. In the order of the records' names.
    pub fn at(&self, version: &str) -> Vec<Finding<'a>> {
        if self.is_empty() {
            return Vec::new();
        }
        let version = self.scheme.version(version);
        let spellings = [version.spelling(), version.public().spelling()];
        let text = &self.shelf.text;
        self.collect(Some(&version), |touch| {
            let Some(ranges) = &touch.ranges else { return true };
            let mut named = touch.versions.list(text);
            named.any(|named| spellings.iter().any(|spelling| spelling == named))
                || ranges.iter().any(|range| range.covers(&version))
        })
    }

    /// What concerns any of its versions.
    pub fn all(&self) -> Vec<Finding<'a>> {
        self.collect(None, |_| true)
    }

    fn collect(
        &self,
        version: Option<&Version>,
        concerns: impl Fn(&Touch) -> bool,
    ) -> Vec<Finding<'a>> {
        let mut found = Vec::new();
        for of_record in self.touches.chunk_by(|one, other| one.row == other.row) {
            let row = &self.shelf.rows[of_record[0].row as usize];
            if !row.is_withdrawn && of_record.iter().any(&concerns) {
                found.push(self.finding(row, of_record, version));
            }
        }
        found
    }

    fn finding(&self, row: &Row, touches: &[Touch], version: Option<&Version>) -> Finding<'a> {
        let shelf = self.shelf;
        let id = row.id.of(&shelf.text);
        let ranges = touches.iter().filter_map(|touch| touch.ranges.as_deref()).flatten();
        let fixes = version.map(|version| ranges.filter_map(|range| range.fix_after(version)));
        let first = fixes.and_then(|fixes| {
            fixes.min_by(|one, other| one.order(other).unwrap_or(std::cmp::Ordering::Equal))
        });
        Finding {
            id,
            aliases: row.aliases.list(&shelf.text).collect(),
            severity: row.score,
            fix: first.map(ToString::to_string),
            malicious: id.starts_with(MALICIOUS),
            modified: row.modified,
            place: row.place,
        }
    }
}

impl Span {
    fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }

    /// Its parts, if it is a list.
    fn list(self, text: &str) -> impl Iterator<Item = &str> {
        self.of(text).split(BETWEEN).filter(|part| !part.is_empty())
    }
}

impl fmt::Debug for Advisories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Advisories").field("records", &self.rows.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("records", &self.rows.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::advisory::Summary;

    fn shelf(records: &[Value]) -> Advisories {
        let mut builder = Builder::new(&["PyPI".to_owned()]);
        for (source, record) in (0..).zip(records) {
            let place = Place { source, ..Place::default() };
            builder.add(record.to_string().as_bytes(), place).expect("a record");
        }
        builder.finish()
    }

    fn ids(shelf: &Advisories, name: &str, version: &str) -> Vec<String> {
        let found = shelf.of("PyPI", name, version);
        found.iter().map(|one| one.id.to_owned()).collect()
    }

    fn flaw(id: &str, name: &str, events: &Value) -> Value {
        json!({"id": id, "modified": "2026-01-01T00:00:00Z", "affected": [
            {"package": {"ecosystem": "PyPI", "name": name}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]})
    }

    #[test]
    fn records_of_other_ecosystems_are_passed_over() {
        let mut other = flaw("X-1", "six", &json!([{"introduced": "0"}]));
        other["affected"][0]["package"]["ecosystem"] = "npm".into();
        let shelf = shelf(&[other]);
        assert!(shelf.is_empty() && shelf.newest().is_none());
        assert!(shelf.package("npm", "six").is_empty());
    }

    #[test]
    fn what_was_withdrawn_is_found_by_name_alone() {
        let mut record = flaw("X-1", "six", &json!([{"introduced": "0"}]));
        record["withdrawn"] = "2026-02-01T00:00:00Z".into();
        let shelf = shelf(&[record]);
        assert_eq!(ids(&shelf, "six", "1"), [""; 0]);
        assert!(shelf.record("X-1").is_some() && shelf.record("X-2").is_none());
    }

    #[test]
    fn the_newer_text_of_a_record_counts_wherever_it_stands() {
        let old = flaw("X-1", "six", &json!([{"introduced": "0"}]));
        let mut new = flaw("X-1", "six", &json!([{"introduced": "0"}, {"fixed": "1"}]));
        new["modified"] = "2026-03-01T00:00:00Z".into();
        for (records, place) in [([&old, &new], 1), ([&new, &old], 0)] {
            let shelf = shelf(&records.map(Clone::clone));
            assert_eq!((shelf.len(), ids(&shelf, "six", "2")), (1, Vec::new()));
            assert_eq!(ids(&shelf, "six", "0.9"), ["X-1"]);
            assert_eq!(shelf.record("X-1").map(|found| found.source), Some(place));
        }
    }

    #[test]
    fn versions_are_named_or_lie_in_a_range() {
        let mut record =
            flaw("X-1", "Zope.Interface", &json!([{"introduced": "2"}, {"fixed": "2.5"}]));
        record["affected"][0]["versions"] = json!(["1.0", "2004d"]);
        let git = json!({"type": "GIT", "repo": "r", "events": [{"introduced": "0"}]});
        record["affected"][0]["ranges"].as_array_mut().expect("a list").push(git);
        let shelf = shelf(&[record]);
        for (version, expected) in [
            ("1.0", true),
            ("1.0.0", true),
            ("v1", true),
            ("1.0+local", true),
            ("2004d", true),
            ("1.1", false),
            ("2.4", true),
            ("2.5", false),
            ("nonsense", false),
        ] {
            assert_eq!(ids(&shelf, "zope_interface", version).len() == 1, expected, "{version}");
        }
        assert_eq!(shelf.package("PyPI", "zope-interface").all().len(), 1);
        assert!(shelf.package("PyPI", "zope").is_empty());
    }

    #[test]
    fn a_finding_says_what_rules_ask_for() {
        let mut ours = flaw("PYSEC-1", "six", &json!([{"introduced": "0"}, {"fixed": "1.2.0"}]));
        ours["aliases"] = json!(["CVE-1", "GHSA-1"]);
        let mut theirs = flaw("GHSA-1", "six", &json!([{"introduced": "0"}, {"fixed": "1.3"}]));
        theirs["database_specific"] = json!({"severity": "HIGH"});
        let mal = flaw("MAL-1", "sixx", &json!([{"introduced": "0"}]));
        let shelf = shelf(&[ours, theirs, mal]);
        let found = shelf.of("PyPI", "six", "1.1");
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.id, one.fix.as_deref(), one.severity.map(Score::tenths)))
            .collect();
        assert_eq!(
            told,
            [("GHSA-1", Some("1.3"), Some(70)), ("PYSEC-1", Some("1.2.0"), Some(70))],
            "the one lends the other its severity"
        );
        let summary = Summary::of(&found);
        assert_eq!(summary.ids, ["CVE-1", "GHSA-1", "PYSEC-1"]);
        assert_eq!((summary.fixed, summary.malicious), (Some(true), false));
        let summary = Summary::of(&shelf.of("PyPI", "sixx", "0.1"));
        assert_eq!((summary.fixed, summary.malicious), (Some(false), true));
        assert_eq!(Summary::of(&[]), Summary::default());
        assert_eq!((shelf.len(), shelf.malicious()), (3, 1));
    }

    #[test]
    fn several_entries_of_one_package_are_one_finding() {
        let mut record = flaw("X-1", "six", &json!([{"introduced": "0"}, {"fixed": "1"}]));
        let second = flaw("X-1", "six", &json!([{"introduced": "2"}, {"fixed": "3"}]));
        record["affected"].as_array_mut().expect("a list").push(second["affected"][0].clone());
        let shelf = shelf(&[record]);
        assert_eq!(ids(&shelf, "six", "0.1"), ["X-1"]);
        assert_eq!(ids(&shelf, "six", "1.5"), [""; 0]);
        assert_eq!(shelf.of("PyPI", "six", "2.2")[0].fix.as_deref(), Some("3"));
    }

    #[test]
    fn the_epoch_follows_the_records() {
        let one = flaw("X-1", "six", &json!([{"introduced": "0"}]));
        let mut later = one.clone();
        later["modified"] = "2026-03-01T00:00:00Z".into();
        let epoch = |record: &Value| shelf(std::slice::from_ref(record)).epoch();
        assert_eq!(epoch(&one), epoch(&one));
        assert_ne!(epoch(&one), epoch(&later));
    }

    #[test]
    fn a_record_of_a_malicious_package_costs_little() {
        let mut builder = Builder::new(&[]);
        for number in 0..20_000 {
            let record = flaw(
                &format!("MAL-2026-{number}"),
                &format!("package-{number}"),
                &json!([{"introduced": "0"}]),
            );
            builder.add(record.to_string().as_bytes(), Place::default()).expect("a record");
        }
        let shelf = builder.finish();
        assert!(shelf.bytes() / shelf.len() < 200, "{} bytes each", shelf.bytes() / shelf.len());
    }
}
