//! Bills of made-up models and locks, compared with the official schema.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::licence::Licence;
use crate::passport::{File, Format, Parent, Quantization};

fn now() -> Timestamp {
    Timestamp::from_text("2026-11-23T12:00:00Z").expect("an instant")
}

fn passport(repository: &str) -> Passport {
    let mut passport =
        Passport { name: format!("{repository}@2026.11.03-0123456"), ..Passport::default() };
    passport.identity.repository = repository.to_owned();
    passport.identity.kind = "models".to_owned();
    passport.identity.upstream = "https://hub.example/".to_owned();
    passport.identity.purl = format!("pkg:huggingface/{repository}@0123");
    passport.identity.author = Some("org".to_owned());
    passport.reference.commit = "0123".to_owned();
    passport.lifecycle.state = "present".to_owned();
    passport
}

/// One with everything in it.
fn rich() -> Passport {
    let mut passport = passport("org/name");
    passport.content.files = vec![
        File { path: "README.md".to_owned(), sha256: Some("a".repeat(64)), ..File::default() },
        File {
            path: "a b/model.safetensors".to_owned(),
            sha256: Some("b".repeat(64)),
            size: Some(7),
            oid: Some("c".repeat(40)),
            format: Some(Format::Safetensors),
            ..File::default()
        },
    ];
    passport.content.file_count = Some(2);
    passport.content.manifest_root = Some("d".repeat(64));
    passport.precision.types.insert("BF16".to_owned(), 42);
    passport.precision.quantization =
        Some(Quantization { method: "awq".to_owned(), bits: Some(4) });
    passport.parameters.total = Some(42);
    passport.parameters.context_length = Some(8);
    passport.parameters.family = Some("llama".to_owned());
    passport.parameters.architecture = Some("LlamaForCausalLM".to_owned());
    passport.task.pipeline = Some("text-generation".to_owned());
    passport.task.languages = vec!["en".to_owned()];
    passport.training.datasets =
        vec!["org/data".to_owned(), "my own notes".to_owned(), "org/data".to_owned()];
    passport.licence.declared = Licence::of_card("llama3.1", None);
    passport.licence.effective = Licence::parse("llama3.1 AND MIT").ok();
    passport.licence.tags = passport.licence.effective.iter().flat_map(Licence::tags).collect();
    passport.licence.unknown_ancestors = vec!["base/two".to_owned()];
    let parent = |repository: &str, licence: Option<Licence>| Parent {
        repository: repository.to_owned(),
        of: "org/name".to_owned(),
        relation: Some("finetune".to_owned()),
        commit: licence.as_ref().map(|_| "c".repeat(40)),
        unknown: licence.is_none().then(|| "nothing of it passed through".to_owned()),
        licence,
    };
    passport.lineage.ancestors =
        vec![parent("base/one", Licence::parse("MIT").ok()), parent("base/two", None)];
    passport
}

fn items() -> Vec<Item> {
    let file =
        |name: &str, digest: String| ItemFile { name: name.to_owned(), digest, size: Some(3) };
    let wheel = || file("Six-1.0-py3-none-any.whl", format!("sha256:{}", "1".repeat(64)));
    [
        (
            "pypi:Six.x==1.0+cu1",
            vec![wheel(), wheel(), file("six.tar.gz", "blake2b:00".to_owned())],
        ),
        ("oci:registry.example:5000/team/App:1.0", vec![]),
        (
            &format!("oci:alpine@sha256:{}", "2".repeat(64)),
            vec![file("", format!("sha256:{}", "3".repeat(64)))],
        ),
        ("hf:org/other@abc", vec![file("config.json", format!("sha256:{}", "4".repeat(64)))]),
        ("hf:datasets/org/data@abc", vec![]),
    ]
    .into_iter()
    .map(|(exact, files)| Item::read(exact, files).expect("an exact name"))
    .collect()
}

