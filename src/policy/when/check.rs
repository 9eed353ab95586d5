//! The meaning of `when` expressions: names become facts, types are checked, patterns and texts that must be constant are read once.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use regex::{Regex, RegexBuilder};

use super::Problem;
use super::evaluate::{Line, Value};
use super::parse::{Form, Operator, Tree};
use crate::policy::fact::{self, Fact};
use crate::policy::pattern::Patterns;
use crate::policy::rule::fact_named;
use crate::policy::words;

/// Largest compiled pattern of `matches`, in bytes.
const MOST_PATTERN_BYTES: usize = 64 << 10;

/// Macros within one another: a list in a list in a list is no condition that anybody reads.
const MOST_LOCALS: usize = 2;

/// What a value is, in CEL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Double,
    Text,
    Time,
    Span,
    Ints,
    Doubles,
    Texts,
}

impl Kind {
    /// Of a fact.
    pub const fn of(fact: Fact) -> Self {
        match fact.kind() {
            fact::Kind::Flag => Self::Bool,
            fact::Kind::Count | fact::Kind::Bytes => Self::Int,
            fact::Kind::Score => Self::Double,
            fact::Kind::Time => Self::Time,
            fact::Kind::Text | fact::Kind::Licence => Self::Text,
            fact::Kind::Texts | fact::Kind::AnyOf => Self::Texts,
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Double)
    }

    const fn item(self) -> Option<Self> {
        match self {
            Self::Ints => Some(Self::Int),
            Self::Doubles => Some(Self::Double),
            Self::Texts => Some(Self::Text),
            _ => None,
        }
    }

    const fn list(self) -> Option<Self> {
        match self {
            Self::Int => Some(Self::Ints),
            Self::Double => Some(Self::Doubles),
            Self::Text => Some(Self::Texts),
            _ => None,
        }
    }

    /// Whether two values of these kinds can be compared so.
    fn compares(self, operator: Operator, other: Self) -> bool {
        let is_equality = matches!(operator, Operator::Equal | Operator::Unequal);
        match (self, other) {
            (left, right) if left.is_number() && right.is_number() => true,
            (Self::Text, Self::Text) | (Self::Time, Self::Time) | (Self::Span, Self::Span) => true,
            (Self::Bool, Self::Bool) => is_equality,
            _ => false,
        }
    }

    /// What comes of computing with two values of these kinds.
    const fn computed(self, operator: Operator, other: Self) -> Option<Self> {
        use Operator::{Minus, Modulo, Over, Plus, Times};
        match (self, operator, other) {
            (Self::Int, Plus | Minus | Times | Over | Modulo, Self::Int) => Some(Self::Int),
            (Self::Double, Plus | Minus | Times | Over, Self::Double) => Some(Self::Double),
            (Self::Text, Plus, Self::Text) => Some(Self::Text),
            (Self::Time, Plus | Minus, Self::Span) | (Self::Span, Plus, Self::Time) => {
                Some(Self::Time)
            }
            (Self::Span, Plus | Minus, Self::Span) | (Self::Time, Minus, Self::Time) => {
                Some(Self::Span)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::Text => "string",
            Self::Time => "timestamp",
            Self::Span => "duration",
            Self::Ints => "list(int)",
            Self::Doubles => "list(double)",
            Self::Texts => "list(string)",
        })
    }
}

/// A checked expression: what it is made of fits together.
#[derive(Debug)]
pub(super) enum Node {
    Value(Value<'static>),
    Items(Vec<Self>),
    Fact(Fact),
    Known(Fact),
    Now,
    /// The member of a list that a macro looks at, by the macro's place among those around it.
    Local(usize),
    Joined {
        is_all: bool,
        parts: Vec<Self>,
    },
    Choice(Box<[Self; 3]>),
    Pair(Operator, Box<[Self; 2]>),
    Of(Function, Box<Self>),
    Part(Part, Box<[Self; 2]>),
    /// `list.all(x, test)`, or `list.exists(x, test)`.
    Each {
        is_all: bool,
        both: Box<[Self; 2]>,
    },
}

/// What is made of one value.
#[derive(Debug)]
pub(super) enum Function {
    Not,
    Minus,
    Size,
    Lower,
    Double,
    Matches(Regex),
    Like(Patterns),
    MetBy(Patterns),
    OneOf(HashSet<Box<str>>),
}

/// What is asked of a text in a text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Contains,
    Starts,
    Ends,
}

