//! Layers in, a configuration or its faults out.

use std::time::Duration;

use super::*;

mod shipped;

/// Layers written out: a file's text, variables and flags.
#[derive(Default)]
struct Case<'a> {
    file: Option<&'a str>,
    environment: &'a [(&'a str, &'a str)],
    listen: &'a [&'a str],
    data_dir: Option<&'a str>,
}

impl Case<'_> {
    /// Reads the layers; in faults, the file's folder is left out.
    fn read(&self) -> Result<Loaded, Vec<String>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("larder.toml");
        if let Some(text) = self.file {
            std::fs::write(&path, text).expect("a file in a new folder");
        }
        let os = |text: &&str| OsString::from(text);
        let sources = Sources {
            file: self.file.map(|_| path),
            environment: self
                .environment
                .iter()
                .map(|(name, value)| (os(name), os(value)))
                .collect(),
            flags: Flags {
                listen: self.listen.iter().map(|text| (*text).to_owned()).collect(),
                data_dir: self.data_dir.map(PathBuf::from),
            },
        };
        let prefix = format!("{}/", folder.path().display());
        Loaded::read(&sources).map_err(|Faults(faults)| {
            faults.iter().map(|fault| fault.to_string().replace(&prefix, "")).collect()
        })
    }

    fn config(&self) -> Config {
        self.read().expect("a configuration without faults").config
    }
}

fn file(text: &str) -> Case<'_> {
    Case { file: Some(text), ..Case::default() }
}

fn environment<'a>(variables: &'a [(&'a str, &'a str)]) -> Case<'a> {
    Case { environment: variables, ..Case::default() }
}

fn check(case: &Case<'_>, expected: &[&str]) {
    let faults = case.read().map(|loaded| loaded.config).expect_err("faults");
    assert_eq!(faults, expected);
}

#[test]
fn unknown_settings_are_faults_that_name_line_and_nearest_key() {
    check(
        &file("[cache]\nfills = 3\nfils = 3\n"),
        &["larder.toml:3: cache.fils: unknown setting, did you mean `fills`?"],
    );
    check(
        &file("[log]\ncolour = true\n"),
        &["larder.toml:2: log.colour: unknown setting, expected one of filter, format"],
    );
    check(
        &file("[cahce]\nfills = 3\n"),
        &["larder.toml:1: cahce: unknown setting, did you mean `cache`?"],
    );
}

/// They came in the order of the keys' names, and those between settings after all others, so that who mended a file went up and down in it.
#[test]
fn faults_come_in_the_order_of_the_file() {
    let case = Case {
        file: Some(
            "[log]\ncolour = 1\n\n[cache]\nmemry = 1\n\n[generic.a]\nupstream = \"b\"\n\n[bogus]\n",
        ),
        environment: &[("LARDER_CACHE__FILS", "1"), ("LARDER_A____B", "1")],
        ..Case::default()
    };
    let faults = case.read().map(|loaded| loaded.config).expect_err("faults");
    let places: Vec<String> = faults
        .iter()
        .map(|fault| fault.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        places,
        [
            "LARDER_A____B names no setting",
            "larder.toml:2 log.colour",
            "larder.toml:5 cache.memry",
            "larder.toml:7 generic.a",
            "larder.toml:10 bogus",
            "LARDER_CACHE__FILS cache.fils",
        ],
        "{faults:?}"
    );
}

/// `LARDER_CACHE_MEMORY` was answered with the list of all sections: that two underscores part a section from its key is what everybody forgets.
#[test]
fn one_underscore_too_few_is_told() {
    let case = environment(&[("LARDER_CACHE_MEMORY", "5")]);
    check(
        &case,
        &[
            "LARDER_CACHE_MEMORY: cache_memory: unknown setting, did you mean `cache.memory`? In the environment it is LARDER_CACHE__MEMORY",
        ],
    );
}