/// The official schema, with what it refers to.
fn schema() -> jsonschema::Validator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cyclonedx");
    let read = |name: &str| -> Value {
        let text = fs::read(folder.join(name)).expect("a fixture");
        serde_json::from_slice(&text).expect("JSON")
    };
    let base = "http://cyclonedx.org/schema/";
    let registry = ["spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json"].into_iter().fold(
        jsonschema::Registry::new(),
        |registry, name| {
            let resource = jsonschema::Resource::from_contents(read(name));
            registry.add(format!("{base}{name}"), resource).expect("an address")
        },
    );
    let registry = registry.prepare().expect("schemas");
    jsonschema::options()
        .with_registry(&registry)
        .build(&read("bom-1.6.SNAPSHOT.schema.json"))
        .expect("a schema")
}

fn faults(schema: &jsonschema::Validator, bill: &Value) -> Vec<String> {
    schema.iter_errors(bill).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn bills_are_what_the_official_schema_demands() {
    let schema = schema();
    let mut plain = passport("gpt2");
    plain.licence.declared = Licence::parse("MIT OR Apache-2.0").ok();
    let mut listed = passport("org/listed");
    listed.licence.declared = Licence::parse("apache-2.0").ok();
    let mut data = passport("org/data");
    data.identity.kind = "datasets".to_owned();
    for (name, bill) in [
        ("nothing", bill(&[], &[], now())),
        ("a plain model", of_passports(&[plain.clone()], now())),
        ("a rich model", of_passports(&[rich()], now())),
        ("a lock", bill(&[], &items(), now())),
        ("all", bill(&[rich(), plain, listed, data, rich()], &items(), now())),
    ] {
        let bill = serde_json::to_value(&bill).expect("JSON");
        assert_eq!(faults(&schema, &bill), Vec::<String>::new(), "{name}: {bill:#}");
    }
    let mut wrong = serde_json::to_value(of_passports(&[rich()], now())).expect("JSON");
    wrong["components"][0]["type"] = json!("model");
    assert!(!faults(&schema, &wrong).is_empty());
}

#[test]
fn the_same_things_make_the_same_bill() {
    let text = |passports: &[Passport], items: &[Item], now| {
        serde_json::to_string(&bill(passports, items, now)).expect("JSON")
    };
    let (one, other) = (rich(), passport("gpt2"));
    let mut reversed = items();
    reversed.reverse();
    let bill = text(&[one.clone(), other.clone()], &items(), now());
    assert_eq!(text(&[other.clone(), one.clone()], &reversed, now()), bill);
    let serial = |text: &str| {
        let bill: Value = serde_json::from_str(text).expect("JSON");
        bill["serialNumber"].as_str().expect("a serial number").to_owned()
    };
    let later = text(&[one.clone(), other], &items(), Timestamp(now().0 + 1));
    assert_ne!(later, bill);
    assert_eq!(serial(&later), serial(&bill));
    assert_ne!(serial(&text(&[one], &[], now())), serial(&bill));
}

#[test]
fn a_model_is_told_with_all_that_the_format_has_a_place_for() {
    let bill = serde_json::to_value(of_passports(&[rich()], now())).expect("JSON");
    let components = bill["components"].as_array().expect("components");
    let model =
        components.iter().find(|one| one["type"] == "machine-learning-model").expect("a model");
    assert_eq!((&model["group"], &model["name"]), (&json!("org"), &json!("name")));
    assert_eq!(
        model["licenses"],
        json!([{ "license": { "name": "llama3.1", "acknowledgement": "declared" } }])
    );
    assert_eq!(model["pedigree"]["ancestors"][0]["licenses"][0]["license"]["id"], "MIT");
    assert_eq!(model["modelCard"]["modelParameters"]["task"], "text-generation");
    assert_eq!(model["modelCard"]["modelParameters"]["datasets"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        model["components"][1]["hashes"][0],
        json!({ "alg": "SHA-256", "content": "b".repeat(64) })
    );
    let properties = model["properties"].as_array().expect("properties");
    assert!(
        properties.contains(&json!({ "name": "larder:licence:tags", "value": "use-restricted" }))
    );
    assert_eq!(bill["compositions"][0]["aggregate"], "complete");
    let datasets = components.iter().filter(|one| one["type"] == "data").count();
    assert_eq!(datasets, 2);
}

#[test]
fn locked_things_have_package_addresses() {
    let address = |exact: &str| {
        let item = Item::read(exact, Vec::new()).expect("an exact name");
        item.parts().main.purl.unwrap_or_default()
    };
    assert_eq!(address("pypi:Six_x==1.0+cu1"), "pkg:pypi/six-x@1.0%2Bcu1");
    assert_eq!(address("hf:org/m@AB"), "pkg:huggingface/org/m@ab");
    assert_eq!(
        address("oci:registry.example:5000/team/app:1.0"),
        "pkg:oci/app?repository_url=registry.example:5000/team/app&tag=1.0"
    );
    assert_eq!(address("oci:a/b@sha256:00"), "pkg:oci/b@sha256:00?repository_url=a/b");
    for wrong in
        ["six==1", "pypi:six", "hf:org/m", "oci:a", "npm:x@1", "pypi:==1", "oci:host:5000/a"]
    {
        assert!(Item::read(wrong, Vec::new()).is_err(), "{wrong}");
    }
}

fn pull(name: &str, digest: &str, at: &str) -> Pull {
    Pull {
        name: name.to_owned(),
        digest: Some(format!("sha256:{}", digest.repeat(64))),
        first: format!("2026-11-{at}T00:00:00.000Z"),
        last: format!("2026-11-{at}T00:00:00.000Z"),
        pulls: 1,
        ..Pull::default()
    }
}

fn range() -> Range {
    let day = |day: &str| format!("2026-11-{day}T00:00:00.000Z");
    Range { since: day("10"), until: day("20"), recorded_since: day("01") }
}

fn pulls() -> Vec<Pull> {
    let (image, layer) = ("oci:registry.example/team/app", "2");
    let by_digest = format!("{image}@sha256:{}", "1".repeat(64));
    let of_layer = format!("{image}@sha256:{}", layer.repeat(64));
    let stray = format!("oci:registry.example/team/other@sha256:{}", "3".repeat(64));
    let licensed = |pull: Pull, licence: &str| Pull { licence: Some(licence.to_owned()), ..pull };
    vec![
        pull("pypi:six==1.0/six-1.0.tar.gz", "a", "11"),
        licensed(pull("pypi:six==1.0/six-1.0-py3-none-any.whl", "b", "12"), "MIT"),
        licensed(pull("pypi:six==1.0/six-1.0-py3-none-any.whl", "b", "13"), "Acme's own words"),
        pull("pypi:torch/torch==2.0+cu1/torch-2.0+cu1-py3-none-any.whl", "c", "11"),
        pull("hf:org/name@0123/a b/model.safetensors", "b", "11"),
        pull("hf:datasets/org/data@abc/data.csv", "d", "11"),
        Pull { is_manifest: true, ..pull(&format!("{image}:1.0"), "1", "11") },
        Pull { is_manifest: true, ..pull(&by_digest, "1", "12") },
        pull(&of_layer, layer, "12"),
        pull(&stray, "3", "12"),
        pull("hf:sha256:0000", "e", "12"),
        Pull { digest: None, ..pull("pypi:odd", "e", "12") },
        Pull { pulls: 0, ..pull("pypi:begun==1/begun.whl", "e", "12") },
    ]
}

#[test]
fn what_was_pulled_is_one_component_for_each_thing() {
    let mut things = things(&pulls());
    let image = format!("oci:registry.example/team/app@sha256:{}", "1".repeat(64));
    let layer = format!("sha256:{}", "2".repeat(64));
    nest(&mut things, &[(image.clone(), [layer].into())].into());
    let known: Vec<String> = things.iter().filter_map(|thing| thing.item.exact()).collect();
    let expected = [
        "hf:datasets/org/data@abc",
        "hf:org/name@0123",
        &image,
        "pypi:six==1.0",
        "pypi:torch==2.0+cu1",
    ];
    assert_eq!(known, expected);
    assert_eq!(things.len(), expected.len() + 3, "and what belongs to nothing that is known");
    let of = |exact: &str| {
        things.iter().find(|thing| thing.item.exact().as_deref() == Some(exact)).expect(exact)
    };
    let six = of("pypi:six==1.0");
    assert_eq!(six.item.files.len(), 2);
    assert_eq!(six.item.licence.as_deref(), Some("Acme's own words"), "the last word counts");
    assert_eq!(of(&image).item.files.len(), 1, "the layer");
    let purl = of(&image).item.parts().main.purl.expect("an address");
    assert!(purl.ends_with("?repository_url=registry.example/team/app&tag=1.0"), "{purl}");
}

#[test]
fn bills_of_pulls_are_what_the_official_schema_demands() {
    let schema = schema();
    let mut things = things(&pulls());
    let model = things.iter_mut().find(|thing| thing.item.model().is_some()).expect("the model");
    model.passport = Some(rich());
    model.item.licence = Some("MIT".to_owned());
    for (name, things) in [("nothing", &[][..]), ("all", &things)] {
        let bill = serde_json::to_value(of_pulls(things, &range(), now())).expect("JSON");
        assert_eq!(faults(&schema, &bill), Vec::<String>::new(), "{name}: {bill:#}");
    }
    let bill = serde_json::to_value(of_pulls(&things, &range(), now())).expect("JSON");
    let components = bill["components"].as_array().expect("components");
    let find = |kind: &str, name: &str| {
        let is_it = |one: &&Value| one["type"] == kind && one["name"] == name;
        components.iter().find(is_it).unwrap_or_else(|| panic!("{name} in {bill:#}"))
    };
    let six = find("library", "six");
    assert_eq!(six["licenses"][0]["license"]["name"], "Acme's own words");
    let has = |component: &Value, name: &str, value: &str| {
        let property = json!({ "name": format!("larder:{name}"), "value": value });
        component["properties"].as_array().is_some_and(|all| all.contains(&property))
    };
    assert!(has(six, "pulled:first", "2026-11-11T00:00:00.000Z"), "{six:#}");
    assert!(has(six, "pulled:last", "2026-11-13T00:00:00.000Z"), "{six:#}");
    assert!(has(six, "pulled:times", "3"), "{six:#}");
    let model = find("machine-learning-model", "name");
    let files: Vec<&Value> =
        model["components"].as_array().expect("files").iter().map(|file| &file["name"]).collect();
    assert_eq!(files, ["a b/model.safetensors"], "and not what was not pulled");
    assert!(has(model, "licence:when-pulled", "MIT"), "{model:#}");
    assert_eq!(find("container", "app")["version"], format!("sha256:{}", "1".repeat(64)));
    find("file", "pypi:odd");
    let recorded =
        json!({ "name": "larder:pulled:recorded-since", "value": "2026-11-01T00:00:00.000Z" });
    assert_eq!(bill["metadata"]["properties"][2], recorded);
}

#[test]
fn a_thing_pulled_before_and_after_a_stretch_may_not_have_been_pulled_in_it() {
    let around = Pull {
        last: "2026-11-25T00:00:00.000Z".to_owned(),
        ..pull("pypi:six==1.0/six.whl", "a", "02")
    };
    for (pull, expected) in [(around, true), (pull("pypi:six==1.0/six.whl", "a", "11"), false)] {
        let bill =
            serde_json::to_string(&of_pulls(&things(&[pull]), &range(), now())).expect("JSON");
        assert_eq!(bill.contains("pulled:within"), expected, "{bill}");
    }
}
