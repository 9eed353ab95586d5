//! What a Python package requires, as PEP 508 writes it: `requests[socks]>=2.8 ; python_version < "3.12"`.
//!
//! Whoever fetches ahead does not know where the packages will be installed. So a marker is read for what is known of that (which extras are wanted,
//! perhaps the version of Python) and counts as fulfilled in everything else: rather too much than too little.

use pep440_rs::{Version, VersionSpecifiers};

use crate::collect::Package;
use crate::ecosystem::pypi::name;

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Normalised.
    pub name: String,
    /// Normalised, in order.
    pub extras: Vec<String>,
    /// Without spaces.
    pub allowed: String,
    /// An address in place of versions.
    pub address: Option<String>,
    pub marker: Option<Marker>,
}

/// When a requirement is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marker {
    Both(Box<Self>, Box<Self>),
    Either(Box<Self>, Box<Self>),
    Compared { left: Term, operator: String, right: Term },
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    Variable(String),
    Text(String),
}

/// What is known of where packages will be installed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Environment<'a> {
    /// The extras of the requiring package that are wanted, normalised.
    pub extras: &'a [String],
    pub python: Option<&'a str>,
}

impl Requirement {
    /// Reads one line of metadata. `Err`: what is wrong with it, for people.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c))
            .unwrap_or(text.len());
        let (project, rest) = text.split_at(end);
        if !name::is_valid(project) {
            return Err(format!("{project:?} is no name of a project"));
        }
        let rest = rest.trim_start();
        let (extras, rest) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (inside, rest) = rest.split_once(']').ok_or("a bracket is not closed")?;
                let named = inside.split(',').map(str::trim).filter(|extra| !extra.is_empty());
                let mut extras: Vec<String> =
                    named.map(|extra| name::normalised(extra).into_owned()).collect();
                extras.sort();
                (extras, rest.trim_start())
            }
            None => (Vec::new(), rest),
        };
        let project = name::normalised(project).into_owned();
        if let Some(rest) = rest.strip_prefix('@') {
            // An address may hold a semicolon; one with a space before it begins the marker.
            let (address, marker) = match rest.split_once(" ;") {
                Some((address, marker)) => (address, Some(Marker::read(marker)?)),
                None => (rest, None),
            };
            let address = Some(address.trim().to_owned());
            return Ok(Self { name: project, extras, allowed: String::new(), address, marker });
        }
        let (versions, marker) = match rest.split_once(';') {
            Some((versions, marker)) => (versions, Some(Marker::read(marker)?)),
            None => (rest, None),
        };
        let versions = versions.trim();
        let versions = versions
            .strip_prefix('(')
            .and_then(|inner| inner.strip_suffix(')'))
            .unwrap_or(versions);
        let allowed: String = versions.chars().filter(|c| !c.is_whitespace()).collect();
        let allowed = allowed.trim_end_matches(',').to_owned();
        if !allowed.starts_with("===") {
            allowed
                .parse::<VersionSpecifiers>()
                .map_err(|_| format!("{versions:?} says nothing of versions"))?;
        }
        Ok(Self { name: project, extras, allowed, address: None, marker })
    }

    /// The package of the default index that it asks for.
    pub fn package(&self) -> Package {
        Package {
            index: None,
            name: self.name.clone(),
            extras: self.extras.clone(),
            allowed: self.allowed.clone(),
        }
    }

    /// Whether it may be one, as far as is known.
    pub fn may_apply(&self, environment: &Environment<'_>) -> bool {
        self.marker.as_ref().is_none_or(|marker| marker.may_hold(environment))
    }
}

impl Marker {
    /// Reads an expression; `and` binds closer than `or`.
    pub fn read(text: &str) -> Result<Self, String> {
        let tokens = tokens(text)?;
        if tokens.len() > MOST_TOKENS {
            return Err("a marker is too long".to_owned());
        }
        let mut rest = tokens.as_slice();
        let marker = Self::either(&mut rest, 0)?;
        match rest {
            [] => Ok(marker),
            _ => Err(format!("{:?} cannot be read to its end", text.trim())),
        }
    }

