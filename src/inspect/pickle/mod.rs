//! Pickles, read as the machine reads that runs them, but for running anything.
//!
//! A pickle is a program. Whatever it does begins with an import, so the stack and the memo are followed as far as needed to know what is imported and
//! called; everything else on the stack is a value without a content. Protocols 0 to 5, each instruction as CPython has it: where CPython would stop
//! with an error, reading stops too, and no sooner.
//!
//! Nobody can tell from its first byte that something is a pickle of protocol 0 or 1, so anything may be tried as one ([`Stance::Guess`]): then it is one as
//! soon as it calls something, and what breaks before that is none.
//!
//! ```text
//! instruction   one instruction and its effect on the stack
//! value         what is known of values
//! array         how long the arrays are that joblib writes between instructions
//! view          what those who know nothing of such arrays would read
//! ```

use super::content::Content;
use super::notes::{Notes, quoted};
use super::report::{Format, Kind};
use super::tap::{Machine, Step, Tap};
use memchr::memchr;

mod array;
mod instruction;
#[cfg(test)]
mod tests;
mod value;
mod view;

use array::{Arrays, DTYPE, WRAPPER};
use value::{MOST_PLACES, Memo, Texts, Value};
use view::Views;

/// The longest text of a line that may be looked at; what is longer names nothing.
const MOST_LINE_BYTES: usize = 1024;

/// The call that reads the bytes it is given as a file of PyTorch's. It is harmless if those are.
const LOADS_BYTES: (&str, &str) = ("torch.storage", "_load_from_bytes");

/// Whether it is sure that there is a pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stance {
    /// What cannot be read speaks against it.
    Sure,
    /// What cannot be read is no pickle.
    Guess,
    /// It is how others read it, most likely none: what cannot be read ends that.
    Doubt,
}

/// How a pickle ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With its last instruction. Others may follow.
    Stopped,
    /// It is none, or broken.
    Broken,
}

/// A pickle being read.
#[derive(Debug)]
pub(super) struct Pickle {
    stance: Stance,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Memo,
    texts: Texts,
    arrays: Arrays,
    /// Whether whoever reads it takes what is behind joblib's placeholders for arrays.
    reads_arrays: bool,
    views: Views,
    /// Bytes to be gone past that other views may need.
    passing: u64,
    /// Imports of something that may be no pickle after all.
    pending: Vec<(u32, u32)>,
    /// Where it begins, and where the next byte lies in the file or member.
    begin: u64,
    at: u64,
    part: Part,
    instructions: u64,
    ending: Option<Ending>,
}

/// What of an instruction comes next.
#[derive(Debug)]
enum Part {
    Instruction,
    /// A line; of a text so much is kept.
    Line {
        instruction: u8,
        kept: Vec<u8>,
        is_long: bool,
        /// Bytes of it that came before.
        passed: u64,
        module: Option<Value>,
    },
    /// Bytes that are a file of their own, this much of them.
    File {
        inner: Box<Content>,
        left: u64,
    },
    /// An array of objects: a pickle of its own.
    Objects {
        tap: Tap,
        pickle: Box<Pickle>,
    },
    /// An array of so many bytes, behind a byte that counts those of padding.
    Padding(u64),
    /// The end of the first such array, as long as what a reader is ahead who does not count the padding.
    Tail {
        left: u64,
        is_begun: bool,
    },
    /// An array of so many bytes.
    Numbers(u64),
}

/// Why reading stops: in words that go on from "the pickle".
type Broken = &'static str;

impl Pickle {
    /// A pickle that begins at byte `at`.
    pub(super) fn new(stance: Stance, at: u64) -> Self {
        Self {
            stance,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Memo::default(),
            texts: Texts::default(),
            arrays: Arrays::default(),
            reads_arrays: true,
            views: Views::default(),
            passing: 0,
            pending: Vec::new(),
            begin: at,
            at,
            part: Part::Instruction,
            instructions: 0,
            ending: None,
        }
    }

