//! JSON that may describe a tokenizer or a processor: its chat template is found and judged, whatever else there is.
//!
//! Only the outermost names matter, so the text is not parsed as a whole: strings are told from what is between them, and the value behind the
//! name is kept. What is no JSON is nobody's template.

use super::notes::Notes;
use super::report::Kind;
use super::tap::{Machine, Step};
use super::template::{self, MOST_TEMPLATE};

/// The name, in descriptions of tokenizers and of processors alike.
const NAME: &str = "chat_template";

/// The longest text between quotes that is kept to be compared with the name: every letter of it may be written as an escape.
const MOST_NAME: usize = 6 * NAME.len() + 2;

/// An object of JSON being read.
#[derive(Debug, Default)]
pub(super) struct Json {
    depth: u32,
    /// Within a string, and whether the next letter is escaped.
    string: Option<bool>,
    /// The last string of the outermost object, with its quotes.
    name: Vec<u8>,
    /// The value behind the name, as it comes.
    value: Option<Vec<u8>>,
    is_over: bool,
}

impl Json {
    /// No more comes.
    pub(super) fn finish(mut self, notes: &mut Notes) {
        self.judge(notes);
    }

    /// The value is whole.
    fn judge(&mut self, notes: &mut Notes) {
        let Some(value) = self.value.take() else { return };
        if value.len() > MOST_TEMPLATE {
            notes.find(Kind::Flood, 0, "the chat template is too long".to_owned());
            return;
        }
        // What no reader takes for JSON is in no reader's hands.
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&value) {
            texts(&value, &mut |text| template::check(NAME, text, notes));
        }
    }

    fn byte(&mut self, byte: u8, notes: &mut Notes) {
        if let Some(value) = &mut self.value
            && value.len() <= MOST_TEMPLATE
            && !(self.string.is_none() && self.depth == 1 && matches!(byte, b',' | b'}'))
        {
            value.push(byte);
        }
        if let Some(is_escaped) = self.string {
            return self.within_string(byte, is_escaped);
        }
        match byte {
            b'"' => {
                self.string = Some(false);
                self.name.clear();
                self.keep(byte);
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.judge(notes);
                    self.is_over = true;
                }
            }
            b':' if self.depth == 1 && self.value.is_none() => {
                let name = serde_json::from_slice::<String>(&self.name);
                if name.is_ok_and(|name| name == NAME) {
                    self.value = Some(Vec::new());
                }
            }
            b',' if self.depth == 1 => self.judge(notes),
            _ => {}
        }
    }

    fn within_string(&mut self, byte: u8, is_escaped: bool) {
        self.keep(byte);
        self.string = match (byte, is_escaped) {
            (_, true) => Some(false),
            (b'\\', _) => Some(true),
            (b'"', _) => None,
            _ => Some(false),
        };
    }

    fn keep(&mut self, byte: u8) {
        if self.depth == 1 && self.value.is_none() && self.name.len() < MOST_NAME {
            self.name.push(byte);
        }
    }
}

impl Machine for Json {
    type Notes = Notes;

    fn advance(&mut self, input: &[u8], notes: &mut Notes) -> Step {
        let mut at = 0;
        while at < input.len() && !self.is_over {
            // Within a string that nobody keeps, only what ends it matters.
            if self.string == Some(false)
                && self.value.is_none()
                && (self.depth > 1 || self.name.len() >= MOST_NAME)
            {
                at += memchr::memchr2(b'"', b'\\', &input[at..]).unwrap_or(input.len() - at);
                if at == input.len() {
                    break;
                }
            }
            self.byte(input[at], notes);
            at += 1;
        }
        if self.is_over { Step::Done(at) } else { Step::Used(at) }
    }
}

/// Every text in a value: a template, or a list of named ones.
fn texts(value: &serde_json::Value, found: &mut impl FnMut(&str)) {
    match value {
        serde_json::Value::String(text) => found(text),
        serde_json::Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        serde_json::Value::Object(fields) => fields.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}
