//! Whether a licence expression can be met with given licences only.

use crate::policy::pattern::Patterns;

/// How deep parentheses are followed: beyond that nothing is a real expression.
const DEEPEST: usize = 32;

/// Whether `expression` (SPDX: names joined by `AND`, `OR`, `WITH`) can be met by taking licences that `allowed` says yes to: of what `OR` joins one is
/// enough. What is no expression counts as the name of one licence.
pub fn can_be_met(expression: &str, allowed: &Patterns) -> bool {
    met(expression, false, &|name| allowed.fit(name))
}

/// Whether `expression` cannot be met without one of `banned`.
pub fn needs_one_of(expression: &str, banned: &Patterns) -> bool {
    !met(expression, true, &|name| !banned.fit(name))
}

fn met(expression: &str, is_ban: bool, fits: &dyn Fn(&str) -> bool) -> bool {
    let is_plain = !expression.contains([' ', '(']);
    if is_plain {
        return fits(expression);
    }
    let mut words = Words { rest: expression, is_ban, fits };
    match words.any(0) {
        Some(met) if words.rest.trim().is_empty() => met,
        _ => fits(expression),
    }
}

/// A reader of expressions; the weakest operator is the outermost.
struct Words<'a> {
    rest: &'a str,
    /// Whether `fits` is the absence from a list.
    is_ban: bool,
    fits: &'a dyn Fn(&str) -> bool,
}

impl<'a> Words<'a> {
    fn any(&mut self, depth: usize) -> Option<bool> {
        let mut met = self.all(depth)?;
        while self.takes("or") {
            met |= self.all(depth)?;
        }
        Some(met)
    }

    fn all(&mut self, depth: usize) -> Option<bool> {
        let mut met = self.one(depth)?;
        while self.takes("and") {
            met &= self.one(depth)?;
        }
        Some(met)
    }

    fn one(&mut self, depth: usize) -> Option<bool> {
        if depth > DEEPEST {
            return None;
        }
        self.rest = self.rest.trim_start();
        if let Some(inner) = self.rest.strip_prefix('(') {
            self.rest = inner;
            let met = self.any(depth + 1)?;
            self.rest = self.rest.trim_start().strip_prefix(')')?;
            return Some(met);
        }
        let name = self.word()?;
        if !self.takes("with") {
            return Some((self.fits)(name));
        }
        // An exception only adds to what the licence permits, so what is said of the licence holds; one that is listed with it, too.
        let exception = self.word()?;
        let whole = format!("{name} WITH {exception}");
        let (bare, whole) = ((self.fits)(name), (self.fits)(&whole));
        Some(if self.is_ban { bare && whole } else { bare || whole })
    }

    fn word(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let end = rest.find([' ', '(', ')', '\t', '\n']).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        let is_operator = ["and", "or", "with"].iter().any(|one| word.eq_ignore_ascii_case(one));
        self.rest = rest;
        (!word.is_empty() && !is_operator).then_some(word)
    }

    fn takes(&mut self, operator: &str) -> bool {
        let rest = self.rest.trim_start();
        let Some((word, after)) = rest.split_at_checked(operator.len()) else { return false };
        let fits = word.eq_ignore_ascii_case(operator) && after.starts_with([' ', '(', '\t', '\n']);
        if fits {
            self.rest = after;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_branch_of_an_alternative_is_enough() {
        let check = |expression: &str, allowed: bool, needs_gpl: bool| {
            let good = Patterns::of(["MIT", "Apache-2.0", "BSD-*"]);
            assert_eq!(can_be_met(expression, &good), allowed, "{expression}");
            let bad = Patterns::of(["*GPL*"]);
            assert_eq!(needs_one_of(expression, &bad), needs_gpl, "{expression}");
        };
        check("MIT", true, false);
        check("mit", true, false);
        check("GPL-3.0-only", false, true);
        check("MIT OR GPL-3.0-only", true, false);
        check("MIT AND GPL-3.0-only", false, true);
        check("(MIT OR GPL-2.0) AND (Apache-2.0 OR X)", true, false);
        check("MIT AND (BSD-3-Clause OR (GPL-2.0 AND X))", true, false);
        check("Apache-2.0 WITH LLVM-exception", true, false);
        check("GPL-2.0 with Classpath-exception-2.0", false, true);
        check("MIT or Apache-2.0 and GPL-2.0", true, false);
    }

    #[test]
    fn what_is_no_expression_is_the_name_of_one_licence() {
        let good = Patterns::of(["MIT", "the best licence"]);
        for text in ["", "(", "MIT AND", "AND MIT", "(MIT", "MIT)", "MIT MIT", "OR OR OR"] {
            assert!(!can_be_met(text, &good), "{text:?}");
        }
        assert!(can_be_met("The Best Licence", &good));
        assert!(!can_be_met(&"(".repeat(100_000), &good), "depth is bounded");
    }
}