impl Node {
    /// Whether it can be told where only these facts can be known: of what `||` joins one part is enough.
    pub(super) fn can_be_told(&self, is_known: &dyn Fn(Fact) -> bool) -> bool {
        let told = |node: &Self| node.can_be_told(is_known);
        match self {
            Self::Value(_) | Self::Now | Self::Local(_) => true,
            Self::Fact(fact) | Self::Known(fact) => is_known(*fact),
            Self::Joined { is_all: false, parts } => parts.iter().any(told),
            Self::Items(parts) | Self::Joined { parts, .. } => parts.iter().all(told),
            Self::Choice(all) => told(&all[0]) && (told(&all[1]) || told(&all[2])),
            Self::Pair(_, both) | Self::Part(_, both) | Self::Each { both, .. } => {
                both.iter().all(told)
            }
            Self::Of(_, of) => told(of),
        }
    }
}

/// Checks a whole expression, which must be true or false, and tells the facts that it names.
pub(super) fn checked(
    tree: &Tree,
    lists: &mut dyn FnMut(&str) -> Option<Vec<String>>,
) -> Result<(Node, Vec<Fact>), Problem> {
    let mut checker = Checker { lists, locals: Vec::new(), facts: Vec::new() };
    let node = checker.of_kind(tree, Kind::Bool)?;
    match checker.facts.is_empty() {
        false => Ok((node, checker.facts)),
        true => Err(Problem::new(tree.at, "names no fact, so it is always the same")),
    }
}

type Checked = Result<(Node, Kind), Problem>;

struct Checker<'l> {
    lists: &'l mut dyn FnMut(&str) -> Option<Vec<String>>,
    locals: Vec<(String, Kind)>,
    facts: Vec<Fact>,
}

