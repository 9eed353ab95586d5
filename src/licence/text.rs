//! Which licence a text is: by its title where it has one, else by the sentence that no other has.
//!
//! A title counts near the beginning only, and the first one wins: licences name each other further down. How long the text is tells whether more was put into the
//! file than the licence.

use super::{HUB_PREFIX, Licence};

/// What a text was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    pub licence: Licence,
    /// Whether there is about as much text as the licence has; else something was added, or most of it left out.
    pub is_whole: bool,
}

/// Words that are looked at for a title.
const TITLE_WORDS: usize = 160;

/// The longest text that is looked at.
const MOST_BYTES: usize = 1 << 20;

/// A licence that is known by its title: identifier, title in plain words, fewest and most words of the text.
pub(super) type Title = (&'static str, &'static str, usize, usize);

pub(super) const TITLES: &[Title] = &[
    ("Apache-2.0", "apache license version 2 0", 1300, 1750),
    ("GPL-2.0-only", "gnu general public license version 2", 2200, 3100),
    ("GPL-3.0-only", "gnu general public license version 3", 5000, 5900),
    ("LGPL-2.1-only", "gnu lesser general public license version 2 1", 3500, 4500),
    ("LGPL-3.0-only", "gnu lesser general public license version 3", 900, 1300),
    ("AGPL-3.0-only", "gnu affero general public license version 3", 5000, 5900),
    ("MPL-2.0", "mozilla public license version 2 0", 2200, 2700),
    ("EPL-1.0", "eclipse public license v 1 0", 1600, 2100),
    ("EPL-2.0", "eclipse public license v 2 0", 2000, 2600),
    ("BSL-1.0", "boost software license version 1 0", 180, 260),
    ("Artistic-2.0", "the artistic license 2 0", 1400, 1800),
    ("AFL-3.0", "academic free license", 1500, 1900),
    ("OSL-3.0", "open software license", 1500, 1900),
    ("OFL-1.1", "sil open font license version 1 1", 550, 800),
    ("EUPL-1.2", "european union public licence v 1 2", 1900, 2500),
    ("WTFPL", "do what the fuck you want to public license", 60, 120),
    ("PSF-2.0", "python software foundation license version 2", 300, 3500),
    ("CC0-1.0", "cc0 1 0 universal", 800, 1200),
    ("CC-BY-4.0", "attribution 4 0 international", 1700, 3300),
    ("CC-BY-SA-4.0", "attribution sharealike 4 0 international", 1800, 3500),
    ("CC-BY-ND-4.0", "attribution noderivatives 4 0 international", 1700, 3300),
    ("CC-BY-NC-4.0", "attribution noncommercial 4 0 international", 1800, 3500),
    ("CC-BY-NC-SA-4.0", "attribution noncommercial sharealike 4 0 international", 1900, 3600),
    ("CC-BY-NC-ND-4.0", "attribution noncommercial noderivatives 4 0 international", 1800, 3500),
    ("CDLA-Permissive-1.0", "community data license agreement permissive version 1 0", 1200, 2000),
    ("CDLA-Permissive-2.0", "community data license agreement permissive version 2 0", 250, 450),
    ("CDLA-Sharing-1.0", "community data license agreement sharing version 1 0", 1200, 2200),
    ("ODbL-1.0", "open database license", 3500, 4500),
    ("ODC-By-1.0", "open data commons attribution license", 3000, 4000),
    ("LicenseRef-HF-llama2", "llama 2 community license agreement", 1000, 2600),
    ("LicenseRef-HF-llama3", "llama 3 community license agreement", 1000, 2600),
    ("LicenseRef-HF-llama3.1", "llama 3 1 community license agreement", 1000, 3000),
    ("LicenseRef-HF-llama3.2", "llama 3 2 community license agreement", 1000, 3000),
    ("LicenseRef-HF-llama3.3", "llama 3 3 community license agreement", 1000, 3000),
    ("LicenseRef-HF-llama4", "llama 4 community license agreement", 1000, 3000),
    ("LicenseRef-HF-gemma", "gemma terms of use", 900, 2200),
    ("LicenseRef-HF-creativeml-openrail-m", "creativeml open rail m", 1300, 2600),
    ("LicenseRef-HF-openrail-plus-plus", "creativeml open rail++ m", 1300, 2800),
    ("LicenseRef-HF-bigscience-bloom-rail-1.0", "bigscience rail license v1 0", 1300, 2800),
    ("LicenseRef-HF-bigscience-openrail-m", "bigscience open rail m", 1300, 2800),
    ("LicenseRef-HF-bigcode-openrail-m", "bigcode open rail m", 1300, 2800),
    ("LicenseRef-HF-deepfloyd-if-license", "deepfloyd if license agreement", 800, 2500),
    (
        "LicenseRef-HF-fair-noncommercial-research-license",
        "fair noncommercial research license",
        500,
        3000,
    ),
    (
        "LicenseRef-HF-apple-amlr",
        "apple machine learning research model license agreement",
        400,
        2000,
    ),
    ("LicenseRef-HF-openmdw-1.0", "openmdw license agreement version 1 0", 200, 700),
    ("LicenseRef-HF-tongyi-qianwen", "tongyi qianwen license agreement", 600, 1800),
    ("LicenseRef-HF-qwen", "qwen license agreement", 600, 1800),
    ("LicenseRef-HF-qwen-research", "qwen research license agreement", 600, 1800),
    ("LicenseRef-HF-deepseek", "deepseek license agreement", 1300, 3000),
    (
        "LicenseRef-HF-stabilityai-ai-community",
        "stability ai community license agreement",
        600,
        2200,
    ),
    ("LicenseRef-HF-nvidia-open-model-license", "nvidia open model license", 600, 2200),
    ("LicenseRef-HF-mrl", "mistral ai research license", 900, 2500),
    ("LicenseRef-HF-mnpl", "mistral ai non production license", 900, 2500),
];

