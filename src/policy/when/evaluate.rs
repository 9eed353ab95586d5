//! Evaluating `when` expressions over facts.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::MOST_STEPS;
use super::check::{Function, Node, Part};
use super::parse::Operator;
use crate::policy::fact::{self, Fact, Facts, Kind};
use crate::policy::licence;
use crate::policy::rule::Turn;
use crate::types::Timestamp;

/// A value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    Time(Line),
    Span(Line),
    List(Vec<Self>),
}

/// Milliseconds, and how many more of them there will be a millisecond later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    millis: i64,
    slope: i64,
}

impl Line {
    pub(super) const fn fixed(millis: i64) -> Self {
        Self { millis, slope: 0 }
    }

    fn plus(self, other: Self) -> Option<Self> {
        let millis = self.millis.checked_add(other.millis)?;
        Some(Self { millis, slope: self.slope.checked_add(other.slope)? })
    }

    fn minus(self, other: Self) -> Option<Self> {
        let millis = self.millis.checked_sub(other.millis)?;
        Some(Self { millis, slope: self.slope.checked_sub(other.slope)? })
    }

    /// In how many milliseconds its sign is another one.
    fn turns_in(self) -> Option<u64> {
        let away = self.millis.checked_neg()?;
        match (self.slope, away) {
            (0, _) => None,
            (_, 0) => Some(1),
            (slope, away) if (slope > 0) == (away > 0) => {
                Some(away.unsigned_abs().div_ceil(slope.unsigned_abs()))
            }
            _ => None,
        }
    }
}

impl Value<'_> {
    fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Int(number) => Value::Int(*number),
            Self::Double(number) => Value::Double(*number),
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Time(line) => Value::Time(*line),
            Self::Span(line) => Value::Span(*line),
            Self::List(items) => Value::List(items.iter().map(Value::borrowed).collect()),
        }
    }
}

/// What an expression is evaluated in.
pub(super) struct Scope<'e, 't> {
    facts: &'e Facts<'e>,
    now: Timestamp,
    turn: &'t mut Turn,
    locals: Vec<Value<'e>>,
    /// How many are left.
    steps: u32,
}

impl<'e, 't> Scope<'e, 't> {
    pub(super) const fn new(facts: &'e Facts<'e>, now: Timestamp, turn: &'t mut Turn) -> Self {
        Self { facts, now, turn, locals: Vec::new(), steps: MOST_STEPS }
    }

    /// What a node comes to. `None`: a fact is missing, or it cannot be computed.
    pub(super) fn value(&mut self, node: &'e Node) -> Option<Value<'e>> {
        self.steps = self.steps.checked_sub(1)?;
        Some(match node {
            Node::Value(value) => value.borrowed(),
            Node::Items(items) => {
                Value::List(items.iter().map(|item| self.value(item)).collect::<Option<_>>()?)
            }
            Node::Fact(fact) => self.fact(*fact)?,
            Node::Known(fact) => Value::Bool(*self.facts.get(*fact) != fact::Value::Unknown),
            Node::Now => Value::Time(Line { millis: i64::try_from(self.now.0).ok()?, slope: 1 }),
            Node::Local(place) => self.locals.get(*place)?.clone(),
            Node::Joined { is_all, parts } => {
                let mut parts = parts.iter();
                self.joined(*is_all, &mut |scope| Some(scope.value(parts.next()?)))?
            }
            Node::Choice(all) => match self.value(&all[0])? {
                Value::Bool(true) => self.value(&all[1])?,
                _ => self.value(&all[2])?,
            },
            Node::Pair(operator, both) => {
                let (left, right) = (self.value(&both[0])?, self.value(&both[1])?);
                self.pair(*operator, left, right)?
            }
            Node::Of(function, of) => {
                let of = self.value(of)?;
                made(function, of)?
            }
            Node::Part(part, both) => {
                let (text, wanted) = (self.text(&both[0])?, self.text(&both[1])?);
                Value::Bool(match part {
                    Part::Contains => text.contains(&*wanted),
                    Part::Starts => text.starts_with(&*wanted),
                    Part::Ends => text.ends_with(&*wanted),
                })
            }
            Node::Each { is_all, both } => {
                let Value::List(items) = self.value(&both[0])? else { return None };
                let mut items = items.into_iter();
                self.joined(*is_all, &mut |scope| {
                    scope.locals.push(items.next()?);
                    let found = scope.value(&both[1]);
                    scope.locals.pop();
                    Some(found)
                })?
            }
        })
    }

    /// Joins parts until they end, or one settles it; what is missing counts only where none does.
    fn joined(
        &mut self,
        is_all: bool,
        next: &mut dyn FnMut(&mut Self) -> Option<Option<Value<'e>>>,
    ) -> Option<Value<'e>> {
        let mut is_missing = false;
        while let Some(part) = next(self) {
            match part {
                Some(Value::Bool(flag)) if flag != is_all => return Some(Value::Bool(flag)),
                Some(Value::Bool(_)) => {}
                _ => is_missing = true,
            }
        }
        (!is_missing).then_some(Value::Bool(is_all))
    }

