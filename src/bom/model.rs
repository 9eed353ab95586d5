//! A passport as components: the model with its files and its card, its ancestors, and the data that it was trained on.

use super::Parts;
use super::component::{
    Acknowledgement, Component, Contents, DataSource, Dataset, Hash, HashAlgorithm, LicenceEntry,
    ModelCard, ModelParameters, Pedigree, Property, Reference,
};
use crate::passport::{File, Parent, Passport, purl};

/// What a model adds to a bill.
pub(super) fn parts(passport: &Passport) -> Parts {
    let identity = &passport.identity;
    let commit = &passport.reference.commit;
    let (group, name) = split(&identity.repository);
    let kind = if identity.kind == "datasets" { "data" } else { "machine-learning-model" };
    let mut main = Component::new(kind, reference_of(passport), name);
    main.group = group;
    main.version = Some(commit.clone());
    main.publisher.clone_from(&identity.author);
    main.purl = Some(identity.purl.clone());
    main.licenses = licences(passport);
    main.components =
        passport.content.files.iter().map(|file| component_of(file, &main.bom_ref)).collect();
    main.properties = properties(passport);
    main.external_references = addresses(passport);
    let data = datasets(passport);
    match kind {
        "data" => {
            let name = identity.repository.clone();
            main.data = vec![DataSource { kind: "dataset", name, contents: None }];
        }
        _ => {
            main.model_card = Some(card(passport, &data));
            main.pedigree = pedigree(&passport.lineage.ancestors);
        }
    }
    let files = &passport.content.files;
    let is_complete = passport.content.file_count == Some(files.len() as u64)
        && !files.is_empty()
        && files.iter().all(|file| file.sha256.is_some());
    Parts { main, data, is_complete }
}

/// Package URLs tell no types of repositories apart.
fn reference_of(passport: &Passport) -> String {
    let identity = &passport.identity;
    match identity.kind.as_str() {
        "models" => identity.purl.clone(),
        kind => format!("{kind}:{}", identity.purl),
    }
}

fn split(repository: &str) -> (Option<String>, String) {
    match repository.split_once('/') {
        Some((group, name)) => (Some(group.to_owned()), name.to_owned()),
        None => (None, repository.to_owned()),
    }
}

/// What the author declared; what was found in the texts where he declared nothing.
fn licences(passport: &Passport) -> Vec<LicenceEntry> {
    let licences = &passport.licence;
    if let Some(declared) = &licences.declared {
        return vec![LicenceEntry::of(declared, Acknowledgement::Declared)];
    }
    let found = licences.detected.first();
    found
        .map(|text| LicenceEntry::of(&text.licence, Acknowledgement::Concluded))
        .into_iter()
        .collect()
}

fn component_of(file: &File, of: &str) -> Component {
    let mut component = Component::new("file", format!("{of}#{}", file.path), file.path.clone());
    if let Some(sha256) = &file.sha256 {
        component.hashes = vec![Hash { alg: HashAlgorithm::Sha256, content: sha256.clone() }];
    }
    let size = file.size.map(|size| Property::new("size", size.to_string()));
    let oid = file.oid.as_ref().map(|oid| Property::new("git-oid", oid.clone()));
    let format = file.format.map(|format| Property::new("format", format.name()));
    component.properties = [format, oid, size].into_iter().flatten().collect();
    component
}

fn addresses(passport: &Passport) -> Vec<Reference> {
    let identity = &passport.identity;
    let hub = identity.upstream.trim_end_matches('/');
    let kind = match identity.kind.as_str() {
        "models" => String::new(),
        kind => format!("{kind}/"),
    };
    let page = format!("{hub}/{kind}{}", identity.repository);
    let commit = &passport.reference.commit;
    let mut addresses =
        vec![Reference { url: format!("{page}/tree/{commit}"), kind: "distribution" }];
    let has_card = passport.content.files.iter().any(|file| file.path == "README.md");
    if has_card {
        let url = format!("{page}/blob/{commit}/README.md");
        addresses.push(Reference { url, kind: "model-card" });
    }
    addresses
}

