//! Tape archives: blocks of 512 bytes, a head before each member.
//!
//! PyTorch still reads checkpoints in this form, and other frameworks wrap theirs in it.

use super::Member;
use crate::inspect::notes::Notes;
use crate::inspect::report::Kind;
use crate::inspect::tap::{Machine, Step};

const BLOCK: usize = 512;

/// The longest list of properties before a member; they are few and short.
const MOST_PROPERTIES: u64 = 1 << 20;

/// An archive being read.
#[derive(Debug, Default)]
pub(in crate::inspect) struct Walk {
    at: u64,
    member: Option<Open>,
}

/// A member and what is left of it, with the blanks behind it.
#[derive(Debug)]
struct Open {
    content: Member,
    left: u64,
    blank: u64,
}

impl Walk {
    /// No more comes. What is cut off in the middle of a member is no more than a member that is broken.
    pub(in crate::inspect) fn finish(self, notes: &mut Notes) {
        if let Some(open) = self.member {
            open.content.end(notes);
        }
    }

    /// The head of a member, at the beginning of `input`.
    fn head(&mut self, input: &[u8], notes: &mut Notes) -> Step {
        let Some(block) = input.get(..BLOCK) else { return Step::Need(BLOCK) };
        if block.iter().all(|byte| *byte == 0) {
            return self.used(BLOCK);
        }
        let Some(length) = length_of(block).filter(|_| is_block(block)) else {
            let what = "what should be the head of a member is none".to_owned();
            notes.find(Kind::Unparsable, self.at, what);
            return Step::Done(BLOCK);
        };
        let blank = length.next_multiple_of(BLOCK as u64) - length;
        match block[156] {
            // A list of properties may give the member another length, and readers differ in whether they believe it.
            b'x' | b'g' if length > MOST_PROPERTIES => {
                notes.find(Kind::Flood, self.at, "a list of properties is too long".to_owned());
                Step::Done(BLOCK)
            }
            b'x' | b'g' => {
                let whole = BLOCK + usize::try_from(length + blank).unwrap_or(usize::MAX - BLOCK);
                let Some(list) = input.get(BLOCK..whole) else { return Step::Need(whole) };
                if names_length(list) {
                    let what = "a list of properties gives a member another length".to_owned();
                    notes.find(Kind::Ambiguous, self.at, what);
                }
                self.used(whole)
            }
            b'S' => {
                let what = "a member has holes in it, and is read by few".to_owned();
                notes.find(Kind::Ambiguous, self.at, what);
                self.skip(length + blank)
            }
            // Links and folders have no content, whatever length they claim.
            b'1'..=b'6' => self.used(BLOCK),
            _ => {
                let name = text_of(&block[..100]);
                let content = Member::begin(&name, Some(length), self.at, notes);
                self.member = Some(Open { content, left: length, blank });
                if length == 0
                    && let Some(open) = self.member.take()
                {
                    open.content.end(notes);
                }
                self.used(BLOCK)
            }
        }
    }

    fn used(&mut self, count: usize) -> Step {
        self.at += count as u64;
        Step::Used(count)
    }

    fn skip(&mut self, count: u64) -> Step {
        self.at += BLOCK as u64 + count;
        Step::Skip(BLOCK, count)
    }

    /// The next bytes of the member.
    fn body(&mut self, input: &[u8], notes: &mut Notes) -> Step {
        let Some(open) = &mut self.member else { return Step::Done(0) };
        let take = usize::try_from(open.left).unwrap_or(usize::MAX).min(input.len());
        open.content.feed(&input[..take], notes);
        open.left -= take as u64;
        let skip = open.left.min(open.content.skips());
        open.content.pass(skip);
        open.left -= skip;
        self.at += take as u64 + skip;
        if open.left > 0 {
            return if skip > 0 { Step::Skip(take, skip) } else { Step::Used(take) };
        }
        let blank = open.blank;
        if let Some(open) = self.member.take() {
            open.content.end(notes);
        }
        self.at += blank;
        Step::Skip(take, skip + blank)
    }
}

impl Machine for Walk {
    type Notes = Notes;

    fn advance(&mut self, input: &[u8], notes: &mut Notes) -> Step {
        if self.member.is_some() {
            return self.body(input, notes);
        }
        self.head(input, notes)
    }
}

/// Whether a block is the head of a member: its sum is right.
pub(in crate::inspect) fn is_block(block: &[u8]) -> bool {
    let Some(block) = block.get(..BLOCK) else { return false };
    let Some(expected) = octal(&block[148..156]) else { return false };
    let blanked = |(at, byte): (usize, &u8)| match at {
        148..156 => u64::from(b' '),
        _ => u64::from(*byte),
    };
    expected > 0 && block.iter().enumerate().map(blanked).sum::<u64>() == expected
}

/// Whether a list of properties speaks of a length.
fn names_length(list: &[u8]) -> bool {
    memchr::memmem::find(list, b" size=").is_some()
        || memchr::memmem::find(list, b" GNU.sparse").is_some()
}

/// The length of a member: in octal digits, or a number with its highest bit set.
fn length_of(block: &[u8]) -> Option<u64> {
    let field = &block[124..136];
    match field[0] {
        0x80 if field[1..4] == [0; 3] => {
            let length =
                field[4..].iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
            (length <= i64::MAX as u64).then_some(length)
        }
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches(|c: char| c == ' ' || c == '\0');
    if digits.is_empty() {
        return Some(0);
    }
    u64::from_str_radix(digits, 8).ok()
}

fn text_of(field: &[u8]) -> String {
    let end = memchr::memchr(0, field).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}
