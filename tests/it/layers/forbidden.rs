//! Text that no tracked file may hold: names of public registries, and folders of one machine.

use super::repository;

/// Text that no tracked file may hold, put together here from parts so that this file does not hold it either.
/// Each with the files that may.
fn forbidden() -> Vec<(String, &'static [&'static str])> {
    const DEFAULTS: &[&str] = &["config/default.toml"];
    const LOCK: &[&str] = &["config/default.toml", "Cargo.lock"];
    let hosts: &[(&[&str], &'static [&'static str])] = &[
        (&["py", "pi.org"], DEFAULTS),
        (&["python", "hosted.org"], DEFAULTS),
        (&["download.py", "torch.org"], DEFAULTS),
        (&["hugging", "face.co"], DEFAULTS),
        (&["//hf", ".co"], DEFAULTS),
        (&["dock", "er.io"], DEFAULTS),
        (&["dock", "er.com"], DEFAULTS),
        (&["gh", "cr.io"], DEFAULTS),
        (&["gc", "r.io"], DEFAULTS),
        (&["qu", "ay.io"], DEFAULTS),
        (&["crat", "es.io"], LOCK),
        (&["npm", "js.org"], DEFAULTS),
        (&["npm", "js.com"], DEFAULTS),
        (&["ana", "conda.org"], DEFAULTS),
    ];
    hosts.iter().map(|(parts, files)| (parts.concat(), *files)).collect()
}

/// Folders that only a certain machine or person has.
fn machine_folders() -> [String; 4] {
    [["/ro", "ot/"], ["/wo", "rk/"], ["/ho", "me/"], ["/Us", "ers/"]].map(|parts| parts.concat())
}

/// Whether `text` names a path below `folder`; what only looks like one behind a host's name is not meant.
fn names_folder(text: &str, folder: &str) -> bool {
    let begins_path = |at: usize| {
        let before = text[..at].chars().next_back();
        before.is_none_or(|letter| !letter.is_alphanumeric() && !"-_.}~*".contains(letter))
    };
    text.match_indices(folder).any(|(at, _)| begins_path(at))
}

/// Finds text that must not be in a file of the repository.
fn forbidden_faults(path: &str, text: &str) -> Vec<String> {
    let lower = text.to_ascii_lowercase();
    // A small project of its own below `tests` has a lock file of its own.
    let is_one_of = |files: &[&str]| {
        files.iter().any(|file| {
            path.strip_suffix(file).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
        })
    };
    let hosts = forbidden()
        .into_iter()
        .filter(|(name, files)| !is_one_of(files) && lower.contains(&name.to_ascii_lowercase()));
    let folders = machine_folders().into_iter().filter(|folder| names_folder(text, folder));
    hosts.map(|(name, _)| name).chain(folders).map(|name| format!("{path}: names {name}")).collect()
}

#[test]
fn no_file_names_a_public_registry_or_a_machine() {
    let mut found = Vec::new();
    for (path, bytes) in repository() {
        // What is not text (a small wheel among the fixtures) holds no address that anybody would follow.
        if let Ok(text) = String::from_utf8(bytes) {
            found.extend(forbidden_faults(&path, &text));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn each_forbidden_text_is_found() {
    for (name, files) in forbidden() {
        let text = format!("see {}", name.to_uppercase());
        assert!(!forbidden_faults("README.md", &text).is_empty(), "{name} passes");
        for file in files {
            let found = forbidden_faults(file, &text);
            assert!(found.is_empty(), "{found:?}");
        }
    }
    for folder in machine_folders() {
        assert!(
            !forbidden_faults("a.toml", &format!("data = \"{folder}x\"")).is_empty(),
            "{folder}"
        );
        assert!(
            forbidden_faults("a.toml", &format!("http://index.example{folder}x")).is_empty(),
            "{folder}"
        );
    }
    assert!(forbidden_faults("README.md", "https://index.example/simple/").is_empty());
}