/// A licence without a title: identifier, what it says, what it must not say, fewest and most words.
pub(super) type Sentence =
    (&'static str, &'static [&'static str], &'static [&'static str], usize, usize);

pub(super) const SENTENCES: &[Sentence] = &[
    (
        "MIT",
        &[
            "to deal in the software without restriction",
            "this permission notice shall be included",
        ],
        &["advertising or otherwise to promote", "contributors may be used to endorse"],
        130,
        220,
    ),
    (
        "MIT-0",
        &["to deal in the software without restriction"],
        &["notice shall be included", "contributors may be used to endorse"],
        100,
        190,
    ),
    (
        "NCSA",
        &["to deal with the software without restriction", "contributors may be used to endorse"],
        &[],
        180,
        300,
    ),
    (
        "BSD-3-Clause-Clear",
        &[
            "redistribution and use in source and binary forms",
            "no express or implied licenses to any party",
        ],
        &[],
        180,
        330,
    ),
    (
        "BSD-4-Clause",
        &[
            "redistribution and use in source and binary forms",
            "all advertising materials mentioning",
        ],
        &[],
        180,
        330,
    ),
    (
        "BSD-3-Clause",
        &["redistribution and use in source and binary forms", "neither the name"],
        &["no express or implied licenses to any party", "all advertising materials mentioning"],
        170,
        300,
    ),
    (
        "BSD-2-Clause",
        &["redistribution and use in source and binary forms", "in no event shall"],
        &["neither the name", "all advertising materials mentioning"],
        140,
        260,
    ),
    (
        "ISC",
        &["for any purpose with or without fee is hereby granted", "appear in all copies"],
        &[],
        80,
        160,
    ),
    (
        "Unlicense",
        &["this is free and unencumbered software released into the public domain"],
        &[],
        150,
        260,
    ),
    (
        "Zlib",
        &["altered source versions must be plainly marked", "this notice may not be removed"],
        &[],
        100,
        190,
    ),
];

/// What forbids selling, added to licences that allow it.
const COMMONS_CLAUSE: &str = "commons clause license condition";

/// Whether a file of a repository is the text of a licence, by its name. What a card may not say, such files do.
pub fn is_text_of(path: &str) -> bool {
    let name = path.to_ascii_lowercase();
    let stem = name.split('.').next().unwrap_or(&name);
    !path.contains('/')
        && (stem.starts_with("license") || stem.starts_with("licence") || stem == "copying")
}

/// Says which licence a text is. `None`: none that is known here.
pub fn detect(text: &str) -> Option<Detected> {
    let cut = (0..=text.len().min(MOST_BYTES)).rev().find(|at| text.is_char_boundary(*at))?;
    let words = plain(&text[..cut]);
    let count = words.split(' ').count();
    let (id, fewest, most) = by_title(&words).or_else(|| by_sentence(&words))?;
    let mut licence = Licence::parse(id).ok()?;
    let mut is_whole = (fewest..=most).contains(&count);
    if words.contains(COMMONS_CLAUSE) {
        let clause = Licence::parse(&format!("{HUB_PREFIX}commons-clause-non-commercial")).ok()?;
        licence = licence.and(&clause);
        is_whole = false;
    }
    Some(Detected { licence, is_whole })
}

fn by_title(words: &str) -> Option<(&'static str, usize, usize)> {
    let end = words.match_indices(' ').nth(TITLE_WORDS).map_or(words.len(), |(at, _)| at);
    let found = TITLES.iter().filter_map(|title| Some((place(&words[..end], title.1)?, title)));
    // Of two that begin at the same word, the longer one says more.
    let (_, title) = found.min_by_key(|(at, title)| (*at, usize::MAX - title.1.len()))?;
    Some((title.0, title.2, title.3))
}

/// Where whole words stand.
fn place(words: &str, title: &str) -> Option<usize> {
    let is_edge = |letter: Option<u8>| letter.is_none_or(|letter| letter == b' ');
    let bytes = words.as_bytes();
    words.match_indices(title).map(|(at, _)| at).find(|at| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before).copied());
        is_edge(before) && is_edge(bytes.get(at + title.len()).copied())
    })
}

