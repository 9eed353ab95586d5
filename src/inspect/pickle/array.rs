//! Arrays as joblib writes them: a placeholder is made in the pickle, and the numbers follow it, bare, in the middle of the instructions.
//!
//! How many bytes they have stands in the placeholder's state alone, so the few values that say so are followed exactly as NumPy and joblib read them. What does
//! not stand there plainly makes the length unknown, and then nobody can say where the next instruction is.

use super::value::{Texts, Value};
use super::{Broken, Ending, Part, Pickle, Stance};
use crate::inspect::notes::Notes;
use crate::inspect::tap::{Flow, Step, Tap};

/// The placeholder.
pub(super) const WRAPPER: (&str, &str) = ("joblib.numpy_pickle", "NumpyArrayWrapper");

/// The type of an array's numbers.
pub(super) const DTYPE: (&str, &str) = ("numpy", "dtype");

/// Tuples, states, types and placeholders that are followed, of each kind; what comes later is not known.
const MOST_FOLLOWED: usize = 1 << 18;

/// Sides of an array, and values of a type's state, at most.
const MOST_VALUES: usize = 64;

/// joblib lets the numbers begin at a multiple of this, so that there are fewer bytes of padding than that, and one that counts them.
const MOST_PADDING: u8 = 16;

/// The values that are followed.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrays {
    tuples: Vec<Box<[Value]>>,
    states: Vec<State>,
    dtypes: Vec<Dtype>,
    /// Whether a placeholder has got its state.
    wrappers: Vec<bool>,
}

/// What a placeholder is given.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    shape: Option<Value>,
    dtype: Option<Value>,
    alignment: Option<Value>,
    /// It holds something that joblib does not write.
    is_strange: bool,
}

/// A type of numbers.
#[derive(Debug, Clone, Copy)]
struct Dtype {
    bytes: u64,
    /// Its size stands in its state: texts, bytes, structures.
    is_flexible: bool,
    holds_objects: bool,
    is_strange: bool,
}

/// What follows a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// A pickle of the array's objects.
    Objects,
    /// Numbers, behind a count of bytes of padding and those.
    Padded(u64),
    /// Numbers, as joblib wrote them before version 1.2.
    Bare(u64),
}

/// The number behind a placeholder that counts bytes of padding.
const fn padding(count: u8) -> Option<u64> {
    if count <= MOST_PADDING { Some(count as u64) } else { None }
}

impl Arrays {
    /// A tuple of these values.
    pub(super) fn tuple(&mut self, values: &[Value]) -> Value {
        if values.len() > MOST_VALUES || self.tuples.len() >= MOST_FOLLOWED {
            return Value::Opaque;
        }
        self.tuples.push(values.into());
        number(self.tuples.len()).map_or(Value::Opaque, Value::Tuple)
    }

    /// An empty dictionary, which may become a state.
    pub(super) fn state(&mut self) -> Value {
        if self.wrappers.is_empty() || self.states.len() >= MOST_FOLLOWED {
            return Value::Opaque;
        }
        self.states.push(State::default());
        number(self.states.len()).map_or(Value::Opaque, Value::State)
    }

    /// Puts values under keys, in pairs, into a state.
    pub(super) fn settle(&mut self, state: u32, pairs: &[Value], texts: &Texts) {
        let Some(state) = self.states.get_mut(state as usize) else { return };
        for pair in pairs.chunks(2) {
            let [Value::Text(key), value] = *pair else {
                state.is_strange = true;
                continue;
            };
            match texts.get(key) {
                "shape" => state.shape = Some(value),
                "dtype" => state.dtype = Some(value),
                "numpy_array_alignment_bytes" => state.alignment = Some(value),
                "subclass" | "order" | "allow_mmap" => {}
                _ => state.is_strange = true,
            }
        }
    }

    /// A placeholder.
    pub(super) fn wrapper(&mut self) -> Value {
        if self.wrappers.len() >= MOST_FOLLOWED {
            return Value::Unresolved;
        }
        self.wrappers.push(false);
        number(self.wrappers.len()).map_or(Value::Unresolved, Value::Wrapper)
    }