    fn either(rest: &mut &[Token], depth: usize) -> Result<Self, String> {
        let mut marker = Self::both(rest, depth)?;
        while let [Token::Word(word), after @ ..] = rest
            && word == "or"
        {
            *rest = after;
            marker = Self::Either(Box::new(marker), Box::new(Self::both(rest, depth)?));
        }
        Ok(marker)
    }

    fn both(rest: &mut &[Token], depth: usize) -> Result<Self, String> {
        let mut marker = Self::one(rest, depth)?;
        while let [Token::Word(word), after @ ..] = rest
            && word == "and"
        {
            *rest = after;
            marker = Self::Both(Box::new(marker), Box::new(Self::one(rest, depth)?));
        }
        Ok(marker)
    }

    fn one(rest: &mut &[Token], depth: usize) -> Result<Self, String> {
        if depth > MOST_DEPTH {
            return Err("a marker has too many brackets".to_owned());
        }
        if let [Token::Operator(bracket), after @ ..] = rest
            && bracket == "("
        {
            *rest = after;
            let marker = Self::either(rest, depth + 1)?;
            let [Token::Operator(bracket), after @ ..] = rest else { return Err(unclosed()) };
            if bracket != ")" {
                return Err(unclosed());
            }
            *rest = after;
            return Ok(marker);
        }
        let left = term(rest)?;
        let operator = match rest {
            [Token::Operator(operator), after @ ..] if operator != "(" && operator != ")" => {
                *rest = after;
                operator.clone()
            }
            [Token::Word(no), Token::Word(within), after @ ..] if no == "not" && within == "in" => {
                *rest = after;
                "not in".to_owned()
            }
            [Token::Word(within), after @ ..] if within == "in" => {
                *rest = after;
                "in".to_owned()
            }
            _ => return Err("a marker compares nothing".to_owned()),
        };
        Ok(Self::Compared { left, operator, right: term(rest)? })
    }

    /// Whether it is not known to be false.
    fn may_hold(&self, environment: &Environment<'_>) -> bool {
        match self {
            Self::Both(left, right) => left.may_hold(environment) && right.may_hold(environment),
            Self::Either(left, right) => left.may_hold(environment) || right.may_hold(environment),
            Self::Compared {
                left: Term::Variable(variable),
                operator,
                right: Term::Text(text),
            } => known(variable, operator, text, environment).unwrap_or(true),
            Self::Compared {
                left: Term::Text(text),
                operator,
                right: Term::Variable(variable),
            } => known(variable, mirrored(operator), text, environment).unwrap_or(true),
            Self::Compared { .. } => true,
        }
    }
}

/// Most brackets within each other: metadata comes from strangers.
const MOST_DEPTH: usize = 32;

/// Most words, texts and operators of a marker: comparisons in a row lie within each other, too.
const MOST_TOKENS: usize = 1024;

fn unclosed() -> String {
    "a bracket of a marker is not closed".to_owned()
}

/// What a comparison comes to where both sides are known.
fn known(
    variable: &str,
    operator: &str,
    text: &str,
    environment: &Environment<'_>,
) -> Option<bool> {
    match variable {
        "extra" => {
            let wanted = environment.extras.contains(&name::normalised(text).into_owned());
            match operator {
                "==" | "in" => Some(wanted),
                "!=" | "not in" => Some(!wanted),
                _ => None,
            }
        }
        "python_version" | "python_full_version" => {
            let python: Version = environment.python?.parse().ok()?;
            let python = match variable {
                // Two numbers, whatever the third is.
                "python_version" => {
                    Version::new(python.release().iter().take(2).copied().collect::<Vec<u64>>())
                }
                _ => python,
            };
            let specifiers: VersionSpecifiers = format!("{operator}{text}").parse().ok()?;
            Some(specifiers.contains(&python))
        }
        _ => None,
    }
}