fn by_sentence(words: &str) -> Option<(&'static str, usize, usize)> {
    let fits = |sentence: &&Sentence| {
        sentence.1.iter().all(|own| words.contains(own))
            && !sentence.2.iter().any(|foreign| words.contains(foreign))
    };
    SENTENCES.iter().find(fits).map(|sentence| (sentence.0, sentence.3, sentence.4))
}

/// Lower case, words parted by single spaces, nothing else but the plus that one licence has in its name.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            letter if letter.is_alphanumeric() || letter == '+' => {
                plain.extend(letter.to_lowercase());
            }
            // An apostrophe parts no word.
            '\'' | '\u{2019}' => {}
            _ if plain.ends_with(' ') || plain.is_empty() => {}
            _ => plain.push(' '),
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

/// Classifiers that name one licence, without what stands before.
pub(super) const CLASSIFIERS: &[(&str, &str)] = &[
    ("Apache Software License", "Apache-2.0"),
    ("Academic Free License (AFL)", "AFL-3.0"),
    ("Boost Software License 1.0 (BSL-1.0)", "BSL-1.0"),
    ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"),
    ("Eclipse Public License 1.0 (EPL-1.0)", "EPL-1.0"),
    ("Eclipse Public License 2.0 (EPL-2.0)", "EPL-2.0"),
    ("European Union Public Licence 1.1 (EUPL 1.1)", "EUPL-1.1"),
    ("European Union Public Licence 1.2 (EUPL 1.2)", "EUPL-1.2"),
    ("GNU Affero General Public License v3", "AGPL-3.0-only"),
    ("GNU Affero General Public License v3 or later (AGPLv3+)", "AGPL-3.0-or-later"),
    ("GNU General Public License v2 (GPLv2)", "GPL-2.0-only"),
    ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
    ("GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
    ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
    ("GNU Lesser General Public License v2 (LGPLv2)", "LGPL-2.0-only"),
    ("GNU Lesser General Public License v2 or later (LGPLv2+)", "LGPL-2.0-or-later"),
    ("GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"),
    ("GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later"),
    ("ISC License (ISCL)", "ISC"),
    ("MIT License", "MIT"),
    ("MIT No Attribution License (MIT-0)", "MIT-0"),
    ("Mozilla Public License 1.1 (MPL 1.1)", "MPL-1.1"),
    ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
    ("Python Software Foundation License", "PSF-2.0"),
    ("The Unlicense (Unlicense)", "Unlicense"),
    ("Universal Permissive License (UPL)", "UPL-1.0"),
    ("University of Illinois/NCSA Open Source License", "NCSA"),
    ("zlib/libpng License", "Zlib"),
];

pub(super) fn of_classifier(name: &str) -> Option<&'static str> {
    CLASSIFIERS.iter().find(|(own, _)| *own == name).map(|(_, id)| *id)
}

/// What people write where an identifier is expected, in plain words, sorted; without the words that only say that it is a licence.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("2 clause bsd", "BSD-2-Clause"),
    ("3 clause bsd", "BSD-3-Clause"),
    ("apache 2", "Apache-2.0"),
    ("apache 2 0", "Apache-2.0"),
    ("apache software 2 0", "Apache-2.0"),
    ("apache version 2 0", "Apache-2.0"),
    ("boost software", "BSL-1.0"),
    ("bsd 2 clause", "BSD-2-Clause"),
    ("bsd 3 clause", "BSD-3-Clause"),
    ("bsd 3 clause new or revised", "BSD-3-Clause"),
    ("gnu agplv3", "AGPL-3.0-only"),
    ("gnu gplv3", "GPL-3.0-only"),
    ("gnu lgplv3", "LGPL-3.0-only"),
    ("gplv2", "GPL-2.0-only"),
    ("gplv3", "GPL-3.0-only"),
    ("gplv3+", "GPL-3.0-or-later"),
    ("isc", "ISC"),
    ("lgplv3", "LGPL-3.0-only"),
    ("lgplv3+", "LGPL-3.0-or-later"),
    ("mit", "MIT"),
    ("modified bsd", "BSD-3-Clause"),
    ("mozilla public 2 0", "MPL-2.0"),
    ("mpl 2 0", "MPL-2.0"),
    ("new bsd", "BSD-3-Clause"),
    ("psf", "PSF-2.0"),
    ("python software foundation", "PSF-2.0"),
    ("simplified bsd", "BSD-2-Clause"),
    ("zlib", "Zlib"),
];

/// The identifier that a name stands for, whether or not it says that it is a licence.
pub(super) fn of_name(name: &str) -> Option<&'static str> {
    if name.len() > 100 || name.contains(['(', ')', '/']) {
        return None;
    }
    let words = plain(name);
    let is_said = |word: &&str| matches!(*word, "the" | "license" | "licence");
    let own: Vec<&str> = words.split(' ').filter(|word| !is_said(word)).collect();
    let own = own.join(" ");
    if !name.contains(' ') && spdx::license_id(name).is_some() {
        return None;
    }
    let at = NAMES.binary_search_by(|(known, _)| (*known).cmp(own.as_str())).ok()?;
    Some(NAMES[at].1)
}