    /// The type that a call with this argument makes: `('<f8', False, True)`, a copy for itself alone.
    pub(super) fn dtype(&mut self, argument: Value, texts: &Texts) -> Value {
        let Some([Value::Text(code), _, Value::Int(1)]) = self.values(argument) else {
            return Value::Made;
        };
        let Some(dtype) = dtype(texts.get(*code)) else { return Value::Made };
        if self.dtypes.len() >= MOST_FOLLOWED {
            return Value::Made;
        }
        self.dtypes.push(dtype);
        number(self.dtypes.len()).map_or(Value::Made, Value::Dtype)
    }

    /// A type is given its state: version, order of bytes, type of sub-arrays, names, fields, bytes, alignment, flags, and what newer versions add.
    pub(super) fn describe(&mut self, dtype: u32, state: Value) {
        /// Of the flags: there are objects in it.
        const HAS_OBJECT: i64 = 1;
        let described = match self.values(state) {
            Some(
                [
                    Value::Int(3 | 4),
                    _,
                    Value::Empty,
                    _,
                    _,
                    Value::Int(bytes),
                    _,
                    Value::Int(flags),
                    ..,
                ],
            ) => Some((*bytes, *flags)),
            _ => None,
        };
        let Some(dtype) = self.dtypes.get_mut(dtype as usize) else { return };
        match described {
            Some((bytes, flags)) => {
                dtype.holds_objects = flags & HAS_OBJECT != 0;
                if dtype.is_flexible {
                    dtype.is_strange |= bytes < 0;
                    dtype.bytes = bytes.unsigned_abs();
                }
            }
            None => dtype.is_strange = true,
        }
    }

    /// A placeholder is given its state: what follows it. `None` where that does not stand in it.
    pub(super) fn fill(&mut self, wrapper: u32, state: Value) -> Option<Body> {
        if std::mem::replace(self.wrappers.get_mut(wrapper as usize)?, true) {
            return None;
        }
        let Value::State(state) = state else { return None };
        let state = self.states.get(state as usize).filter(|state| !state.is_strange)?;
        let Value::Dtype(dtype) = state.dtype? else { return None };
        let dtype = self.dtypes.get(dtype as usize).filter(|dtype| !dtype.is_strange)?;
        if dtype.holds_objects {
            return Some(Body::Objects);
        }
        let mut bytes = dtype.bytes;
        for side in self.values(state.shape?)? {
            let Value::Int(side) = side else { return None };
            bytes = bytes.checked_mul(u64::try_from(*side).ok()?)?;
        }
        // NumPy counts in signed numbers. An array of nothing at all is none that joblib can read.
        let is_countable = dtype.bytes > 0 && bytes <= i64::MAX as u64;
        match state.alignment {
            _ if !is_countable => None,
            Some(Value::Int(_)) => Some(Body::Padded(bytes)),
            Some(Value::Empty) | None => Some(Body::Bare(bytes)),
            Some(_) => None,
        }
    }

    fn values(&self, tuple: Value) -> Option<&[Value]> {
        match tuple {
            Value::Tuple(place) => self.tuples.get(place as usize).map(AsRef::as_ref),
            // The empty one has an instruction of its own.
            Value::EmptyTuple => Some(&[]),
            _ => None,
        }
    }
}

impl Pickle {
    /// A placeholder is given its state: what follows it is an array.
    pub(super) fn array(
        &mut self,
        wrapper: u32,
        state: Value,
        next: Option<u8>,
        notes: &mut Notes,
    ) -> Result<(), Broken> {
        const UNKNOWN: Broken = "holds an array whose length does not stand in it";
        match self.stance {
            Stance::Doubt => {
                self.differs(notes);
                return Err(UNKNOWN);
            }
            _ if !self.reads_arrays => return Ok(()),
            Stance::Sure | Stance::Guess => {}
        }
        self.fork_at_array(next, notes);
        let Some(body) = self.arrays.fill(wrapper, state) else {
            self.unresolved(UNKNOWN, notes);
            return Err(UNKNOWN);
        };
        self.pop()?;
        self.push(Value::Made)?;
        self.part = match body {
            Body::Objects => {
                let mut pickle = Box::new(Self::new(Stance::Sure, self.at));
                pickle.reads_arrays = false;
                Part::Objects { tap: Tap::default(), pickle }
            }
            Body::Padded(bytes) => Part::Padding(bytes),
            Body::Bare(bytes) => Part::Numbers(bytes),
        };
        Ok(())
    }

