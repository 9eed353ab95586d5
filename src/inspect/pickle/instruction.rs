//! The instructions of pickles, one after the other, and what each does to the stack.
//!
//! The order of checks is CPython's (`Modules/_pickle.c`): a value that is missing above the last mark is an error, even if there are some below it.

use super::value::Value;
use super::{Broken, MOST_PLACES, Pickle, UNDERFLOW, named};
use crate::inspect::notes::Notes;
use crate::inspect::report::Kind;
use crate::inspect::tap::Step;

/// The newest protocol.
const NEWEST: u8 = 5;

/// What stands behind an instruction.
enum Operand {
    /// Nothing that matters, of so many bytes.
    Fixed(usize),
    /// So many bytes hold a length; the lowest bits count if there is no sign.
    Counted {
        width: usize,
        is_signed: bool,
    },
    Line,
}

impl Pickle {
    /// Reads one instruction from the beginning of `input`.
    pub(super) fn instruction(&mut self, input: &[u8], notes: &mut Notes) -> Result<Step, Broken> {
        let instruction = input[0];
        let operand = operand(instruction).ok_or("has an instruction that does not exist")?;
        self.instructions += 1;
        match operand {
            Operand::Line => {
                self.begin_line(instruction, None);
                Ok(Step::Used(1))
            }
            Operand::Fixed(width) => match input.get(1..=width) {
                Some(_) if width == 0 => self.plain(instruction, input, notes),
                Some(operand) => {
                    self.with_number(instruction, number(operand), notes)?;
                    Ok(Step::Used(1 + width))
                }
                None => Ok(self.later(1 + width)),
            },
            Operand::Counted { width, is_signed } => match input.get(1..=width) {
                Some(length) => {
                    let length = number(length);
                    let is_negative = is_signed && length >= 1 << 31;
                    if is_negative || length > i64::MAX as u64 {
                        return Err("has a length below zero");
                    }
                    self.with_bytes(instruction, input, 1 + width, length, notes)
                }
                None => Ok(self.later(1 + width)),
            },
        }
    }

    /// The instruction is shown again, when there is more.
    const fn later(&mut self, needed: usize) -> Step {
        self.instructions -= 1;
        Step::Need(needed)
    }

    /// Instructions that are nothing but themselves.
    fn plain(&mut self, instruction: u8, input: &[u8], notes: &mut Notes) -> Result<Step, Broken> {
        match instruction {
            b'.' => {
                self.pop()?;
                if !self.pending.is_empty() {
                    self.convince(notes);
                }
                return Ok(Step::Done(1));
            }
            b'(' => {
                if self.marks.len() >= MOST_PLACES {
                    return Err("has too many marks");
                }
                self.marks.push(self.stack.len());
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => {
                let mark = self.mark()?;
                self.stack.truncate(mark);
            }
            b'2' => self.push(self.top()?)?,
            b'N' => self.push(Value::Empty)?,
            b')' => self.push(Value::EmptyTuple)?,
            0x88 | 0x89 => self.push(Value::Int(i64::from(instruction == 0x88)))?,
            b'}' => {
                let state = self.arrays.state();
                self.push(state)?;
            }
            b']' | 0x8f | 0x97 => self.push(Value::Opaque)?,
            b'Q' => {
                self.pop()?;
                self.push(Value::Made)?;
            }
            b's' => self.settle(2, notes)?,
            b'a' => self.settle(1, notes)?,
            b'e' | b'u' | 0x90 => self.settle_marked(notes)?,
            b'd' | b'l' | 0x91 => self.gather(notes)?,
            b't' => {
                let mark = self.mark()?;
                self.tuple(mark, notes)?;
            }
            0x85..=0x87 => {
                let count = usize::from(instruction - 0x84);
                let start = self.stack.len().checked_sub(count);
                self.tuple(start.filter(|start| *start >= self.fence()).ok_or(UNDERFLOW)?, notes)?;
            }
            b'R' | 0x81 => {
                let argument = self.pop()?;
                let callee = self.pop()?;
                self.enclose(&[argument], notes);
                self.call(callee, argument, notes)?;
            }
            0x92 => {
                let named = self.pop()?;
                let argument = self.pop()?;
                let callee = self.pop()?;
                self.enclose(&[argument, named], notes);
                self.call(callee, argument, notes)?;
            }
            b'o' => {
                let mark = self.mark()?;
                let callee = *self.stack.get(mark).ok_or(UNDERFLOW)?;
                self.enclose(&self.stack[mark + 1..], notes);
                self.stack.truncate(mark);
                self.call(callee, Value::Opaque, notes)?;
            }
            // What others make of an array shows in its first byte.
            b'b' if input.len() == 1 && self.is_array_next() => return Ok(self.later(2)),
            b'b' => self.build(input.get(1).copied(), notes)?,
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                self.import(module, name, notes)?;
            }
            0x94 => {
                let place = self.memo.count();
                self.remember(place)?;
            }
            0x98 => drop(self.top()?),
            _ => return Err("has an instruction that does not exist"),
        }
        Ok(Step::Used(1))
    }