fn mirrored(operator: &str) -> &str {
    match operator {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        same => same,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Operator(String),
}

fn term(rest: &mut &[Token]) -> Result<Term, String> {
    let (term, after) = match rest {
        [Token::Word(word), after @ ..] => (Term::Variable(word.clone()), after),
        [Token::Text(text), after @ ..] => (Term::Text(text.clone()), after),
        _ => return Err("a marker ends too early".to_owned()),
    };
    *rest = after;
    Ok(term)
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '"' | '\'' => {
                let (inside, after) =
                    rest[1..].split_once(first).ok_or("a quotation is not closed")?;
                (Token::Text(inside.to_owned()), after)
            }
            '(' | ')' => (Token::Operator(first.to_string()), &rest[1..]),
            _ => {
                let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
                let is_operator = |c: char| "<>=!~".contains(c);
                let (length, word) = match (is_word(first), is_operator(first)) {
                    (true, _) => (rest.find(|c| !is_word(c)), true),
                    (_, true) => (rest.find(|c| !is_operator(c)), false),
                    _ => return Err(format!("{first:?} means nothing in a marker")),
                };
                let (token, after) = rest.split_at(length.unwrap_or(rest.len()));
                let token = token.to_owned();
                (if word { Token::Word(token) } else { Token::Operator(token) }, after)
            }
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_read() {
        let check = |text: &str, expected: Result<(&str, &str, &str), &str>| {
            let read = Requirement::read(text);
            match (&read, expected) {
                (Err(fault), Err(part)) => assert!(fault.contains(part), "{text}: {fault}"),
                (Ok(read), Ok((name, extras, allowed))) => {
                    assert_eq!(
                        (read.name.as_str(), read.extras.join(",").as_str(), read.allowed.as_str()),
                        (name, extras, allowed)
                    );
                }
                _ => panic!("{text}: {read:?}"),
            }
        };
        check("", Err("no name"));
        check("-e .", Err("no name"));
        check("six=1", Err("says nothing of versions"));
        check("six[a", Err("not closed"));
        check("six ; python_version", Err("compares nothing"));
        check("six ; (extra == 'a'", Err("not closed"));
        check("six", Ok(("six", "", "")));
        check("Foo.Bar (>=1.0, <2)", Ok(("foo-bar", "", ">=1.0,<2")));
        check(
            "requests[socks,Security] >= 2.8.1, == 2.8.* ; python_version < '2.7'",
            Ok(("requests", "security,socks", ">=2.8.1,==2.8.*")),
        );
        check("x===whatever-1", Ok(("x", "", "===whatever-1")));
        // Comparisons in a row were read into a tree as deep as they are many, and the stack ended before it.
        let chain = |many: usize| format!("six ; {}", vec!["extra == 'a'"; many].join(" and "));
        check(&chain(200), Ok(("six", "", "")));
        check(&chain(100_000), Err("too long"));
        let read = Requirement::read("x @ https://files.example/x;1.zip ; extra == 'a'")
            .expect("a requirement");
        assert_eq!(read.address.as_deref(), Some("https://files.example/x;1.zip"));
    }

    #[test]
    fn what_is_not_known_may_hold() {
        let check = |marker: &str, expected: bool| {
            let requirement = Requirement::read(&format!("x ; {marker}")).expect("a requirement");
            let extras = ["gpu".to_owned()];
            let environment = Environment { extras: &extras, python: Some("3.11.4") };
            assert_eq!(requirement.may_apply(&environment), expected, "{marker}");
        };
        check("sys_platform == 'win32'", true);
        check("extra == 'GPU'", true);
        check("extra == 'cpu'", false);
        check("sys_platform == 'win32' and extra == 'cpu'", false);
        check("(extra == 'cpu' or extra == \"gpu\") and os_name == 'nt'", true);
        check("python_version < '3.11'", false);
        check("python_version == '3.11'", true);
        check("'3.11' <= python_version", true);
        check("python_full_version >= '3.11.5'", false);
        check("platform_machine not in 'x86_64 aarch64'", true);
        let none = Environment::default();
        assert!(
            Requirement::read("x; python_version < '3'").expect("a requirement").may_apply(&none)
        );
    }
}
