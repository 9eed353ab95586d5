//! Ancestors, and the terms that come down from them.

use super::compose::Ancestor;
use super::{Licences, Parent};
use crate::licence::Licence;

/// The ancestors as a passport tells them.
pub(super) fn parents(ancestors: &[Ancestor]) -> Vec<Parent> {
    let parent = |ancestor: &Ancestor| Parent {
        repository: ancestor.repository.clone(),
        of: ancestor.of.clone(),
        relation: ancestor.relation.clone(),
        commit: ancestor.commit.clone(),
        licence: ancestor.card.as_ref().and_then(|card| card.licence.clone()),
        unknown: ancestor.unknown.clone(),
    };
    ancestors.iter().map(parent).collect()
}

/// Sums up: what is declared, or else detected, here and by the ancestors, all at once. Where nothing is known of the model's own terms nothing is effective,
/// whatever the ancestors demand.
pub(super) fn settle(licences: &mut Licences, ancestors: &[Parent]) {
    licences.mismatch = licences.declared.as_ref().is_some_and(|declared| {
        licences.detected.iter().any(|text| !declared.names_all_of(&text.licence))
    });
    let detected = || Licence::all(licences.detected.iter().map(|text| text.licence.clone()));
    let own = match &licences.declared {
        // A text that says something else counts beside the card.
        Some(declared) if licences.mismatch => {
            Licence::all(std::iter::once(declared.clone()).chain(detected()))
        }
        Some(declared) => Some(declared.clone()),
        None => detected(),
    };
    licences.unknown_ancestors = ancestors
        .iter()
        .filter(|parent| parent.licence.is_none())
        .map(|parent| parent.repository.clone())
        .collect();
    licences.unknown_ancestors.dedup();
    let inherited = ancestors.iter().filter_map(|parent| parent.licence.clone());
    licences.effective = own.map(|own| inherited.fold(own, |all, one| all.and(&one)));
    licences.tags = licences.effective.iter().flat_map(|effective| effective.tags()).collect();
}
