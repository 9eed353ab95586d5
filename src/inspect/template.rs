//! Chat templates: what they call and reach for, against what templates need.
//!
//! A template is a program in Jinja, and not every loader runs it in a sandbox. Whatever does harm must call something, and comes to it over names that begin
//! with an underscore or belong to Python's inner life; so statements, calls, filters and tests are judged by lists of what is allowed, and names by their form.
//! Left out: what a template says. One that turns a model against its user is harmless to look at.

use std::collections::HashSet;

use super::notes::{Notes, quoted};
use super::report::Kind;
use super::tap::{Machine, Step};

mod words;

use words::{CALLS, FILTERS, INNER, METHODS, STATEMENTS, TESTS};

/// The longest template that is read.
pub(super) const MOST_TEMPLATE: usize = 4 << 20;

/// Collects a template that is a file of its own.
#[derive(Debug, Default)]
pub(super) struct Collected {
    text: Vec<u8>,
}

impl Collected {
    /// No more comes.
    pub(super) fn finish(self, notes: &mut Notes) {
        notes.format(super::report::Format::Template);
        match self.text.len() > MOST_TEMPLATE {
            true => notes.find(Kind::Flood, 0, "the chat template is too long".to_owned()),
            false => check("the template", &String::from_utf8_lossy(&self.text), notes),
        }
    }
}

impl Machine for Collected {
    type Notes = Notes;

    fn advance(&mut self, input: &[u8], _: &mut Notes) -> Step {
        let room = (MOST_TEMPLATE + 1).saturating_sub(self.text.len());
        self.text.extend_from_slice(&input[..input.len().min(room)]);
        Step::Used(input.len())
    }
}

/// Judges a template. `name` says which, in the words of its file.
pub(super) fn check(name: &str, text: &str, notes: &mut Notes) {
    if let Err(Fault { at, what }) = judge(text) {
        notes.find(Kind::Template, at as u64, format!("{} {what}", quoted(name)));
    }
}

/// What speaks against a template.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    at: usize,
    what: String,
}

fn judge(text: &str) -> Result<(), Fault> {
    let blocks = blocks(text)?;
    let mut macros: HashSet<&str> = HashSet::new();
    for block in &blocks {
        if let [
            Token { kind: Lexeme::Name("macro"), .. },
            Token { kind: Lexeme::Name(own), .. },
            ..,
        ] = block.words()
        {
            macros.insert(own);
        }
    }
    blocks.iter().try_for_each(|block| block.check(&macros))
}

/// What stands between braces.
#[derive(Debug)]
struct Block<'a> {
    is_statement: bool,
    tokens: Vec<Token<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token<'a> {
    at: usize,
    kind: Lexeme<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lexeme<'a> {
    Name(&'a str),
    /// What stands between the quotes, escapes and all.
    Text(&'a str),
    Number,
    Sign(char),
}

/// Parts a template into its blocks. Comments and plain text are nothing; what stands between `raw` and `endraw` is text to Jinja, and judged all the
/// same, since it costs little and a reader may differ.
fn blocks(text: &str) -> Result<Vec<Block<'_>>, Fault> {
    let bytes = text.as_bytes();
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'{', &bytes[at..]) {
        at += found;
        match bytes.get(at + 1) {
            Some(b'#') => {
                let end = text[at..].find("#}").map_or(text.len(), |end| at + end + 2);
                at = end;
            }
            Some(mark @ (b'{' | b'%')) => {
                let is_statement = *mark == b'%';
                let (tokens, end) = tokens(text, at + 2, if is_statement { '%' } else { '}' })?;
                blocks.push(Block { is_statement, tokens });
                at = end;
            }
            _ => at += 1,
        }
    }
    Ok(blocks)
}