/// That an administrator's name belongs to nobody was told when the server started, without file and line, and by `larder config` never.
#[test]
fn an_administrator_whom_nobody_is_is_a_fault_of_the_configuration() {
    check(
        &file("[access]\nadmins = [\"cert:ops.example\", \"typo\"]\n"),
        &[
            "larder.toml:2: access.admins: \"typo\" is the name of no token in `access.tokens`; that of a certificate begins with \"cert:\"",
        ],
    );
}

#[test]
fn bad_values_are_faults_that_say_what_was_expected() {
    let check_cache = |line: &str, expected: &str| {
        check(&file(&format!("[cache]\n{line}\n")), &[&format!("larder.toml:2: {expected}")]);
    };
    check_cache(
        "revalidate_budget = \"soon\"",
        "cache.revalidate_budget: found \"soon\", expected a duration such as \"500ms\", \"10s\" or \"2h\"",
    );
    check_cache(
        "revalidate_budget = 5",
        "cache.revalidate_budget: found a number, expected a duration such as \"500ms\", \"10s\" or \"2h\"",
    );
    check_cache(
        "memory = \"lots\"",
        "cache.memory: found \"lots\", expected a size such as 1048576, \"64 KiB\" or \"1.5 GB\"",
    );
    check_cache("fills = -1", "cache.fills: found -1, expected a whole number of 0 or more");
    check_cache(
        "verify_before_range = \"yes\"",
        "cache.verify_before_range: found text, expected true or false",
    );
    check(&file("cache = 5\n"), &["larder.toml:1: cache: found a number, expected a table"]);
    check(
        &file("log.format = \"xml\"\n"),
        &["larder.toml:1: log.format: found \"xml\", expected one of json, text"],
    );
}

#[test]
fn all_faults_of_all_layers_are_reported_at_once() {
    check(
        &Case {
            file: Some("[log]\nformat = 1\n[cache]\nfils = 3\nmemory = \"lots\"\n"),
            environment: &[("LARDER_CACHE__ABANDON_AFTER", "never"), ("LARDER_CHACE__FILLS", "1")],
            listen: &["nonsense", "127.0.0.1:1", "more"],
            ..Case::default()
        },
        &[
            "larder.toml:2: log.format: found a number, expected text in quotes",
            "larder.toml:4: cache.fils: unknown setting, did you mean `fills`?",
            "larder.toml:5: cache.memory: found \"lots\", expected a size such as 1048576, \"64 KiB\" or \"1.5 GB\"",
            "LARDER_CACHE__ABANDON_AFTER: cache.abandon_after: found \"never\", expected a duration such as \"500ms\", \"10s\" or \"2h\"",
            "LARDER_CHACE__FILLS: chace: unknown setting, did you mean `cache`?",
            "--listen: listen: found \"nonsense\", expected an address with a port such as \"127.0.0.1:8484\"",
            "--listen: listen: found \"more\", expected an address with a port such as \"127.0.0.1:8484\"",
        ],
    );
}