    fn text(&mut self, node: &'e Node) -> Option<Cow<'e, str>> {
        match self.value(node)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn fact(&self, fact: Fact) -> Option<Value<'e>> {
        let facts: &'e Facts<'e> = self.facts;
        Some(match facts.get(fact) {
            fact::Value::Unknown => return None,
            fact::Value::Flag(flag) => Value::Bool(*flag),
            #[expect(clippy::cast_precision_loss, reason = "a score has at most 100 tenths")]
            fact::Value::Number(tenths) if fact.kind() == Kind::Score => {
                Value::Double(*tenths as f64 / 10.0)
            }
            fact::Value::Number(number) => Value::Int(i64::try_from(*number).ok()?),
            fact::Value::Time { at } => Value::Time(Line::fixed(i64::try_from(*at).ok()?)),
            fact::Value::Text(text) => Value::Text(Cow::Borrowed(text)),
            fact::Value::Texts(texts) => {
                let texts = texts.iter().map(|text| Value::Text(Cow::Borrowed(&**text)));
                Value::List(texts.collect())
            }
        })
    }

    fn pair(&mut self, operator: Operator, left: Value<'e>, right: Value<'e>) -> Option<Value<'e>> {
        if operator.compares() {
            let order = self.compared(&left, &right)?;
            return Some(Value::Bool(operator.holds(order)));
        }
        if operator == Operator::In {
            let Value::List(items) = right else { return None };
            let is_in = items.iter().any(|item| ordered(&left, item) == Some(Ordering::Equal));
            return Some(Value::Bool(is_in));
        }
        computed(operator, left, right)
    }

    fn compared(&mut self, left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
        let between = match (left, right) {
            (Value::Time(left), Value::Time(right)) | (Value::Span(left), Value::Span(right)) => {
                left.minus(*right)?
            }
            _ => return ordered(left, right),
        };
        if let Some(millis) = between.turns_in() {
            self.turn.note(Timestamp(self.now.0.saturating_add(millis)), self.now);
        }
        Some(between.millis.cmp(&0))
    }
}

impl Operator {
    /// Whether what comes of it is true or false by the order of two values.
    pub(super) const fn compares(self) -> bool {
        matches!(
            self,
            Self::Equal
                | Self::Unequal
                | Self::Less
                | Self::LessOrEqual
                | Self::Greater
                | Self::GreaterOrEqual
        )
    }

    const fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            _ => false,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "CEL compares whole numbers and others so")]
fn ordered(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Double(right)) => (*left as f64).partial_cmp(right),
        (Value::Double(left), Value::Int(right)) => left.partial_cmp(&(*right as f64)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
        _ => None,
    }
}

fn computed<'a>(operator: Operator, left: Value<'a>, right: Value<'a>) -> Option<Value<'a>> {
    use Operator::{Minus, Modulo, Over, Plus, Times};
    Some(match (left, operator, right) {
        (Value::Int(left), Plus, Value::Int(right)) => Value::Int(left.checked_add(right)?),
        (Value::Int(left), Minus, Value::Int(right)) => Value::Int(left.checked_sub(right)?),
        (Value::Int(left), Times, Value::Int(right)) => Value::Int(left.checked_mul(right)?),
        (Value::Int(left), Over, Value::Int(right)) => Value::Int(left.checked_div(right)?),
        (Value::Int(left), Modulo, Value::Int(right)) => Value::Int(left.checked_rem(right)?),
        (Value::Double(left), Plus, Value::Double(right)) => Value::Double(left + right),
        (Value::Double(left), Minus, Value::Double(right)) => Value::Double(left - right),
        (Value::Double(left), Times, Value::Double(right)) => Value::Double(left * right),
        (Value::Double(left), Over, Value::Double(right)) => Value::Double(left / right),
        (Value::Text(left), Plus, Value::Text(right)) => Value::Text(left + right),
        (Value::Time(at), Plus, Value::Span(by)) | (Value::Span(by), Plus, Value::Time(at)) => {
            Value::Time(at.plus(by)?)
        }
        (Value::Time(at), Minus, Value::Span(by)) => Value::Time(at.minus(by)?),
        (Value::Time(left), Minus, Value::Time(right))
        | (Value::Span(left), Minus, Value::Span(right)) => Value::Span(left.minus(right)?),
        (Value::Span(left), Plus, Value::Span(right)) => Value::Span(left.plus(right)?),
        _ => return None,
    })
}

#[expect(clippy::cast_precision_loss, reason = "what `double` is for")]
fn made<'a>(function: &Function, of: Value<'a>) -> Option<Value<'a>> {
    Some(match (function, of) {
        (Function::Not, Value::Bool(flag)) => Value::Bool(!flag),
        (Function::Minus, Value::Int(number)) => Value::Int(number.checked_neg()?),
        (Function::Minus, Value::Double(number)) => Value::Double(-number),
        (Function::Double, Value::Int(number)) => Value::Double(number as f64),
        (Function::Size, Value::Text(text)) => {
            Value::Int(i64::try_from(text.chars().count()).ok()?)
        }
        (Function::Size, Value::List(items)) => Value::Int(i64::try_from(items.len()).ok()?),
        (Function::Lower, Value::Text(text)) => Value::Text(text.to_ascii_lowercase().into()),
        (Function::Matches(pattern), Value::Text(text)) => Value::Bool(pattern.is_match(&text)),
        (Function::Like(patterns), Value::Text(text)) => Value::Bool(patterns.fit(&text)),
        (Function::MetBy(list), Value::Text(text)) => Value::Bool(licence::can_be_met(&text, list)),
        (Function::OneOf(texts), Value::Text(text)) => Value::Bool(texts.contains(&*text)),
        _ => return None,
    })
}