    /// Whether anything of it was read.
    pub(super) const fn is_begun(&self) -> bool {
        self.at > self.begin
    }

    /// Whether the file is none if this is none: it is one for sure, or the first of the file.
    pub(super) fn matters(&self) -> bool {
        self.stance == Stance::Sure || self.begin == 0
    }

    /// Where the next byte lies.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// How it ended; `None` while it goes on.
    pub(super) const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// No more bytes come.
    pub(super) fn end(&mut self, notes: &mut Notes) {
        match std::mem::replace(&mut self.part, Part::Instruction) {
            Part::File { inner, .. } => {
                inner.finish(notes);
                notes.leave();
            }
            Part::Objects { mut pickle, .. } => pickle.end(notes),
            _ => {}
        }
        if self.ending.is_none() {
            self.break_off("ends without its last instruction", notes);
        }
    }

    fn break_off(&mut self, why: Broken, notes: &mut Notes) {
        self.ending = Some(Ending::Broken);
        if let Part::File { .. } = std::mem::replace(&mut self.part, Part::Instruction) {
            notes.leave();
        }
        if self.stance == Stance::Sure {
            notes.find(Kind::Unparsable, self.at, format!("the pickle {why}"));
        }
    }

    /// A line of text.
    fn line(&mut self, input: &[u8], notes: &mut Notes) -> Result<Step, Broken> {
        let Part::Line { instruction, kept, is_long, passed, module } = &mut self.part else {
            return Err("is lost");
        };
        let end = memchr(b'\n', input);
        let text = &input[..end.unwrap_or(input.len())];
        let room = MOST_LINE_BYTES - kept.len();
        kept.extend_from_slice(&text[..text.len().min(room)]);
        *is_long |= text.len() > room;
        let Some(end) = end else {
            *passed += input.len() as u64;
            return Ok(Step::Used(input.len()));
        };
        let (instruction, is_long, passed, module) = (*instruction, *is_long, *passed, *module);
        let line = std::mem::take(kept);
        self.part = Part::Instruction;
        let line = (!is_long).then_some(line.as_slice());
        // What is found in a line lies where it begins, in however many pieces it came.
        self.at -= passed;
        self.with_line(instruction, line, module, notes)?;
        self.at += passed;
        Ok(Step::Used(end + 1))
    }

    fn begin_line(&mut self, instruction: u8, module: Option<Value>) {
        self.part = Part::Line { instruction, kept: Vec::new(), is_long: false, passed: 0, module };
    }

    /// Bytes that are a file of their own.
    fn file(&mut self, input: &[u8], notes: &mut Notes) -> Result<Step, Broken> {
        let Part::File { inner, left } = &mut self.part else { return Err("is lost") };
        let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
        inner.feed(&input[..take], notes);
        *left -= take as u64;
        if *left > 0 {
            return Ok(Step::Used(take));
        }
        let inner = std::mem::replace(&mut self.part, Part::Instruction);
        let is_read = match inner {
            Part::File { inner, .. } => inner.finish(notes),
            _ => false,
        };
        notes.leave();
        self.push(if is_read { Value::Seen } else { Value::Opaque })?;
        Ok(Step::Used(take))
    }

    /// Goes past `length` bytes behind a head of `head`: into them, where they are a file.
    fn bytes(
        &mut self,
        input: &[u8],
        head: usize,
        length: u64,
        notes: &mut Notes,
    ) -> Result<Step, Broken> {
        /// Enough to tell what bytes are.
        const GLANCE: u64 = 8;
        let glance = usize::try_from(length.min(GLANCE)).unwrap_or(0);
        let Some(first) = input.get(head..head + glance) else {
            return Ok(Step::Need(head + glance));
        };
        if is_file(first) && self.stance != Stance::Doubt {
            if !notes.enter("bytes") {
                notes.find(Kind::Deep, self.at, "files lie within files, too deep".to_owned());
                return Err("has files within files, too deep");
            }
            let inner = Box::new(Content::nested());
            self.part = Part::File { inner, left: length };
            return Ok(Step::Used(head));
        }
        self.push(Value::Opaque)?;
        Ok(Step::Skip(head, length))
    }