#[test]
fn a_text_that_is_no_toml_is_reported_with_its_line_and_other_layers_are_still_read() {
    check(
        &Case {
            file: Some("listen = [\n\"127.0.0.1:1\"\n[cache]\nfills =\n"),
            environment: &[("LARDER_CACHE__FILLS", "many")],
            ..Case::default()
        },
        &[
            "larder.toml:3: missing comma between array elements, expected `,`",
            "LARDER_CACHE__FILLS: cache.fills: found text, expected a whole number of 0 or more",
        ],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault() {
    let sources = Sources { file: Some("/nowhere/larder.toml".into()), ..Sources::default() };
    let faults = Loaded::read(&sources).expect_err("a fault").to_string();
    assert!(faults.contains("/nowhere/larder.toml: cannot be read: "), "{faults}");
}

#[test]
fn variables_that_name_no_setting_are_faults() {
    check(
        &environment(&[("LARDER_CACHE__", "1")]),
        &["LARDER_CACHE__: names no setting: write LARDER_SECTION__KEY"],
    );
    check(
        &environment(&[("LARDER_PORT", "tcp://10.0.0.1:8484")]),
        &[
            "LARDER_PORT: port: unknown setting, expected one of access, advisories, bundle, cache, data_dir, generic, heal, huggingface, inspect, listen, log, oci, policy, public_url, pypi, server, signature, store, tls, trace, upstream",
        ],
    );
}

#[test]
fn faults_between_settings_are_found() {
    check(
        &file("listen = []\n"),
        &["larder.toml:1: listen: is empty, expected at least one address"],
    );
    check(
        &Case { data_dir: Some(""), ..Case::default() },
        &["--data-dir: data_dir: is empty, expected a directory"],
    );
    for url in
        ["larder.example", "ftp://x.example", "https://u:p@x.example", "https://x.example/?q"]
    {
        check(
            &environment(&[("LARDER_PUBLIC_URL", url)]),
            &[
                "LARDER_PUBLIC_URL: public_url: expected the address of the root alone, such as \"https://larder.example.org\"",
            ],
        );
    }
    check(
        &file("[tls]\nkey = \"key.pem\"\n"),
        &["larder.toml:2: tls.key: needs `tls.certificate` beside it"],
    );
    check(
        &file(
            "[pypi.indexes.a]\nhosts = [\"h.example\"]\n[pypi.indexes.b]\nupstream = \"https://x.example/\"\nhosts = [\"H.example\"]\n",
        ),
        &[
            "larder.toml:1: pypi.indexes.a: `upstream` is missing: the address of a simple index",
            "larder.toml:5: pypi.indexes.b.hosts: \"H.example\" is claimed by `pypi.indexes.a.hosts` already",
        ],
    );
    check(
        &file("[generic.a]\nupstream = \"ftp://x.example/\"\ngrant = [\"ci\"]\n"),
        &[
            "larder.toml:1: generic.a: \"ftp://x.example/\" is no http or https address",
            "larder.toml:3: generic.a.grant: \"ci\" is the name of no token in `access.tokens`",
        ],
    );
    check(
        &Case { listen: &["0.0.0.0:80"], ..Case::default() },
        &[
            "--listen: listen: listening on 0.0.0.0:80 lets other machines in, and `[access]` admits none: name their \
           networks in access.networks, or set access.open = true to admit everybody who can reach it",
        ],
    );
    check(
        &file("[tls]\nkey = \"key.pem\"\ncertificate = 5\n"),
        &["larder.toml:3: tls.certificate: found a number, expected text in quotes"],
    );
}

/// A limit of 0 was taken as it stood: Larder started, and refused everything or failed at everything.
#[test]
fn nothing_is_no_limit_and_no_time_out() {
    let number = "found 0, expected a whole number of 1 or more";
    let span =
        "found \"0s\", expected a duration longer than that, such as \"500ms\", \"10s\" or \"2h\"";
    check(
        &file(
            "[server]\nmax_connections = 0\nmax_connections_per_address = 0\nmax_headers = 0\nmax_header_bytes = 0\n",
        ),
        &[
            &format!("larder.toml:2: server.max_connections: {number}"),
            &format!("larder.toml:3: server.max_connections_per_address: {number}"),
            &format!("larder.toml:4: server.max_headers: {number}"),
            &format!("larder.toml:5: server.max_header_bytes: {number}"),
        ],
    );
    check(
        &Case {
            file: Some(
                "[oci.registries.\"r.example\"]\nupstream = \"https://r.example/\"\nhistory = 0\n",
            ),
            environment: &[("LARDER_UPSTREAM__CONNECT_TIMEOUT", "0s")],
            ..Case::default()
        },
        &[
            &format!("larder.toml:3: oci.registries.\"r.example\".history: {number}"),
            &format!("LARDER_UPSTREAM__CONNECT_TIMEOUT: upstream.connect_timeout: {span}"),
        ],
    );
    check(
        &file("[store]\nbudget = \"0 GB\"\n"),
        &[
            "larder.toml:2: store.budget: found 0, expected a size of one byte or more, such as 1048576, \"64 KiB\" or \"1.5 GB\"",
        ],
    );
}

#[test]
fn later_layers_win() {
    let text = "listen = [\"127.0.0.1:1\"]\n[cache]\nfills = 1\nabsent_for = \"1s\"\n";
    let one = file(text).config();
    assert_eq!((one.cache.fills, one.cache.absent_for), (1, Duration::from_secs(1)));
    let two = Case {
        file: Some(text),
        environment: &[("LARDER_LISTEN", "127.0.0.1:2"), ("LARDER_CACHE__FILLS", "2")],
        ..Case::default()
    };
    let read = two.config();
    assert_eq!((read.cache.fills, read.cache.absent_for), (2, Duration::from_secs(1)));
    assert_eq!(read.listen[0].port(), 2);
    let three = Case { listen: &["127.0.0.1:3", "[::1]:4"], data_dir: Some("/x"), ..two }.config();
    let ports: Vec<u16> = three.listen.iter().map(SocketAddr::port).collect();
    assert_eq!((ports, three.data_dir), (vec![3, 4], PathBuf::from("/x")));
}

#[test]
fn variables_are_read_as_toml_where_they_can_be() {
    let config = environment(&[
        ("LARDER_LISTEN", "[\"127.0.0.1:5\", \"127.0.0.1:6\"]"),
        ("LARDER_CACHE__VERIFY_BEFORE_RANGE", "true"),
        ("LARDER_CACHE__MEMORY", "1 MiB"),
        ("LARDER_CACHE__ABSENT_FOR", "\"3s\""),
        ("OTHER", "ignored"),
    ])
    .config();
    assert_eq!(config.listen.len(), 2);
    assert!(config.cache.verify_before_range);
    assert_eq!(config.cache.memory.bytes(), 1 << 20);
    assert_eq!(config.cache.absent_for, Duration::from_secs(3));
}

#[test]
fn data_lives_where_the_machine_expects_it() {
    let check = |variables: &[(&str, &str)], expected: &str| {
        assert_eq!(environment(variables).config().data_dir, PathBuf::from(expected));
    };
    let (state, data, home) =
        (("STATE_DIRECTORY", "/s/larder:/s/other"), ("XDG_DATA_HOME", "/d"), ("HOME", "/h"));
    check(&[state, data, home], "/s/larder");
    check(&[data, home], "/d/larder");
    check(&[("XDG_DATA_HOME", "relative"), home], "/h/.local/share/larder");
    check(&[home], "/h/.local/share/larder");
    check(&[], "/var/lib/larder");
}

#[test]
fn the_effective_configuration_says_where_each_value_came_from() {
    let loaded = Case {
        file: Some(
            "[cache]\nfills = 7\n[[pypi.indexes.a.upstreams]]\nurl = \"http://a.example/\"\n",
        ),
        environment: &[("LARDER_LOG__FILTER", "debug")],
        listen: &["127.0.0.1:0"],
        ..Case::default()
    }
    .read()
    .expect("no faults");
    let shown = loaded.to_toml();
    let place = |start: &str| {
        let line = shown.lines().find(|line| line.starts_with(start)).expect("the setting");
        line.rsplit("# ").next().unwrap_or_default().to_owned()
    };
    assert!(place("fills = 7").ends_with("/larder.toml:2"), "{shown}");
    assert!(place("url = \"http://a.example/\"").ends_with("/larder.toml:3"), "{shown}");
    assert_eq!(place("filter = \"debug\""), "LARDER_LOG__FILTER");
    assert_eq!(place("listen = "), "--listen");
    assert_eq!(place("memory = "), "default");
    let again: Config = toml::from_str(&shown).expect("what is printed can be read");
    assert_eq!(again, loaded.config);
}

#[test]
fn the_effective_configuration_is_told_to_programs_too() {
    let told = file("[cache]\nfills = 3\n").read().expect("no faults").to_json();
    assert_eq!(told["settings"]["cache"]["fills"], 3);
    let source = told["sources"]["cache.fills"].as_str().expect("a source");
    assert!(source.ends_with("/larder.toml:2"), "{source}");
    assert_eq!(told["sources"]["cache.lanes"], "default");
    assert!(told["settings"]["public_url"].is_null() && told["sources"]["public_url"].is_null());
}