fn datasets(passport: &Passport) -> Vec<Component> {
    let hub = passport.identity.upstream.trim_end_matches('/');
    let of = |name: &String| {
        let (group, short) = split(name);
        let mut component = Component::new("data", format!("dataset:{hub}/datasets/{name}"), short);
        component.group = group;
        // A card may name data that is on no hub.
        let is_on_hub =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
        let contents = is_on_hub.then(|| Contents { url: format!("{hub}/datasets/{name}") });
        component.data = vec![DataSource { kind: "dataset", name: name.clone(), contents }];
        component
    };
    let mut all: Vec<Component> = passport.training.datasets.iter().map(of).collect();
    all.sort_by(|one, other| one.bom_ref.cmp(&other.bom_ref));
    all.dedup_by(|one, other| one.bom_ref == other.bom_ref);
    all
}

fn card(passport: &Passport, data: &[Component]) -> ModelCard {
    let parameters = &passport.parameters;
    let mut properties = Vec::new();
    let mut note = |name: &str, value: Option<String>| {
        properties.extend(value.map(|value| Property::new(name, value)));
    };
    note("parameters", parameters.total.map(|total| total.to_string()));
    note("context-length", parameters.context_length.map(|length| length.to_string()));
    note("library", passport.task.library.clone());
    let languages = &passport.task.languages;
    note("languages", (!languages.is_empty()).then(|| languages.join(", ")));
    let quantization = passport.precision.quantization.as_ref();
    note(
        "quantization",
        quantization.map(|said| match said.bits {
            Some(bits) => format!("{}, {bits} bits", said.method),
            None => said.method.clone(),
        }),
    );
    for (name, count) in &passport.precision.types {
        note(&format!("precision:{name}"), Some(count.to_string()));
    }
    ModelCard {
        model_parameters: ModelParameters {
            task: passport.task.pipeline.clone(),
            architecture_family: parameters.family.clone(),
            model_architecture: parameters.architecture.clone(),
            datasets: data.iter().map(|one| Dataset { of: one.bom_ref.clone() }).collect(),
        },
        properties,
    }
}

fn pedigree(ancestors: &[Parent]) -> Option<Pedigree> {
    if ancestors.is_empty() {
        return None;
    }
    let of = |parent: &Parent| {
        let (group, name) = split(&parent.repository);
        let address = purl(&parent.repository, parent.commit.as_deref(), None);
        let reference = format!("ancestor:{address}");
        let mut component = Component::new("machine-learning-model", reference, name);
        component.group = group;
        component.version.clone_from(&parent.commit);
        component.purl = Some(address);
        let licence = parent.licence.as_ref();
        component.licenses = licence
            .map(|own| LicenceEntry::of(own, Acknowledgement::Declared))
            .into_iter()
            .collect();
        let relation = parent.relation.as_ref().map(|word| Property::new("relation", word.clone()));
        let unknown = parent.unknown.as_ref().map(|why| Property::new("unknown", why.clone()));
        component.properties = relation.into_iter().chain(unknown).collect();
        component
    };
    let notes = "The card names base models without their commits: a version here is the commit that the main branch led to when this was written.";
    let is_resolved = ancestors.iter().any(|parent| parent.commit.is_some());
    Some(Pedigree {
        ancestors: ancestors.iter().map(of).collect(),
        notes: is_resolved.then(|| notes.to_owned()),
    })
}

fn properties(passport: &Passport) -> Vec<Property> {
    let licences = &passport.licence;
    let texts = |texts: &[String]| (!texts.is_empty()).then(|| texts.join(", "));
    let tags: Vec<String> = licences.tags.iter().map(ToString::to_string).collect();
    let facts = [
        ("version", Some(passport.name.clone())),
        ("hub-id", passport.identity.id.clone()),
        ("manifest-root", passport.content.manifest_root.clone()),
        ("as-of", Some(passport.as_of.clone())),
        ("licence:effective", licences.effective.as_ref().map(ToString::to_string)),
        ("licence:tags", texts(&tags)),
        ("licence:unknown-ancestors", texts(&licences.unknown_ancestors)),
        ("gated", Some(passport.trust.is_gated.to_string())),
        ("state", Some(passport.lifecycle.state.clone())),
    ];
    let note = |(name, value): (&str, Option<String>)| Some(Property::new(name, value?));
    facts.into_iter().filter_map(note).collect()
}
