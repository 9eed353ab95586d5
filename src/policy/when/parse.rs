//! The grammar of `when` expressions: tokens in, a tree out. Names mean nothing yet.

use super::lex::{Is, Token};
use super::{MOST_DEPTH, MOST_NODES, Problem};

/// A node, and the byte that it begins at.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) at: usize,
    pub(super) form: Form,
    depth: usize,
}

#[derive(Debug)]
pub(super) enum Form {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    List(Vec<Tree>),
    Name(String),
    /// `OF.NAME`.
    Member(Box<Tree>, String),
    Not(Box<Tree>),
    Minus(Box<Tree>),
    /// Joined by `&&`, or by `||`.
    Joined {
        is_all: bool,
        parts: Vec<Tree>,
    },
    Pair(Operator, Box<Tree>, Box<Tree>),
    Choice(Box<[Tree; 3]>),
    /// `NAME(…)`, or `ON.NAME(…)`.
    Call {
        on: Option<Box<Tree>>,
        name: String,
        arguments: Vec<Tree>,
    },
}

/// What joins two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Plus,
    Minus,
    Times,
    Over,
    Modulo,
}

/// Of what binds least to what binds most.
const LEVELS: [&[(&str, Operator)]; 3] = [
    &[
        ("==", Operator::Equal),
        ("!=", Operator::Unequal),
        ("<", Operator::Less),
        ("<=", Operator::LessOrEqual),
        (">", Operator::Greater),
        (">=", Operator::GreaterOrEqual),
        ("in", Operator::In),
    ],
    &[("+", Operator::Plus), ("-", Operator::Minus)],
    &[("*", Operator::Times), ("/", Operator::Over), ("%", Operator::Modulo)],
];

impl Operator {
    /// As it is written.
    pub(super) fn sign(self) -> &'static str {
        let all = LEVELS.iter().flat_map(|level| level.iter());
        all.into_iter().find(|(_, one)| *one == self).map_or("", |(sign, _)| sign)
    }
}

/// Reads the whole of a text.
pub(super) fn tree(tokens: &[Token]) -> Result<Tree, Problem> {
    let mut parser = Parser { tokens, place: 0, depth: 0, nodes: 0 };
    let tree = parser.expression()?;
    match parser.token() {
        Token { is: Is::End, .. } => Ok(tree),
        other => Err(unexpected(other, "the end")),
    }
}

struct Parser<'t> {
    tokens: &'t [Token],
    place: usize,
    /// How deep calls are nested, so that no text overflows the stack.
    depth: usize,
    nodes: usize,
}

const END: &Token = &Token { at: 0, is: Is::End };

impl<'t> Parser<'t> {
    /// `OR`, or `OR ? EXPRESSION : EXPRESSION`.
    fn expression(&mut self) -> Result<Tree, Problem> {
        self.nested(|parser| {
            let at = parser.token().at;
            let condition = parser.joined(false)?;
            if !parser.takes("?") {
                return Ok(condition);
            }
            let yes = parser.expression()?;
            parser.expect(":")?;
            let no = parser.expression()?;
            parser.node(at, Form::Choice(Box::new([condition, yes, no])))
        })
    }

    /// `AND || AND …`, or `PAIR && PAIR …`.
    fn joined(&mut self, is_all: bool) -> Result<Tree, Problem> {
        let at = self.token().at;
        let sign = if is_all { "&&" } else { "||" };
        let part = |parser: &mut Self| match is_all {
            true => parser.pair(0),
            false => parser.joined(true),
        };
        let first = part(self)?;
        if !matches!(self.token().is, Is::Mark(mark) if mark == sign) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.takes(sign) {
            parts.push(part(self)?);
        }
        self.node(at, Form::Joined { is_all, parts })
    }

