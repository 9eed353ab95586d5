//! Names, expressions and texts of licences.

use super::*;

fn card(id: &str, name: Option<&str>) -> Option<String> {
    Licence::of_card(id, name).map(|licence| licence.to_string())
}

#[test]
fn cards_are_read_as_spdx() {
    let check = |id: &str, expected: &str| {
        assert_eq!(card(id, None).as_deref(), Some(expected), "{id}");
    };
    check("apache-2.0", "Apache-2.0");
    check("mit", "MIT");
    check("cc-by-nc-sa-4.0", "CC-BY-NC-SA-4.0");
    check("agpl-3.0", "AGPL-3.0-only");
    check("gpl-3.0", "GPL-3.0-only");
    check("bsl-1.0", "BSL-1.0");
    check("odc-by", "ODC-By-1.0");
    check("lgpl-lr", "LGPLLR");
    check("ms-pl", "MS-PL");
    check("etalab-2.0", "etalab-2.0");
    check("llama3.1", "LicenseRef-HF-llama3.1");
    check("openrail++", "LicenseRef-HF-openrail-plus-plus");
    check("creativeml-openrail-m", "LicenseRef-HF-creativeml-openrail-m");
    check("gpl", "LicenseRef-HF-gpl");
    check("cc", "LicenseRef-HF-cc");
    check("bsd", "LicenseRef-HF-bsd");
    check("other", "LicenseRef-HF-other");
    check("brand-new-terms", "LicenseRef-HF-brand-new-terms");
    assert_eq!(card("unknown", None), None);
    assert_eq!(card("", None), None);
}

#[test]
fn other_is_what_its_name_says() {
    let check = |name: &str, expected: &str| {
        assert_eq!(card("other", Some(name)).as_deref(), Some(expected), "{name}");
    };
    check("qwen-research", "LicenseRef-HF-qwen-research");
    check("Tongyi Qianwen", "LicenseRef-HF-tongyi-qianwen");
    check("apache-2.0", "Apache-2.0");
    check("llama3.1", "LicenseRef-HF-llama3.1");
    check("  ", "LicenseRef-HF-other");
    assert_eq!(card("other", Some("\u{2603}")), None);
}

/// Every identifier that the hub's documentation lists is read, and those that have one get their SPDX identifier.
#[test]
fn all_identifiers_of_the_hub_are_known() {
    let listed = "apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0 \
        artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 \
        cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 \
        cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 \
        eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl \
        apple-amlr mpl-2.0 odc-by odbl openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr \
        deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma other";
    for id in listed.split_whitespace() {
        let licence = Licence::of_card(id, None).unwrap_or_else(|| panic!("{id} is not read"));
        let is_own = licence.as_str().starts_with(HUB_PREFIX);
        assert_eq!(is_own, hub::spelling(id).starts_with(HUB_PREFIX), "{id}: {licence}");
        assert!(id == "other" || !licence.tags().contains(&Tag::Custom), "{id} has no tags");
    }
}

#[test]
fn expressions_are_read_in_any_spelling() {
    let check = |text: &str, expected: &str| {
        let read = Licence::parse(text).map(|licence| licence.to_string());
        assert_eq!(read.as_deref(), Ok(expected), "{text}");
    };
    check("MIT", "MIT");
    check("mit or APACHE-2.0", "MIT OR Apache-2.0");
    check("MIT/Apache-2.0", "MIT OR Apache-2.0");
    check("Apache License 2.0", "Apache-2.0");
    check("The MIT License", "MIT");
    check("3-Clause BSD License", "BSD-3-Clause");
    check("Apache License, Version 2.0", "Apache-2.0");
    check("GPL-3.0+", "GPL-3.0-or-later");
    check("GPL-2.0", "GPL-2.0-only");
    check("(mit AND llama3) or isc", "(MIT AND LicenseRef-HF-llama3) OR ISC");
    check(
        "GPL-2.0-or-later WITH Classpath-exception-2.0",
        "GPL-2.0-or-later WITH Classpath-exception-2.0",
    );
    check("LicenseRef-Own-Terms", "LicenseRef-Own-Terms");
    for text in
        ["", "  ", "Copyright somebody, all rights reserved", "MIT AND", "(MIT", "nonsense-1.0"]
    {
        assert!(Licence::parse(text).is_err(), "{text}");
    }
    assert!(Licence::parse(&"MIT AND ".repeat(10_000)).is_err());
}

#[test]
fn one_branch_that_is_allowed_is_enough() {
    let check = |text: &str, allowed: &[&str], expected: bool| {
        let licence = Licence::parse(text).expect("an expression");
        assert_eq!(licence.is_met(|id| allowed.contains(&id)), expected, "{text} {allowed:?}");
    };
    check("MIT OR GPL-3.0-only", &["MIT"], true);
    check("MIT AND GPL-3.0-only", &["MIT"], false);
    check("(MIT AND ISC) OR GPL-3.0-only", &["MIT", "ISC"], true);
    check("llama3.1", &["LicenseRef-HF-llama3.1"], true);
    check("GPL-2.0-only WITH Classpath-exception-2.0", &["GPL-2.0-only"], true);
    let exact = "GPL-2.0-only WITH Classpath-exception-2.0";
    check(exact, &[exact], true);
}

