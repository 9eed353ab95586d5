//! Reads a Rust source file as tokens: which paths it names, which words and strings it uses, where its tests begin.
//!
//! Works on tokens rather than on a syntax tree, so that what stands inside a macro call is seen too. Comments are no
//! tokens, and documentation (which is free to name anything) is left out.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What a file says, apart from its comments.
#[derive(Debug, Default)]
pub struct Reading {
    pub mentions: Vec<Mention>,
    /// Lines of `#[cfg(test)]` items.
    pub test_lines: usize,
    /// Modules that the file declares with `#[cfg(test)] mod name;`: files that are tests as a whole.
    pub test_modules: Vec<String>,
}

/// One thing that a rule may object to.
#[derive(Debug)]
pub struct Mention {
    pub line: usize,
    pub code: Code,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Production,
    Test,
}

#[derive(Debug)]
pub enum What {
    /// A path of two or more segments, groups written out: `std::fs::File`, `crate::types::Digest`.
    Path(Vec<String>),
    Identifier(String),
    Text(String),
}

/// Reads `source`, the file of the module `module` (`["cache", "fill"]` for `cache/fill.rs`).
pub fn read(source: &str, module: &[String]) -> Result<Reading, String> {
    let tokens: TokenStream = source.parse().map_err(|error| format!("cannot be read: {error}"))?;
    let mut reader = Reader { reading: Reading::default(), module: module.to_vec() };
    reader.walk(tokens, Code::Production);
    Ok(reader.reading)
}

struct Reader {
    reading: Reading,
    module: Vec<String>,
}

impl Reader {
    fn walk(&mut self, tokens: TokenStream, code: Code) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = self.step(&tokens, at, code);
        }
    }

    /// Reads what begins at `at`; answers where the next thing begins.
    fn step(&mut self, tokens: &[TokenTree], at: usize, code: Code) -> usize {
        if let Some((attribute, after)) = attribute(tokens, at) {
            let text = attribute.stream().to_string();
            return match text.as_str() {
                "cfg (test)" if code == Code::Production => self.test_item(tokens, at, after),
                _ if text.starts_with("doc ") => after,
                _ => {
                    self.walk(attribute.stream(), code);
                    after
                }
            };
        }
        match &tokens[at] {
            TokenTree::Ident(name) if name == "mod" => {
                if let (Some(TokenTree::Ident(inner)), Some(TokenTree::Group(body))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    self.module.push(inner.to_string());
                    self.walk(body.stream(), code);
                    self.module.pop();
                    return at + 3;
                }
                at + 1
            }
            TokenTree::Ident(_) => self.path(tokens, at, code, &mut Vec::new()),
            TokenTree::Group(group) => {
                self.walk(group.stream(), code);
                at + 1
            }
            TokenTree::Literal(literal) => {
                self.note(literal.span(), code, What::Text(literal.to_string()));
                at + 1
            }
            TokenTree::Punct(_) => at + 1,
        }
    }

    /// Reads one item as test code: from its attribute at `begun` to its body or its semicolon behind `start`.
    fn test_item(&mut self, tokens: &[TokenTree], begun: usize, start: usize) -> usize {
        let ends = |token: &TokenTree| match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';',
            _ => false,
        };
        let Some(last) = (start..tokens.len()).find(|index| ends(&tokens[*index])) else {
            return tokens.len();
        };
        let item = &tokens[start..=last];
        if let [.., TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Punct(_)] = item
            && word == "mod"
        {
            self.reading.test_modules.push(name.to_string());
        }
        let first_line = tokens[begun].span().start().line;
        self.reading.test_lines += tokens[last].span().end().line + 1 - first_line;
        self.walk(item.iter().cloned().collect(), Code::Test);
        last + 1
    }

    /// Reads a path, or a lone identifier, that continues `prefix`.
    fn path(
        &mut self,
        tokens: &[TokenTree],
        start: usize,
        code: Code,
        prefix: &mut Vec<String>,
    ) -> usize {
        let mut at = start;
        let begun = prefix.len();
        let span = tokens[start].span();
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(name)) => {
                    let name = name.to_string();
                    self.note(span, code, What::Identifier(name.clone()));
                    prefix.push(name);
                    at += 1;
                }
                Some(TokenTree::Group(group)) if at > start => {
                    self.branches(group, code, prefix);
                    prefix.truncate(begun);
                    return at + 1;
                }
                _ => break,
            }
            if !is_separator(tokens, at) {
                break;
            }
            at += 2;
        }
        if prefix.len() > 1 {
            let path = self.resolve(prefix);
            self.note(span, code, What::Path(path));
        }
        prefix.truncate(begun);
        at.max(start + 1)
    }

    /// Reads `{a, b::c}` behind a path.
    fn branches(&mut self, group: &Group, code: Code, prefix: &mut Vec<String>) {
        let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = match &tokens[at] {
                TokenTree::Ident(_) => self.path(&tokens, at, code, prefix),
                _ => at + 1,
            };
        }
    }

    /// Writes a path that starts with `super` as one that starts with `crate`.
    fn resolve(&self, path: &[String]) -> Vec<String> {
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        if supers == 0 {
            return path.to_vec();
        }
        let kept = self.module.len().saturating_sub(supers);
        let mut resolved = vec!["crate".to_owned()];
        resolved.extend_from_slice(&self.module[..kept]);
        resolved.extend_from_slice(&path[supers..]);
        resolved
    }

    fn note(&mut self, span: proc_macro2::Span, code: Code, what: What) {
        self.reading.mentions.push(Mention { line: span.start().line, code, what });
    }
}

/// The bracketed part of an attribute, outer or inner, that begins at `at`, and where the next thing begins.
fn attribute(tokens: &[TokenTree], at: usize) -> Option<(&Group, usize)> {
    let is = |index: usize, sign: char| matches!(tokens.get(index), Some(TokenTree::Punct(punct)) if punct.as_char() == sign);
    let bracket = if is(at + 1, '!') { at + 2 } else { at + 1 };
    match tokens.get(bracket) {
        Some(TokenTree::Group(group)) if is(at, '#') && group.delimiter() == Delimiter::Bracket => {
            Some((group, bracket + 1))
        }
        _ => None,
    }
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(tokens.get(at)) && colon(tokens.get(at + 1))
}