    fn pair(&mut self, level: usize) -> Result<Tree, Problem> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let at = self.token().at;
        let mut left = self.pair(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(sign, _)| self.takes(sign)) {
            let right = self.pair(level + 1)?;
            left = self.node(at, Form::Pair(*operator, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Tree, Problem> {
        let at = self.token().at;
        let form = match self.token().is {
            Is::Mark("!") => Form::Not,
            Is::Mark("-") => Form::Minus,
            _ => return self.member(),
        };
        self.place += 1;
        let inner = self.nested(Self::unary)?;
        self.node(at, form(Box::new(inner)))
    }

    fn member(&mut self) -> Result<Tree, Problem> {
        let mut of = self.primary()?;
        while self.takes(".") {
            let token = self.next();
            let Is::Name(name) = &token.is else { return Err(unexpected(token, "a name")) };
            let (at, name) = (token.at, name.clone());
            let form = match self.takes("(") {
                true => {
                    let arguments = self.items(")")?;
                    Form::Call { on: Some(Box::new(of)), name, arguments }
                }
                false => Form::Member(Box::new(of), name),
            };
            of = self.node(at, form)?;
        }
        Ok(of)
    }

    fn primary(&mut self) -> Result<Tree, Problem> {
        let token = self.next();
        let form = match &token.is {
            Is::Int(number) => Form::Int(*number),
            Is::Double(number) => Form::Double(*number),
            Is::Text(text) => Form::Text(text.clone()),
            Is::Mark("[") => Form::List(self.items("]")?),
            Is::Mark("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Is::Name(name) => match name.as_str() {
                "true" => Form::Bool(true),
                "false" => Form::Bool(false),
                "in" => return Err(unexpected(token, "a value")),
                _ if self.takes("(") => {
                    let arguments = self.items(")")?;
                    Form::Call { on: None, name: name.clone(), arguments }
                }
                _ => Form::Name(name.clone()),
            },
            Is::Mark(_) | Is::End => return Err(unexpected(token, "a value")),
        };
        self.node(token.at, form)
    }

    /// Expressions with commas between them, up to the sign that ends them.
    fn items(&mut self, end: &'static str) -> Result<Vec<Tree>, Problem> {
        let mut items = Vec::new();
        while !self.takes(end) {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    fn node(&mut self, at: usize, form: Form) -> Result<Tree, Problem> {
        let depth = 1 + form.parts().map(|part| part.depth).max().unwrap_or(0);
        self.nodes += 1;
        match () {
            () if depth > MOST_DEPTH => Err(too_deep(at)),
            () if self.nodes > MOST_NODES => {
                Err(Problem::new(at, "too long: make several rules of it, or a list in [lists]"))
            }
            () => Ok(Tree { at, form, depth }),
        }
    }

    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(too_deep(self.token().at));
        }
        let found = read(self);
        self.depth -= 1;
        found
    }

    fn token(&self) -> &'t Token {
        self.tokens.get(self.place).or_else(|| self.tokens.last()).unwrap_or(END)
    }

    fn next(&mut self) -> &'t Token {
        let token = self.token();
        self.place += 1;
        token
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_there = match &self.token().is {
            Is::Mark(mark) => *mark == sign,
            Is::Name(name) => sign == "in" && name == "in",
            _ => false,
        };
        self.place += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Problem> {
        match self.takes(sign) {
            true => Ok(()),
            false => Err(unexpected(self.token(), &format!("`{sign}`"))),
        }
    }
}

impl Form {
    fn parts(&self) -> Box<dyn Iterator<Item = &Tree> + '_> {
        match self {
            Self::Bool(_) | Self::Int(_) | Self::Double(_) | Self::Text(_) | Self::Name(_) => {
                Box::new(std::iter::empty())
            }
            Self::List(parts) | Self::Joined { parts, .. } => Box::new(parts.iter()),
            Self::Member(of, _) | Self::Not(of) | Self::Minus(of) => {
                Box::new(std::iter::once(&**of))
            }
            Self::Pair(_, left, right) => Box::new([&**left, &**right].into_iter()),
            Self::Choice(all) => Box::new(all.iter()),
            Self::Call { on, arguments, .. } => {
                Box::new(on.as_deref().into_iter().chain(arguments))
            }
        }
    }
}

fn too_deep(at: usize) -> Problem {
    Problem::new(at, format!("nested deeper than {MOST_DEPTH} levels"))
}

fn unexpected(token: &Token, expected: &str) -> Problem {
    let found = match &token.is {
        Is::Name(name) => format!("`{name}`"),
        Is::Int(number) => number.to_string(),
        Is::Double(number) => number.to_string(),
        Is::Text(text) => format!("{text:?}"),
        Is::Mark(mark) => format!("`{mark}`"),
        Is::End => "the end".to_owned(),
    };
    Problem::new(token.at, format!("found {found}, expected {expected}"))
}
