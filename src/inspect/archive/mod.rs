//! Archives: their members are files of their own, looked into as they come.

use super::content::Content;
use super::notes::Notes;
use super::report::Kind;

pub(super) mod tar;
pub(super) mod zip;

mod directory;

/// A member being read; `None` where it lies too deep to be looked into.
#[derive(Debug)]
struct Member(Option<Content>);

impl Member {
    /// Goes into a member that begins at byte `at` of its archive.
    fn begin(name: &str, length: Option<u64>, at: u64, notes: &mut Notes) -> Self {
        if !notes.enter(name) {
            let what = "an archive lies in archives, too deep to be looked into".to_owned();
            notes.find(Kind::Deep, at, what);
            return Self(None);
        }
        Self(Some(Content::member(name, length)))
    }

    fn feed(&mut self, bytes: &[u8], notes: &mut Notes) {
        if let Some(content) = &mut self.0 {
            content.feed(bytes, notes);
        }
    }

    /// How many of the next bytes nobody needs to see.
    fn skips(&self) -> u64 {
        self.0.as_ref().map_or(u64::MAX, Content::skips)
    }

    /// Whether nothing more is to be found in it.
    fn is_settled(&self) -> bool {
        self.0.as_ref().is_none_or(Content::is_settled)
    }

    fn pass(&mut self, count: u64) {
        if let Some(content) = &mut self.0 {
            content.pass(count);
        }
    }

    /// It is over.
    fn end(self, notes: &mut Notes) {
        if let Some(content) = self.0 {
            content.finish(notes);
            notes.leave();
        }
    }
}