    /// Instructions with a number behind them.
    fn with_number(
        &mut self,
        instruction: u8,
        number: u64,
        notes: &mut Notes,
    ) -> Result<(), Broken> {
        match instruction {
            0x80 if number > u64::from(NEWEST) => Err("is of a protocol that does not exist"),
            0x80 | 0x95 => Ok(()),
            b'h' | b'j' => self.recall(number),
            b'q' | b'r' => self.remember(number),
            0x82..=0x84 => {
                // A number that somebody registered, in another process.
                self.import(Value::Opaque, Value::Opaque, notes)
            }
            b'K' | b'M' => self.push(i64::try_from(number).map_or(Value::Opaque, Value::Int)),
            // With a sign.
            b'J' => {
                let number = u32::try_from(number).map(u32::cast_signed);
                self.push(number.map_or(Value::Opaque, |number| Value::Int(number.into())))
            }
            _ => self.push(Value::Opaque),
        }
    }

    /// Instructions with bytes behind them.
    fn with_bytes(
        &mut self,
        instruction: u8,
        input: &[u8],
        head: usize,
        length: u64,
        notes: &mut Notes,
    ) -> Result<Step, Broken> {
        /// A text that is longer names nothing.
        const MOST_TEXT: u64 = 256;
        let is_text = matches!(instruction, b'X' | 0x8c | 0x8d | b'T' | b'U');
        if is_text && length <= MOST_TEXT {
            let whole = head + usize::try_from(length).unwrap_or(0);
            let Some(text) = input.get(head..whole) else { return Ok(self.later(whole)) };
            let value = self.texts.value(text);
            self.push(value)?;
            return Ok(Step::Used(whole));
        }
        if instruction == 0x8a && length <= 8 {
            let whole = head + usize::try_from(length).unwrap_or(0);
            let Some(digits) = input.get(head..whole) else { return Ok(self.later(whole)) };
            self.push(Value::Int(signed(digits)))?;
            return Ok(Step::Used(whole));
        }
        match instruction {
            b'B' | b'C' | 0x8e | 0x96 | b'T' => match self.bytes(input, head, length, notes)? {
                Step::Need(needed) => Ok(self.later(needed)),
                step => Ok(step),
            },
            _ => {
                self.push(Value::Opaque)?;
                Ok(Step::Skip(head, length))
            }
        }
    }

    /// Instructions with a line behind them; `None` stands for one that is too long to name anything.
    pub(super) fn with_line(
        &mut self,
        instruction: u8,
        line: Option<&[u8]>,
        module: Option<Value>,
        notes: &mut Notes,
    ) -> Result<(), Broken> {
        let text = |pickle: &mut Self| line.map_or(Value::Opaque, |line| pickle.texts.value(line));
        match instruction {
            b'c' | b'i' => {
                let value = text(self);
                let Some(module) = module else {
                    self.begin_line(instruction, Some(value));
                    return Ok(());
                };
                self.import(module, value, notes)?;
                if instruction == b'i' {
                    let callee = self.stack.pop().ok_or(UNDERFLOW)?;
                    let mark = self.mark()?;
                    self.enclose(&self.stack[mark..], notes);
                    self.stack.truncate(mark);
                    self.call(callee, Value::Opaque, notes)?;
                }
                Ok(())
            }
            b'g' => self.recall(place(line)?),
            b'p' => self.remember(place(line)?),
            b'V' => {
                // An escape in it may be any letter.
                let is_plain = line.is_some_and(|line| !line.contains(&b'\\'));
                let value = if is_plain { text(self) } else { Value::Opaque };
                self.push(value)
            }
            b'S' => {
                let inner = line.and_then(unquoted);
                let value = inner.map_or(Value::Opaque, |inner| self.texts.value(inner));
                self.push(value)
            }
            b'I' | b'L' | b'F' => match line.is_none_or(is_number) {
                true => self.push(line.and_then(int).map_or(Value::Opaque, Value::Int)),
                false => Err("has a number that is none"),
            },
            // `P`: what is outside of the pickle.
            _ => self.push(Value::Made),
        }
    }

