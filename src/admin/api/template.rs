//! Addresses with places to fill in: `log/{index}/proof`, `models/{id...}`.

/// An address below the API's root. `{name}` stands for one segment, `{name...}` for all that is left, at least one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template(&'static str);

impl Template {
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    pub const fn as_str(&self) -> &'static str {
        self.0
    }

    /// What the braces stand for when `path` is this address.
    pub fn captures<'a>(&self, path: &'a str) -> Option<Vec<&'a str>> {
        let mut rest = Some(path);
        let mut captures = Vec::new();
        for part in self.0.split('/') {
            let left = rest.filter(|left| !left.is_empty())?;
            if part.ends_with("...}") {
                captures.push(left);
                return Some(captures);
            }
            let (segment, after) = match left.split_once('/') {
                Some((segment, after)) => (segment, Some(after)),
                None => (left, None),
            };
            match part.starts_with('{') {
                true if !segment.is_empty() => captures.push(segment),
                false if segment == part => {}
                _ => return None,
            }
            rest = after;
        }
        rest.is_none().then_some(captures)
    }

    /// Orders addresses so that of two which fit a path, the more exact one comes first.
    pub(super) fn rank(&self) -> (bool, usize, std::cmp::Reverse<usize>, &'static str) {
        let open = self.0.ends_with("...}");
        (open, self.0.matches('{').count(), std::cmp::Reverse(self.0.len()), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_segments() {
        let check = |template: &'static str, path: &str, expected: Option<&[&str]>| {
            let captures = Template::new(template).captures(path);
            assert_eq!(captures.as_deref(), expected, "{template} {path}");
        };
        check("status", "status", Some(&[]));
        check("status", "status/", None);
        check("status", "statuses", None);
        check("log/{index}/proof", "log/7/proof", Some(&["7"]));
        check("log/{index}/proof", "log//proof", None);
        check("log/{index}", "log", None);
        check("models/{id...}", "models/org/name@main", Some(&["org/name@main"]));
        check("models/{id...}", "models/", None);
        check("why/{id}", "why/a/b", None);
    }
}