    /// Something is imported. It is noted at once where this is a pickle for sure, else when something is done with it.
    fn import(&mut self, module: Value, name: Value, notes: &mut Notes) -> Result<(), Broken> {
        if self.stance == Stance::Doubt && self.is_misnamed(module, name, notes) {
            return self.push(Value::Absent);
        }
        let (Value::Text(module), Value::Text(name)) = (module, name) else {
            if self.stance == Stance::Sure {
                self.unresolved("imports something whose name does not stand in it", notes);
            }
            return self.push(Value::Unresolved);
        };
        let named = (self.texts.get(module), self.texts.get(name));
        let is_wrapper = named == WRAPPER;
        if self.stance == Stance::Sure {
            notes.global(named.0, named.1);
        } else {
            if !is_module(named.0) || self.pending.len() >= MOST_PENDING {
                return Err("imports what is no name");
            }
            self.pending.push((module, name));
        }
        self.push(if is_wrapper { Value::WrapperClass } else { Value::Global(module, name) })
    }

    /// Whether a name is one that is allowed, but of another module. Arrays make others recall the wrong values, so that their module does not even exist;
    /// and under such a name there is nothing that does harm.
    fn is_misnamed(&self, module: Value, name: Value, notes: &Notes) -> bool {
        let Value::Text(name) = name else { return false };
        let name = self.texts.get(name);
        let is_right = match module {
            Value::Text(module) => notes.allows(self.texts.get(module), name),
            _ => false,
        };
        !is_right && notes.allows_name(name)
    }

    /// Something is called, with `argument`; what it makes is on top.
    fn call(&mut self, callee: Value, argument: Value, notes: &mut Notes) -> Result<(), Broken> {
        let (module, name) = match callee {
            Value::Global(module, name) => (module, name),
            Value::Unresolved => {
                self.convince(notes);
                self.unresolved("calls something whose name does not stand in it", notes);
                return self.push(Value::Made);
            }
            Value::Made | Value::Dtype(_) | Value::Wrapper(_) => {
                if self.stance != Stance::Doubt {
                    self.convince(notes);
                    self.unresolved("calls something that it did not import", notes);
                }
                return self.push(Value::Made);
            }
            Value::Absent => return self.push(Value::Made),
            Value::WrapperClass => {
                self.convince(notes);
                let wrapper = self.arrays.wrapper();
                return self.push(wrapper);
            }
            _ => return Err("calls a plain value"),
        };
        self.convince(notes);
        let called = (self.texts.get(module), self.texts.get(name));
        if called == LOADS_BYTES && argument != Value::OfSeen {
            self.unresolved("has bytes loaded that are no file", notes);
        }
        let made = match called {
            DTYPE => self.arrays.dtype(argument, &self.texts),
            _ => Value::Made,
        };
        self.push(made)
    }

    /// It does something, so it is a pickle.
    fn convince(&mut self, notes: &mut Notes) {
        notes.format(Format::Pickle);
        for (module, name) in std::mem::take(&mut self.pending) {
            notes.global(self.texts.get(module), self.texts.get(name));
        }
    }

    fn unresolved(&self, what: &str, notes: &mut Notes) {
        notes.find(Kind::Unresolved, self.at, format!("the pickle {what}"));
    }

    fn push(&mut self, value: Value) -> Result<(), Broken> {
        if self.stack.len() >= MOST_PLACES {
            return Err("has too many values");
        }
        self.stack.push(value);
        Ok(())
    }

