//! A `when` expression cut into tokens.

use super::Problem;

/// A token, and the byte that it begins at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) is: Is,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Is {
    Name(String),
    Int(i64),
    Double(f64),
    Text(String),
    Mark(&'static str),
    End,
}

/// Longer ones before those that they begin with.
const MARKS: [&str; 22] = [
    "||", "&&", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")",
    "[", "]", ",", ".",
];

/// All tokens of a text; the last one is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, is) = match first {
            _ if first.is_whitespace() => (first.len_utf8(), None),
            _ if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), None),
            '"' | '\'' => quoted(rest, at).map(|(length, text)| (length, Some(Is::Text(text))))?,
            'r' | 'R' if rest[1..].starts_with(['"', '\'']) => {
                let (length, text) = raw(&rest[1..], at)?;
                (1 + length, Some(Is::Text(text)))
            }
            _ if first.is_ascii_digit() => number(rest, at)?,
            _ if first.is_ascii_alphabetic() || first == '_' => {
                let is_end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
                let length = rest.find(is_end).unwrap_or(rest.len());
                (length, Some(Is::Name(rest[..length].to_owned())))
            }
            _ => {
                let mark = MARKS.iter().find(|mark| rest.starts_with(**mark));
                let odd = || Problem::new(at, format!("{first:?} has no meaning here"));
                let mark = mark.ok_or_else(odd)?;
                (mark.len(), Some(Is::Mark(mark)))
            }
        };
        found.extend(is.map(|is| Token { at, is }));
        at += length;
    }
    found.push(Token { at, is: Is::End });
    Ok(found)
}

/// A number at the start of a text, and how long it is there.
fn number(rest: &str, at: usize) -> Result<(usize, Option<Is>), Problem> {
    let digits = |from: usize| {
        let is_end = |c: char| !c.is_ascii_digit();
        rest[from..].find(is_end).map_or(rest.len(), |length| from + length)
    };
    let whole = digits(0);
    let mut end = whole;
    if rest[end..].starts_with('.') && digits(end + 1) > end + 1 {
        end = digits(end + 1);
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    let text = &rest[..end];
    let is = match end == whole {
        true => text.parse().ok().map(Is::Int),
        false => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Is::Double),
    };
    let odd = || Problem::new(at, format!("{text} is too large"));
    Ok((end, Some(is.ok_or_else(odd)?)))
}

/// A text in quotes that knows escapes.
fn quoted(rest: &str, at: usize) -> Result<(usize, String), Problem> {
    let mut characters = rest.char_indices();
    let quote = characters.next().map(|(_, quote)| quote);
    let mut text = String::new();
    while let Some((place, character)) = characters.next() {
        if Some(character) == quote {
            return Ok((place + 1, text));
        }
        if character != '\\' {
            text.push(character);
            continue;
        }
        text.push(match characters.next() {
            Some((_, same @ ('\\' | '"' | '\'' | '`' | '?'))) => same,
            Some((_, 'n')) => '\n',
            Some((_, 'r')) => '\r',
            Some((_, 't')) => '\t',
            _ => {
                let problem = "unknown escape; r'…' takes a text as it stands";
                return Err(Problem::new(at + place, problem));
            }
        });
    }
    Err(Problem::new(at, "a text that does not end"))
}

/// A text in quotes without escapes.
fn raw(rest: &str, at: usize) -> Result<(usize, String), Problem> {
    let (quote, inner) = rest.split_at(1);
    let end = inner.find(quote).ok_or_else(|| Problem::new(at, "a text that does not end"))?;
    Ok((end + 2, inner[..end].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_into_tokens() {
        let check = |text: &str, expected: &[Is]| {
            let found = tokens(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
            let found: Vec<Is> = found.into_iter().map(|token| token.is).collect();
            assert_eq!(found.split_last().map(|(_, rest)| rest), Some(expected), "{text}");
        };
        let text = |text: &str| Is::Text(text.to_owned());
        check("", &[]);
        check("a<=1 // x\n", &[Is::Name("a".to_owned()), Is::Mark("<="), Is::Int(1)]);
        check("1.5 2e3", &[Is::Double(1.5), Is::Double(2000.0)]);
        check("1.e", &[Is::Int(1), Is::Mark("."), Is::Name("e".to_owned())]);
        check(r#""a\"b" 'c\n' r'\d'"#, &[text("a\"b"), text("c\n"), text("\\d")]);
        check("'ü'", &[text("ü")]);
    }

    #[test]
    fn what_cannot_be_cut_is_told_with_its_place() {
        let check = |text: &str, at: usize| {
            let problem = tokens(text).expect_err(text);
            assert_eq!(problem.at, at, "{text}: {problem:?}");
        };
        for (text, at) in [
            ("a # b", 2),
            ("'a", 0),
            ("a == \"", 5),
            ("'\\q'", 1),
            ("r'", 0),
            ("ü", 0),
            ("a & b", 2),
        ] {
            check(text, at);
        }
        check("99999999999999999999", 0);
        check("1e999", 0);
    }
}