    /// State is put into an object. Into something imported, it would change what others use.
    fn build(&mut self, next: Option<u8>, notes: &mut Notes) -> Result<(), Broken> {
        let state = self.pop()?;
        self.enclose(&[state], notes);
        match self.top()? {
            Value::Dtype(dtype) => self.arrays.describe(dtype, state),
            Value::Wrapper(wrapper) => return self.array(wrapper, state, next, notes),
            Value::WrapperClass => {
                self.convince(notes);
                self.unresolved("changes the class of joblib's arrays", notes);
            }
            Value::Global(module, name) => {
                self.convince(notes);
                let what = named(self.texts.get(module), self.texts.get(name));
                let what = format!("the pickle changes {what}, which it imported");
                notes.find(Kind::Unresolved, self.at, what);
            }
            Value::Unresolved => {
                self.unresolved("changes something whose name does not stand in it", notes);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the next instruction that builds something builds an array.
    fn is_array_next(&self) -> bool {
        matches!(self.stack.as_slice(), [.., Value::Wrapper(_), _])
    }

    /// Puts `count` values into the object below them.
    fn settle(&mut self, count: usize, notes: &mut Notes) -> Result<(), Broken> {
        let start = self.stack.len().checked_sub(count);
        let start = start.filter(|start| *start >= self.fence()).ok_or(UNDERFLOW)?;
        self.settle_from(start, notes)
    }

    fn settle_marked(&mut self, notes: &mut Notes) -> Result<(), Broken> {
        let mark = self.mark()?;
        self.settle_from(mark, notes)
    }

    /// Puts the values from a place on into the object below them.
    fn settle_from(&mut self, start: usize, notes: &mut Notes) -> Result<(), Broken> {
        self.enclose(&self.stack[start..], notes);
        if let Some(Value::State(state)) =
            start.checked_sub(1).and_then(|below| self.stack.get(below))
        {
            self.arrays.settle(*state, &self.stack[start..], &self.texts);
        }
        self.stack.truncate(start);
        self.top().map(drop)
    }

    fn gather(&mut self, notes: &mut Notes) -> Result<(), Broken> {
        let mark = self.mark()?;
        self.enclose(&self.stack[mark..], notes);
        self.stack.truncate(mark);
        self.push(Value::Opaque)
    }

    /// Makes a tuple of the values from a place on.
    fn tuple(&mut self, start: usize, notes: &mut Notes) -> Result<(), Broken> {
        let values = &self.stack[start..];
        self.enclose(values, notes);
        let value = match values {
            [Value::Seen, ..] if values.iter().all(|value| *value == Value::Seen) => Value::OfSeen,
            [] => Value::EmptyTuple,
            _ => self.arrays.tuple(values),
        };
        self.stack.truncate(start);
        self.push(value)
    }

    fn recall(&mut self, place: u64) -> Result<(), Broken> {
        let value = self.memo.get(place).ok_or("recalls what it did not remember")?;
        self.push(value)
    }

    fn remember(&mut self, place: u64) -> Result<(), Broken> {
        let value = self.top()?;
        match self.memo.put(place, value) {
            true => Ok(()),
            false => Err("remembers too many values"),
        }
    }
}

/// Whether there is an instruction that begins so.
pub(super) const fn is_instruction(byte: u8) -> bool {
    operand(byte).is_some()
}

const fn operand(instruction: u8) -> Option<Operand> {
    Some(match instruction {
        b'.'
        | b'('
        | b'0'
        | b'1'
        | b'2'
        | b'N'
        | b'Q'
        | b'R'
        | b'a'
        | b'b'
        | b'd'
        | b'}'
        | b'e'
        | b'l'
        | b']'
        | b'o'
        | b's'
        | b't'
        | b')'
        | b'u'
        | 0x81
        | 0x85..=0x89
        | 0x8f..=0x94
        | 0x97
        | 0x98 => Operand::Fixed(0),
        b'K' | b'h' | b'q' | 0x80 | 0x82 => Operand::Fixed(1),
        b'M' | 0x83 => Operand::Fixed(2),
        b'J' | b'j' | b'r' | 0x84 => Operand::Fixed(4),
        b'G' | 0x95 => Operand::Fixed(8),
        b'U' | b'C' | 0x8a | 0x8c => Operand::Counted { width: 1, is_signed: false },
        b'B' | b'X' => Operand::Counted { width: 4, is_signed: false },
        b'T' | 0x8b => Operand::Counted { width: 4, is_signed: true },
        0x8d | 0x8e | 0x96 => Operand::Counted { width: 8, is_signed: false },
        b'F' | b'I' | b'L' | b'P' | b'S' | b'V' | b'c' | b'g' | b'i' | b'p' => Operand::Line,
        _ => return None,
    })
}

/// A number, its lowest byte first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A number with a sign, its lowest byte first.
fn signed(bytes: &[u8]) -> i64 {
    let is_negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut whole = [if is_negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(whole)
}

/// A whole number as protocol 0 writes it, and truth as `00` and `01`; `None` where Python might read another.
fn int(line: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(line).ok()?;
    text.strip_suffix('L').unwrap_or(text).parse().ok()
}

/// A place in the memo, written as Python takes numbers: blanks around it, a sign, underscores within.
fn place(line: Option<&[u8]>) -> Result<u64, Broken> {
    let digits = line.and_then(|line| std::str::from_utf8(line).ok()).map(|text| {
        let text = text.trim();
        text.strip_prefix('+').unwrap_or(text).replace('_', "")
    });
    digits.and_then(|digits| digits.parse().ok()).ok_or("has a place in its memo that is no number")
}

/// What stands between quotes; `None` where an escape may be any letter.
fn unquoted(line: &[u8]) -> Option<&[u8]> {
    let line = line.trim_ascii_end();
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return None,
    };
    (!inner.contains(&b'\\')).then_some(inner)
}

/// Whether a line could be a number as Python writes them, in whatever form.
fn is_number(line: &[u8]) -> bool {
    line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-._ \t\r\0".contains(byte))
}