    /// The values above the last mark, or all: what instructions that need no mark may take.
    fn fence(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value, Broken> {
        match self.stack.len() > self.fence() {
            true => self.stack.pop().ok_or(UNDERFLOW),
            false => Err(UNDERFLOW),
        }
    }

    /// The value on top, which stays.
    fn top(&self) -> Result<Value, Broken> {
        match self.stack.len() > self.fence() {
            true => self.stack.last().copied().ok_or(UNDERFLOW),
            false => Err(UNDERFLOW),
        }
    }

    /// Takes the last mark away: the values above it begin there.
    fn mark(&mut self) -> Result<usize, Broken> {
        self.marks.pop().ok_or("has no mark where one belongs")
    }
}

const UNDERFLOW: Broken = "takes a value where there is none";

/// Imports that something may have before it has called anything.
const MOST_PENDING: usize = 256;

impl Machine for Pickle {
    type Notes = Notes;

    fn advance(&mut self, input: &[u8], notes: &mut Notes) -> Step {
        let mut used = 0;
        let spent = self.instructions;
        while used < input.len() {
            let rest = &input[used..];
            let step = match self.part {
                _ if self.passing > 0 => Ok(self.pass(rest)),
                Part::Instruction => self.instruction(rest, notes),
                Part::Line { .. } => self.line(rest, notes),
                Part::File { .. } => self.file(rest, notes),
                _ => self.array_bytes(rest, notes),
            };
            self.show(rest, &step, notes);
            match step {
                Ok(Step::Used(count)) => used += self.go(count),
                Ok(Step::Skip(count, skip)) if !self.views.is_empty() => {
                    used += self.go(count);
                    self.passing = skip;
                }
                Ok(Step::Skip(count, skip)) => {
                    used += self.go(count);
                    self.at += skip;
                    if skip > 0 {
                        return Step::Skip(used, skip);
                    }
                }
                Ok(Step::Need(count)) if used == 0 => return Step::Need(count),
                Ok(Step::Need(_)) => break,
                Ok(Step::Done(count)) => {
                    used += self.go(count);
                    if !self.views.is_empty() {
                        self.differs(notes);
                    }
                    self.ending = Some(Ending::Stopped);
                    return Step::Done(used);
                }
                Err(why) => {
                    self.break_off(why, notes);
                    return Step::Done(used);
                }
            }
        }
        if !notes.spend(self.instructions - spent) {
            notes.find(Kind::Flood, self.at, "the pickle has too many instructions".to_owned());
            self.stance = Stance::Guess;
            self.break_off("has too many instructions", notes);
            return Step::Done(used);
        }
        Step::Used(used)
    }
}

impl Pickle {
    const fn go(&mut self, count: usize) -> usize {
        self.at += count as u64;
        count
    }

    /// Goes past bytes that only others look at.
    fn pass(&mut self, input: &[u8]) -> Step {
        let take = usize::try_from(self.passing).unwrap_or(usize::MAX).min(input.len());
        self.passing -= take as u64;
        Step::Used(take)
    }

    /// Shows others what a step took.
    fn show(&mut self, input: &[u8], step: &Result<Step, Broken>, notes: &mut Notes) {
        if let Ok(Step::Used(count) | Step::Skip(count, _) | Step::Done(count)) = step
            && !self.views.is_empty()
        {
            self.views.feed(&input[..*count], notes);
            self.views.begin();
        }
    }
}

/// Whether bytes begin as files do that are programs, or hold some.
fn is_file(first: &[u8]) -> bool {
    matches!(first, [0x80, 2..=5, ..] | [b'P', b'K', 3, 4, ..] | [0x93, b'N', b'U', b'M', ..])
}

/// Whether a module could be called so. Text that is no pickle seldom looks like one, and hardly ever with such a name.
fn is_module(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|part| {
            part.chars().all(|letter| letter.is_alphanumeric() || letter == '_')
                && !part.starts_with(|letter: char| letter.is_ascii_digit())
        })
}

/// How something imported is named to people.
fn named(module: &str, name: &str) -> String {
    format!("{}.{}", quoted(module), quoted(name))
}