impl Checker<'_> {
    fn check(&mut self, tree: &Tree) -> Checked {
        let value = |value| Node::Value(value);
        Ok(match &tree.form {
            Form::Bool(flag) => (value(Value::Bool(*flag)), Kind::Bool),
            Form::Int(number) => (value(Value::Int(*number)), Kind::Int),
            Form::Double(number) => (value(Value::Double(*number)), Kind::Double),
            Form::Text(text) => (value(Value::Text(Cow::Owned(text.clone()))), Kind::Text),
            Form::List(items) => self.list(tree.at, items)?,
            Form::Name(name) => self.name(tree.at, name)?,
            Form::Member(..) => {
                let items = self.texts(tree)?;
                let items = items.into_iter().map(|text| value(Value::Text(Cow::Owned(text))));
                (Node::Items(items.collect()), Kind::Texts)
            }
            Form::Not(of) => {
                (Node::Of(Function::Not, Box::new(self.of_kind(of, Kind::Bool)?)), Kind::Bool)
            }
            Form::Minus(of) => {
                let (node, kind) = self.check(of)?;
                if !kind.is_number() {
                    return Err(Problem::new(of.at, format!("expected a number, found {kind}")));
                }
                (Node::Of(Function::Minus, Box::new(node)), kind)
            }
            Form::Joined { is_all, parts } => {
                let parts = parts.iter().map(|part| self.of_kind(part, Kind::Bool));
                let parts = parts.collect::<Result<_, _>>()?;
                (Node::Joined { is_all: *is_all, parts }, Kind::Bool)
            }
            Form::Pair(operator, left, right) => self.pair(*operator, left, right)?,
            Form::Choice(all) => {
                let condition = self.of_kind(&all[0], Kind::Bool)?;
                let (yes, kind) = self.check(&all[1])?;
                let no = self.of_kind(&all[2], kind)?;
                (Node::Choice(Box::new([condition, yes, no])), kind)
            }
            Form::Call { on: None, name, arguments } => self.call(tree.at, name, arguments)?,
            Form::Call { on: Some(on), name, arguments } => {
                self.method(tree.at, on, name, arguments)?
            }
        })
    }

    fn of_kind(&mut self, tree: &Tree, wanted: Kind) -> Result<Node, Problem> {
        let (node, kind) = self.check(tree)?;
        match kind == wanted {
            true => Ok(node),
            false => Err(Problem::new(tree.at, format!("expected {wanted}, found {kind}"))),
        }
    }

    fn list(&mut self, at: usize, items: &[Tree]) -> Checked {
        let Some(first) = items.first() else { return Err(Problem::new(at, "an empty list")) };
        let (_, item) = self.check(first)?;
        let odd = || Problem::new(at, format!("there are no lists of {item}"));
        let kind = item.list().ok_or_else(odd)?;
        let items = items.iter().map(|one| self.of_kind(one, item)).collect::<Result<_, _>>()?;
        Ok((Node::Items(items), kind))
    }

    fn name(&mut self, at: usize, name: &str) -> Checked {
        if let Some(place) = self.locals.iter().rposition(|(local, _)| local == name) {
            return Ok((Node::Local(place), self.locals[place].1));
        }
        if name == "now" {
            return Ok((Node::Now, Kind::Time));
        }
        let fact = self.fact(at, name)?;
        Ok((Node::Fact(fact), Kind::of(fact)))
    }

    fn fact(&mut self, at: usize, name: &str) -> Result<Fact, Problem> {
        let Some(fact) = fact_named(name) else {
            let names = Fact::ALL.iter().map(|fact| fact.name());
            let close = names.map(|one| (strsim::damerau_levenshtein(one, name), one)).min();
            let problem = match close.filter(|(distance, _)| *distance <= 3) {
                Some((_, meant)) => format!("unknown name `{name}`; `{meant}` is meant, perhaps"),
                None => format!("unknown name `{name}`; `larder policy facts` lists what there is"),
            };
            return Err(Problem::new(at, problem));
        };
        if !self.facts.contains(&fact) {
            self.facts.push(fact);
        }
        Ok(fact)
    }

    fn pair(&mut self, operator: Operator, left: &Tree, right: &Tree) -> Checked {
        if operator == Operator::In {
            return self.is_in(left, right);
        }
        let ((first, of_first), (second, of_second)) = (self.check(left)?, self.check(right)?);
        let kind = match of_first.compares(operator, of_second) && operator.compares() {
            true => Some(Kind::Bool),
            false => of_first.computed(operator, of_second),
        };
        let odd = || {
            let sign = operator.sign();
            Problem::new(right.at, format!("there is no {of_first} {sign} {of_second}"))
        };
        Ok((Node::Pair(operator, Box::new([first, second])), kind.ok_or_else(odd)?))
    }

    fn is_in(&mut self, left: &Tree, right: &Tree) -> Checked {
        let (item, kind) = self.check(left)?;
        if kind == Kind::Text && is_constant(right) {
            let texts = self.texts(right)?.into_iter().map(String::into_boxed_str).collect();
            return Ok((Node::Of(Function::OneOf(texts), Box::new(item)), Kind::Bool));
        }
        let (list, of_list) = self.check(right)?;
        if of_list.item() != Some(kind) {
            return Err(Problem::new(right.at, format!("there is no {kind} in {of_list}")));
        }
        Ok((Node::Pair(Operator::In, Box::new([item, list])), Kind::Bool))
    }

    fn call(&mut self, at: usize, name: &str, arguments: &[Tree]) -> Checked {
        let [argument] = arguments else {
            return Err(match FUNCTIONS.contains(&name) {
                true => Problem::new(at, format!("`{name}` takes one argument")),
                false => no_function(at, name, &FUNCTIONS),
            });
        };
        let constant = || match &argument.form {
            Form::Text(text) => Ok(text.as_str()),
            _ => Err(Problem::new(argument.at, "expected a text in quotes")),
        };
        let value = |value| Node::Value(value);
        match name {
            "has" => {
                let Form::Name(named) = &argument.form else {
                    return Err(Problem::new(argument.at, "expected the name of a fact"));
                };
                Ok((Node::Known(self.fact(argument.at, named)?), Kind::Bool))
            }
            "size" => self.size(argument),
            "double" => {
                let of = self.of_kind(argument, Kind::Int)?;
                Ok((Node::Of(Function::Double, Box::new(of)), Kind::Double))
            }
            "timestamp" => {
                let read = constant()?.parse::<jiff::Timestamp>();
                let odd = |_| {
                    Problem::new(
                        argument.at,
                        "expected an instant such as \"2026-03-01T00:00:00Z\"",
                    )
                };
                let at = read.map_err(odd)?.as_millisecond();
                Ok((value(Value::Time(Line::fixed(at))), Kind::Time))
            }
            "duration" => {
                let span = words::parse_span(constant()?)
                    .and_then(|span| i64::try_from(span.as_millis()).ok());
                let odd = || Problem::new(argument.at, "expected a span such as \"7 days\"");
                Ok((value(Value::Span(Line::fixed(span.ok_or_else(odd)?))), Kind::Span))
            }
            _ => Err(no_function(at, name, &FUNCTIONS)),
        }
    }

    fn method(&mut self, at: usize, on: &Tree, name: &str, arguments: &[Tree]) -> Checked {
        let is_all = name == "all";
        match (name, arguments) {
            ("all" | "exists", [local, test]) => self.each(is_all, on, local, test),
            ("size", []) => self.size(on),
            ("lowerAscii", []) => {
                let of = self.of_kind(on, Kind::Text)?;
                Ok((Node::Of(Function::Lower, Box::new(of)), Kind::Text))
            }
            ("contains" | "startsWith" | "endsWith", [argument]) => {
                let part = match name {
                    "contains" => Part::Contains,
                    "startsWith" => Part::Starts,
                    _ => Part::Ends,
                };
                let both = [self.of_kind(on, Kind::Text)?, self.of_kind(argument, Kind::Text)?];
                Ok((Node::Part(part, Box::new(both)), Kind::Bool))
            }
            ("matches", [argument]) => {
                let Form::Text(text) = &argument.form else {
                    return Err(Problem::new(argument.at, "expected a pattern in quotes"));
                };
                let odd = |_| Problem::new(argument.at, "no regular expression, or a huge one");
                let built = RegexBuilder::new(text).size_limit(MOST_PATTERN_BYTES).build();
                self.of_text(on, Function::Matches(built.map_err(odd)?))
            }
            ("like" | "metBy", [argument]) => {
                let texts = self.texts(argument)?;
                let patterns = Patterns::of(texts.iter().map(String::as_str));
                let function = match name {
                    "like" => Function::Like(patterns),
                    _ => Function::MetBy(patterns),
                };
                self.of_text(on, function)
            }
            _ if METHODS.contains(&name) => {
                Err(Problem::new(at, format!("`{name}` does not take this many arguments")))
            }
            _ => Err(no_function(at, name, &METHODS)),
        }
    }

    fn of_text(&mut self, on: &Tree, function: Function) -> Checked {
        let of = self.of_kind(on, Kind::Text)?;
        Ok((Node::Of(function, Box::new(of)), Kind::Bool))
    }

    fn size(&mut self, of: &Tree) -> Checked {
        let (node, kind) = self.check(of)?;
        match kind == Kind::Text || kind.item().is_some() {
            true => Ok((Node::Of(Function::Size, Box::new(node)), Kind::Int)),
            false => Err(Problem::new(of.at, format!("{kind} has no size"))),
        }
    }

    fn each(&mut self, is_all: bool, on: &Tree, local: &Tree, test: &Tree) -> Checked {
        let Form::Name(name) = &local.form else {
            return Err(Problem::new(local.at, "expected a name for the members of the list"));
        };
        let is_taken = fact_named(name).is_some() || name == "now" || name == "lists";
        if is_taken || self.locals.iter().any(|(other, _)| other == name) {
            return Err(Problem::new(local.at, format!("`{name}` has a meaning already")));
        }
        if self.locals.len() == MOST_LOCALS {
            return Err(Problem::new(on.at, "too many lists within one another"));
        }
        let (list, kind) = self.check(on)?;
        let odd = || Problem::new(on.at, format!("expected a list, found {kind}"));
        self.locals.push((name.clone(), kind.item().ok_or_else(odd)?));
        let test = self.of_kind(test, Kind::Bool);
        self.locals.pop();
        Ok((Node::Each { is_all, both: Box::new([list, test?]) }, Kind::Bool))
    }

    /// Texts that are known when the rule is read.
    fn texts(&mut self, tree: &Tree) -> Result<Vec<String>, Problem> {
        let expected = || Problem::new(tree.at, "expected texts in quotes, or lists.NAME");
        match &tree.form {
            Form::Text(text) => Ok(vec![text.clone()]),
            Form::List(items) if items.is_empty() => Err(Problem::new(tree.at, "an empty list")),
            Form::List(items) => {
                let text = |item: &Tree| match &item.form {
                    Form::Text(text) => Some(text.clone()),
                    _ => None,
                };
                items.iter().map(text).collect::<Option<_>>().ok_or_else(expected)
            }
            Form::Member(of, name) if matches!(&of.form, Form::Name(of) if of == "lists") => {
                let none =
                    || Problem::new(tree.at, format!("there is no list `{name}` in [lists]"));
                (self.lists)(name).ok_or_else(none)
            }
            _ => Err(expected()),
        }
    }
}

const FUNCTIONS: [&str; 5] = ["has", "size", "double", "timestamp", "duration"];

const METHODS: [&str; 10] = [
    "all",
    "exists",
    "size",
    "lowerAscii",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "like",
    "metBy",
];

fn no_function(at: usize, name: &str, known: &[&str]) -> Problem {
    Problem::new(at, format!("no function `{name}`, expected one of {}", known.join(", ")))
}

/// Whether it is made of nothing but texts.
fn is_constant(tree: &Tree) -> bool {
    match &tree.form {
        Form::List(items) => items.iter().all(|item| matches!(item.form, Form::Text(_))),
        Form::Member(..) => true,
        _ => false,
    }
}