#[test]
fn what_is_forbidden_is_known() {
    let check = |text: &str, expected: &[Tag]| {
        let licence = Licence::parse(text).expect("an expression");
        assert_eq!(licence.tags().into_iter().collect::<Vec<_>>(), expected, "{text}");
    };
    check("apache-2.0", &[]);
    check("cc-by-nc-nd-4.0", &[Tag::NoDerivatives, Tag::Noncommercial]);
    check("cc-by-sa-4.0", &[Tag::ShareAlike]);
    check("GPL-3.0-only", &[Tag::ShareAlike]);
    check("gemma", &[Tag::UseRestricted]);
    check("gpl", &[Tag::ShareAlike, Tag::Vague]);
    check("MIT AND cc-by-nc-4.0", &[Tag::Noncommercial]);
    check("MIT OR cc-by-nc-4.0", &[]);
    check("llama3 OR cc-by-nc-4.0", &[Tag::UseRestricted]);
    check("LicenseRef-HF-acme-research-nc", &[Tag::Custom, Tag::ResearchOnly, Tag::Noncommercial]);
}

#[test]
fn licences_are_joined() {
    let check = |one: &str, other: &str, expected: &str| {
        let parse = |text| Licence::parse(text).expect("an expression");
        assert_eq!(parse(one).and(&parse(other)).as_str(), expected);
    };
    check("MIT", "MIT", "MIT");
    check("MIT", "llama3", "MIT AND LicenseRef-HF-llama3");
    check("MIT AND ISC", "ISC AND Zlib", "MIT AND ISC AND Zlib");
    check("MIT OR ISC", "Zlib", "(MIT OR ISC) AND Zlib");
    check("(MIT AND ISC) OR Zlib", "0BSD", "((MIT AND ISC) OR Zlib) AND 0BSD");
    assert_eq!(Licence::all([]), None);
}

#[test]
fn agreement_leaves_later_versions_aside() {
    let check = |one: &str, other: &str, expected: bool| {
        let parse = |text| Licence::parse(text).expect("an expression");
        assert_eq!(parse(one).names_all_of(&parse(other)), expected, "{one} {other}");
    };
    check("GPL-3.0-or-later", "GPL-3.0-only", true);
    check("MIT OR Apache-2.0", "Apache-2.0", true);
    check("Apache-2.0", "LicenseRef-HF-llama3.1", false);
}

#[test]
fn classifiers_are_read() {
    let check = |text: &str, expected: Option<&str>| {
        let read = Licence::of_classifier(text).map(|licence| licence.to_string());
        assert_eq!(read.as_deref(), expected, "{text}");
    };
    check("License :: OSI Approved :: MIT License", Some("MIT"));
    check("License :: OSI Approved :: Apache Software License", Some("Apache-2.0"));
    check("License :: CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", Some("CC0-1.0"));
    check("License :: OSI Approved :: BSD License", None);
    check("Topic :: Software Development", None);
    for (name, id) in text::CLASSIFIERS.iter().chain(text::NAMES) {
        assert!(Licence::parse(id).is_ok_and(|read| read.as_str() == *id), "{name}: {id}");
    }
    assert!(text::NAMES.is_sorted());
}

#[test]
fn texts_are_known_by_title_or_sentence() {
    let padded = |text: &str, words: usize| format!("{text} {}", "word ".repeat(words));
    let check = |text: &str, expected: Option<(&str, bool)>| {
        let found = detect(text).map(|found| (found.licence.to_string(), found.is_whole));
        let found = found.as_ref().map(|(id, is_whole)| (id.as_str(), *is_whole));
        assert_eq!(found, expected, "{}", &text[..text.len().min(60)]);
    };
    let apache = "                 Apache License\n           Version 2.0, January 2004\n";
    check(&padded(apache, 1500), Some(("Apache-2.0", true)));
    check(&padded(apache, 5000), Some(("Apache-2.0", false)));
    let mit = "MIT License\n\nCopyright (c) 2026 A\n\nPermission is hereby granted, free of charge, to deal in the Software without restriction. \
        The above copyright notice and this permission notice shall be included.";
    check(&padded(mit, 120), Some(("MIT", true)));
    let clause = format!("\"Commons Clause\" License Condition v1.0\n{mit}");
    check(&clause, Some(("MIT AND LicenseRef-HF-commons-clause-non-commercial", false)));
    let gpl = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007";
    let foreign = "GNU Affero General Public License, version 3";
    check(&padded(&format!("{gpl} {foreign}"), 5300), Some(("GPL-3.0-only", true)));
    check(
        &padded("Attribution-NonCommercial 4.0 International", 2500),
        Some(("CC-BY-NC-4.0", true)),
    );
    check(
        &padded("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", 2000),
        Some(("LicenseRef-HF-llama3.1", true)),
    );
    check(
        &padded("META LLAMA 3 COMMUNITY LICENSE AGREEMENT", 2000),
        Some(("LicenseRef-HF-llama3", true)),
    );
    check(
        &padded("CreativeML Open RAIL++-M License", 2000),
        Some(("LicenseRef-HF-openrail-plus-plus", true)),
    );
    check(
        &padded("CreativeML Open RAIL-M", 2000),
        Some(("LicenseRef-HF-creativeml-openrail-m", true)),
    );
    let bsd =
        "Redistribution and use in source and binary forms are permitted. Neither the name of A";
    check(&padded(bsd, 180), Some(("BSD-3-Clause", true)));
    check("All rights reserved.", None);
    check("", None);
    for (id, ..) in text::TITLES {
        assert!(Licence::parse(id).is_ok_and(|licence| licence.as_str() == *id), "{id}");
    }
    for (id, ..) in text::SENTENCES {
        assert!(Licence::parse(id).is_ok_and(|licence| licence.as_str() == *id), "{id}");
    }
}

/// A detector sees any text at all; it must take time in proportion and never panic on the borders of letters.
#[test]
fn any_text_is_survived() {
    for text in ["\u{130}\u{fb00}", "'''", "++++", "\u{2019}apache", "\0\u{1}\u{7f}"] {
        assert_eq!(detect(text), None);
    }
    let long = "\u{e9} ".repeat(1 << 20);
    assert_eq!(detect(&long), None);
}
