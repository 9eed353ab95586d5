//! What is handed to whoever installs Larder goes together with the rest.

use std::path::Path;

fn repository(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The image could not be built since the manifest named benchmarks: cargo refuses a manifest whose targets are not there, and the container file copied none of them.
#[test]
fn the_image_is_built_with_every_target_that_the_manifest_names() {
    let manifest: toml::Table = repository("Cargo.toml").parse().expect("a manifest");
    let targets = ["test", "bench", "bin", "example"].into_iter().flat_map(|kind| {
        let named = manifest.get(kind).and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let folder = if kind == "bench" { "benches" } else { kind };
        named.into_iter().map(move |target| {
            let text = |key: &str| target.get(key).and_then(toml::Value::as_str);
            let own = format!("{folder}/{}.rs", text("name").expect("a target has a name"));
            text("path").map_or(own, str::to_owned)
        })
    });
    let targets: Vec<String> = targets.collect();
    assert!(targets.len() > 1, "{targets:?}");
    let (recipe, ignored) = (repository("deploy/Containerfile"), repository(".dockerignore"));
    let copied: Vec<&str> = recipe
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let sent: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for target in &targets {
        let covers = |pattern: &&str| match pattern.split_once('*') {
            Some((head, tail)) => target.starts_with(head) && target.ends_with(tail),
            None => target == pattern,
        };
        assert!(copied.iter().any(covers), "{target} is not copied");
        assert!(sent.iter().any(covers), "{target} is not sent to the builder");
    }
}
