//! Names in addresses.

use super::*;

#[test]
fn names_are_read_with_and_without_a_revision() {
    let check = |text: &str, expected: Option<(&str, &str)>| {
        let read = Wanted::read(text).ok();
        let read = read.map(|wanted| (wanted.repository.to_string(), wanted.revision.to_string()));
        let read =
            read.as_ref().map(|(repository, revision)| (repository.as_str(), revision.as_str()));
        assert_eq!(read, expected, "{text}");
    };
    check("org/name@main", Some(("models/org/name", "main")));
    check("hf:org/name", Some(("models/org/name", "main")));
    check("gpt2@v1", Some(("models/gpt2", "v1")));
    check("org/name@refs/pr/1", Some(("models/org/name", "refs/pr/1")));
    check("datasets/org/name@v1", Some(("datasets/org/name", "v1")));
    check("datasets/name", Some(("datasets/name", "main")));
    check("org/name@", None);
    check("org/name@a..b", None);
    check("a/b/c", None);
    check("", None);
}