    /// The next bytes of an array.
    pub(super) fn array_bytes(&mut self, input: &[u8], notes: &mut Notes) -> Result<Step, Broken> {
        match std::mem::replace(&mut self.part, Part::Instruction) {
            Part::Objects { mut tap, mut pickle } => {
                let used = match tap.feed(input, pickle.as_mut(), notes) {
                    Flow::Drained => input.len(),
                    Flow::Done(left) => input.len() - left,
                };
                match pickle.ending() {
                    None => self.part = Part::Objects { tap, pickle },
                    Some(Ending::Stopped) => {}
                    Some(Ending::Broken) => return Err("has a broken one within an array"),
                }
                Ok(Step::Used(used))
            }
            Part::Padding(bytes) => {
                let padding = padding(input[0]).ok_or("has an array that is padded oddly")?;
                if bytes == 0 || !self.meets_padding() {
                    return Ok(Step::Skip(1, padding + bytes));
                }
                self.part = Part::Tail { left: padding + 1, is_begun: false };
                Ok(Step::Skip(1, bytes - 1))
            }
            Part::Tail { left, is_begun: false } => {
                self.fork_at_tail(input[0], notes);
                self.part = Part::Tail { left, is_begun: true };
                Ok(Step::Used(0))
            }
            Part::Tail { left, .. } => {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let left = left - take as u64;
                if left > 0 {
                    self.part = Part::Tail { left, is_begun: true };
                }
                Ok(Step::Used(take))
            }
            Part::Numbers(bytes) => Ok(Step::Skip(0, bytes)),
            _ => Err("is lost"),
        }
    }

    /// Values go into another. What stands for an array is only found again where it lies by itself, as joblib leaves it.
    pub(super) fn enclose(&self, values: &[Value], notes: &mut Notes) {
        let is_part = |value: &Value| matches!(value, Value::WrapperClass | Value::Wrapper(_));
        if self.reads_arrays && self.stance != Stance::Doubt && values.iter().any(is_part) {
            self.unresolved("hides what stands for an array", notes);
        }
    }
}

/// The place of the last of so many.
fn number(count: usize) -> Option<u32> {
    u32::try_from(count).ok()?.checked_sub(1)
}

/// A type by its code: an order of bytes, a letter, and bytes, or letters of a text.
fn dtype(code: &str) -> Option<Dtype> {
    let plain = code.trim_start_matches(['<', '>', '|', '=']);
    let letter = plain.chars().next()?;
    let count: u64 = plain.get(letter.len_utf8()..)?.parse().ok()?;
    let (is_known, width, is_flexible) = match letter {
        'b' => (count == 1, 1, false),
        'i' | 'u' => (matches!(count, 1 | 2 | 4 | 8), 1, false),
        'f' => (matches!(count, 2 | 4 | 8 | 12 | 16), 1, false),
        'c' => (matches!(count, 8 | 16 | 24 | 32), 1, false),
        'M' | 'm' => (count == 8, 1, false),
        'O' => (matches!(count, 4 | 8), 1, false),
        'S' | 'V' => (true, 1, true),
        'U' => (true, 4, true),
        _ => (false, 1, false),
    };
    let bytes = count.checked_mul(width).filter(|bytes| *bytes <= i64::from(i32::MAX) as u64)?;
    is_known.then_some(Dtype {
        bytes,
        is_flexible,
        holds_objects: letter == 'O',
        is_strange: false,
    })
}