/// The tokens from `start` to the closing braces, and where those end.
fn tokens(text: &str, start: usize, closing: char) -> Result<(Vec<Token<'_>>, usize), Fault> {
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(letter) = text[at..].chars().next() {
        let rest = &text[at..];
        let closes = rest.starts_with(if closing == '%' { "%}" } else { "}}" });
        if closes && (depth == 0 || closing == '%') {
            return Ok((tokens, at + 2));
        }
        let length = match letter {
            '"' | '\'' => {
                string_length(rest).ok_or_else(|| fault(at, "has a text without an end"))?
            }
            _ if letter.is_alphabetic() || letter == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            _ if letter.is_ascii_digit() => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            _ => letter.len_utf8(),
        };
        let piece = &rest[..length];
        let kind = match letter {
            '"' | '\'' => Some(Lexeme::Text(&piece[1..length - 1])),
            _ if letter.is_alphabetic() || letter == '_' => Some(Lexeme::Name(piece)),
            _ if letter.is_ascii_digit() => Some(Lexeme::Number),
            _ if letter.is_whitespace() => None,
            _ => Some(Lexeme::Sign(letter)),
        };
        match letter {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        tokens.extend(kind.map(|kind| Token { at, kind }));
        at += length;
    }
    // Jinja takes it for an error.
    Ok((tokens, text.len()))
}

fn string_length(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if letter == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

impl<'a> Block<'a> {
    /// The words of a statement, without the sign before them that trims blanks; nothing of an expression.
    fn words(&self) -> &[Token<'a>] {
        match self.tokens.as_slice() {
            _ if !self.is_statement => &[],
            [Token { kind: Lexeme::Sign('-' | '+'), .. }, words @ ..] => words,
            words => words,
        }
    }

    fn check(&self, macros: &HashSet<&str>) -> Result<(), Fault> {
        let tokens = match self.words() {
            [] => self.tokens.as_slice(),
            [first, rest @ ..] => {
                let Lexeme::Name(word) = first.kind else { return Ok(()) };
                if !STATEMENTS.contains(&word) {
                    return Err(fault(first.at, &format!("has the statement {}", quoted(word))));
                }
                match (word, rest) {
                    // The name of a macro is no call of it.
                    ("macro", [_, arguments @ ..]) => arguments,
                    ("filter", [Token { kind: Lexeme::Name(name), at }, ..])
                        if !FILTERS.contains(name) =>
                    {
                        return Err(fault(*at, &format!("uses the filter {}", quoted(name))));
                    }
                    ("filter", [_, arguments @ ..]) => arguments,
                    _ => rest,
                }
            }
        };
        (0..tokens.len()).try_for_each(|at| check_token(tokens, at, macros))
    }
}

/// Judges one token by those around it.
fn check_token(tokens: &[Token<'_>], at: usize, macros: &HashSet<&str>) -> Result<(), Fault> {
    let token = tokens[at];
    let is_called = is_sign(tokens.get(at + 1), '(');
    match token.kind {
        Lexeme::Name(name) => match objection(name, tokens, at, macros) {
            Some(what) => Err(fault(token.at, &format!("{what} {}", quoted(name)))),
            None => Ok(()),
        },
        Lexeme::Text(text) if names_inner_life(text) => {
            Err(fault(token.at, "has a text that names Python's inner life"))
        }
        Lexeme::Text(_) | Lexeme::Sign(')' | ']') if is_called => {
            Err(fault(token.at, "calls what is not named"))
        }
        Lexeme::Sign('[') => check_subscript(tokens, at),
        _ => Ok(()),
    }
}

/// What speaks against a name where it stands.
fn objection(
    name: &str,
    tokens: &[Token<'_>],
    at: usize,
    macros: &HashSet<&str>,
) -> Option<&'static str> {
    let is_inner = name == "mro" || INNER.iter().any(|inner| name.starts_with(inner));
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    // A name of the template's own may begin so; what it asks of others may not.
    let is_private = name.starts_with('_') && is_sign(before, '.');
    if is_inner || is_private || name.contains("__") {
        return Some("reaches for");
    }
    let is_called = is_sign(tokens.get(at + 1), '(');
    match before.map(|before| before.kind) {
        Some(Lexeme::Sign('|')) => (!FILTERS.contains(&name)).then_some("uses the filter"),
        Some(Lexeme::Name("is")) => {
            (name != "not" && !TESTS.contains(&name)).then_some("uses the test")
        }
        Some(Lexeme::Sign('.')) => {
            (is_called && !METHODS.contains(&name)).then_some("calls the method")
        }
        _ => (is_called && !is_callable(name, before, macros)).then_some("calls"),
    }
}

fn is_sign(token: Option<&Token<'_>>, sign: char) -> bool {
    token.is_some_and(|token| token.kind == Lexeme::Sign(sign))
}

/// Whether a name may stand before an opening parenthesis.
fn is_callable(name: &str, before: Option<&Token<'_>>, macros: &HashSet<&str>) -> bool {
    let is_keyword =
        matches!(name, "in" | "and" | "or" | "not" | "if" | "else" | "is" | "recursive");
    let is_test =
        before.is_some_and(|before| before.kind == Lexeme::Name("not")) && TESTS.contains(&name);
    is_keyword || is_test || CALLS.contains(&name) || macros.contains(name)
}

/// A name that is put together within brackets is hidden from whoever looks for it.
fn check_subscript(tokens: &[Token<'_>], at: usize) -> Result<(), Fault> {
    let is_index = at > 0
        && matches!(
            tokens[at - 1].kind,
            Lexeme::Name(_) | Lexeme::Sign(')' | ']') | Lexeme::Text(_)
        );
    if !is_index {
        return Ok(());
    }
    let mut depth = 0_usize;
    let mut has_text = false;
    let mut joins = false;
    for token in &tokens[at..] {
        match token.kind {
            Lexeme::Sign('[') => depth += 1,
            Lexeme::Sign(']') => depth -= 1,
            Lexeme::Sign('~' | '|') => joins = true,
            Lexeme::Sign('+' | '%') if has_text => joins = true,
            Lexeme::Text(_) => has_text = true,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    let is_length = tokens[at..].windows(2).any(|pair| {
        pair[0].kind == Lexeme::Sign('|')
            && matches!(pair[1].kind, Lexeme::Name("length" | "int" | "count"))
    });
    match joins && !is_length {
        true => Err(fault(tokens[at].at, "puts a name together")),
        false => Ok(()),
    }
}

/// Whether a text names what begins with two underscores, or hides one in an escape.
fn names_inner_life(text: &str) -> bool {
    let escapes = ["\\x5", "\\u005", "\\U0000005", "\\137", "\\N"];
    text.contains("__") || escapes.iter().any(|escape| text.contains(escape))
}

fn fault(at: usize, what: &str) -> Fault {
    Fault { at, what: what.to_owned() }
}
