//! The licences of the models that a model was made from, where rules look at what follows from all of them.
//!
//! Each generation is looked up in one round, by what is kept of it where something is, so that the way to a file gets longer once and not each time. A model whose
//! lineage goes on for longer than is followed, or leads to one that is not open or says nothing, has no effective licence that is known.

use std::collections::HashSet;

use crate::cache::failure::Failure;
use crate::cache::lookup::Demand;
use crate::ecosystem::huggingface::info::{self, Info};
use crate::ecosystem::huggingface::reach::Reach;
use crate::ecosystem::huggingface::repository::{Repository, RepositoryType};
use crate::ecosystem::huggingface::settle::Settled;
use crate::ecosystem::{Ask, Held, Step};
use crate::policy::{Ecosystem, Fact, Facts};
use crate::types::Audience;

/// How many generations are followed.
const MOST_GENERATIONS: usize = 3;

/// How many models are looked at.
const MOST_ANCESTORS: usize = 16;

/// The licences of all ancestors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Inherited {
    /// No rule looks at them.
    #[default]
    Unasked,
    Known(Vec<String>),
    /// One could not be looked up just now.
    Pending,
    /// One says nothing, or cannot be looked at.
    Unknown,
}

/// How planning goes on.
type Then = Box<dyn FnOnce(Settled, Ask) -> Step + Send>;

/// Goes on with the licences of a model's ancestors, where rules look at them.
pub fn with(
    at: Settled,
    ask: Ask,
    then: impl FnOnce(Settled, Ask) -> Step + Send + 'static,
) -> Step {
    let is_needed = ask.rules.needs(Ecosystem::Hf, Fact::LicenceEffective);
    let said = at.described.as_ref().and_then(|held| held.parsed.get::<Info>()).map(Info::said);
    let Some(said) = said.filter(|_| is_needed && at.inherited == Inherited::Unasked) else {
        return then(at, ask);
    };
    let parents = said.base_models().to_vec();
    let mut seen = HashSet::new();
    seen.insert(at.repository.id().to_owned());
    let walk = Walk { at, ask, then: Box::new(then), seen, found: Vec::new(), generation: 0 };
    walk.look_up(parents)
}

/// Adds what follows from a model's own licence and those of its ancestors.
pub fn add(facts: &mut Facts<'_>, inherited: &Inherited) {
    match inherited {
        Inherited::Known(licences) => {
            let effective = facts.text(Fact::Licence).map(|own| joined(own, licences));
            facts.set(Fact::LicenceEffective, effective);
        }
        Inherited::Pending => facts.await_all(&[Fact::LicenceEffective]),
        Inherited::Unasked | Inherited::Unknown => {}
    }
}

/// All of them at once, as one expression.
fn joined(own: &str, inherited: &[String]) -> String {
    let mut all = vec![own];
    for licence in inherited {
        if !all.contains(&licence.as_str()) {
            all.push(licence);
        }
    }
    let is_alone = all.len() == 1;
    let part = |licence: &&str| match licence.contains(' ') && !is_alone {
        true => format!("({licence})"),
        false => (*licence).to_owned(),
    };
    all.iter().map(part).collect::<Vec<_>>().join(" AND ")
}

/// A lineage that is being followed.
struct Walk {
    at: Settled,
    ask: Ask,
    then: Then,
    /// Whom it has met.
    seen: HashSet<String>,
    found: Vec<String>,
    generation: usize,
}

impl Walk {
    fn look_up(mut self, parents: Vec<String>) -> Step {
        let new: Vec<String> =
            parents.into_iter().filter(|id| self.seen.insert(id.clone())).collect();
        if new.is_empty() {
            let found = std::mem::take(&mut self.found);
            return self.end(Inherited::Known(found));
        }
        let named = |id: &String| Repository::parse(RepositoryType::Models, id);
        let repositories: Option<Vec<Repository>> = new.iter().map(named).collect();
        let is_long = self.generation == MOST_GENERATIONS || self.seen.len() > MOST_ANCESTORS;
        let Some(repositories) = repositories.filter(|_| !is_long) else {
            return self.end(Inherited::Unknown);
        };
        // What one client's token opens is nobody else's, so what is open to all must do.
        let reach = match self.at.reach.audience {
            Audience::Credential(_) => Reach::public(&self.at.reach.settings),
            Audience::Public | Audience::Service => self.at.reach.clone(),
        };
        let ask = Ask { as_of: None, ..self.ask.clone() };
        let documents = repositories.iter().map(|repository| {
            let mut document = info::document(&reach, repository, &ask);
            document.demand = Demand::AnyAge;
            document
        });
        Step::Need { documents: documents.collect(), then: Box::new(move |held| self.take(held)) }
    }

    fn take(mut self, generation: Vec<Result<Held, Failure>>) -> Step {
        let mut parents = Vec::new();
        for held in generation {
            let held = match held {
                Ok(held) => held,
                Err(failure) if failure.is_passing() => return self.end(Inherited::Pending),
                Err(_) => return self.end(Inherited::Unknown),
            };
            let info = held.parsed.get::<Info>().filter(|info| info.text.is_some());
            let Some(said) = info.map(Info::said) else { return self.end(Inherited::Unknown) };
            let Some(licence) = said.licence() else { return self.end(Inherited::Unknown) };
            self.found.push(licence.to_owned());
            parents.extend_from_slice(said.base_models());
        }
        self.generation += 1;
        self.look_up(parents)
    }

    fn end(self, inherited: Inherited) -> Step {
        let Self { at, ask, then, .. } = self;
        then(Settled { inherited, ..at }, ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fact::Value;

    #[test]
    fn all_licences_must_be_met() {
        let check = |own: Option<&str>, inherited: &[&str], expected: Option<&str>| {
            let mut facts = Facts::of(Ecosystem::Hf, "o/m").with(Fact::Licence, own);
            let inherited = inherited.iter().map(|one| (*one).to_owned()).collect();
            add(&mut facts, &Inherited::Known(inherited));
            assert_eq!(facts.text(Fact::LicenceEffective), expected);
        };
        check(Some("MIT"), &[], Some("MIT"));
        check(Some("MIT OR X"), &["MIT OR X"], Some("MIT OR X"));
        check(Some("MIT OR X"), &["A", "MIT OR X", "A"], Some("(MIT OR X) AND A"));
        check(None, &["MIT"], None);
        let mut facts = Facts::of(Ecosystem::Hf, "o/m").with(Fact::Licence, "MIT");
        add(&mut facts, &Inherited::Pending);
        assert!(facts.is_pending(Fact::LicenceEffective));
        add(&mut facts, &Inherited::Unknown);
        assert_eq!(*facts.get(Fact::LicenceEffective), Value::Unknown);
    }
}
