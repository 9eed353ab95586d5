//! Commands find the Larder that runs by the same configuration, whatever that says of upstreams, and end as commands do.

use std::process::Stdio;

use rcgen::generate_simple_self_signed;

use super::World;
use crate::support::child::{Process, binary};

/// Nothing ever listens there.
const NOBODY: &str = "http://127.0.0.1:1";

/// A Larder over no upstream at all, with more settings.
async fn larder(world: &World, more: &str) -> Process {
    let settings = format!("{more}\n{}", world.settings());
    Process::start(world.folder.path(), &settings)
}

/// Commands went through the proxy that stands before upstreams: where one is configured, which does not lead back to this machine, none of them worked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_do_not_go_through_the_proxy_of_upstreams() {
    let world = World::new().await;
    let settings = world.settings();
    let (before, after) = settings.split_once("[upstream]\n").unwrap_or((&settings, ""));
    let proxied = format!("{before}\n[upstream]\nproxy = \"{NOBODY}\"\n{after}");
    let larder = Process::start(world.folder.path(), &proxied);
    let told = world.run(&larder.base, &["ls"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
}

/// The same of the proxy that the environment names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_do_not_go_through_the_proxy_of_the_environment() {
    let world = World::new().await;
    let larder = larder(&world, "").await;
    let mut command = binary();
    command.args(["ls", "--listen", larder.base.trim_start_matches("http://"), "--config"]);
    command.arg(world.folder.path().join("larder.toml"));
    command.env("http_proxy", NOBODY).env("HTTP_PROXY", NOBODY).env("ALL_PROXY", NOBODY);
    command.env_remove("no_proxy").env_remove("NO_PROXY");
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    let ended = ended.expect("it does not panic").expect("the binary can be run");
    assert!(ended.status.success(), "{ended:?}");
}

/// With TLS no command found its server: it asks for an address, which certificates rarely name, and of an authority that its own machine need not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_know_their_own_servers_certificate() {
    let world = World::new().await;
    let folder = world.folder.path();
    let made = generate_simple_self_signed(vec!["larder.example".to_owned()]).expect("it is made");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("the folder can be written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("the folder can be written");
    let tls = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}\n");
    let larder = larder(&world, &tls).await;
    assert!(larder.base.starts_with("https://"), "{}", larder.base);
    let address = larder.base.trim_start_matches("https://").to_owned();
    let told = world.run(&address, &["ls"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    // Another's certificate at that address is nobody's.
    let other = generate_simple_self_signed(vec!["larder.example".to_owned()]).expect("it is made");
    std::fs::write(&certificate, other.cert.pem()).expect("the folder can be written");
    let told = world.run(&address, &["ls"]).await;
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains("certificate"), "{told:?}");
}

/// Commands went to `public_url`: where a reverse proxy answers there they came from elsewhere, and were no administrator's any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_go_to_the_listener_and_not_to_what_stands_before_it() {
    let world = World::new().await;
    let larder = larder(&world, &format!("public_url = \"{NOBODY}/below\"")).await;
    let told = world.run(&larder.base, &["log", "--json"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    // Links begin with that address all the same, and are followed.
    let told = world.run(&larder.base, &["pull", "pypi:six==1.0", "--no-deps"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    drop(larder);
    // Nobody listens any more: the command looks into the data itself.
    let told = world.run("http://127.0.0.1:1", &["ls"]).await;
    assert_eq!(told.code, Some(0), "{told:?}");
}

/// Four commands had no `--json` although their answer is data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_data_is_told_to_programs_too() {
    let world = World::new().await;
    let larder = larder(&world, "").await;
    let output = world.folder.path().join("site.tar");
    let output = output.to_str().expect("a path in UTF-8");
    let check = async |arguments: &[&str], pointer: &str| {
        let told = world.run(&larder.base, arguments).await;
        assert_eq!(told.code, Some(0), "{told:?}");
        assert!(told.json().pointer(pointer).is_some(), "{pointer}: {told:?}");
    };
    check(&["config", "--json"], "/sources/cache.fills").await;
    check(&["waive", "check", "--json"], "").await;
    check(&["export", "--key", "--json"], "/key").await;
    check(&["export", "--all", "-o", output, "--json"], "/bytes").await;
}

/// `larder ls | head` ended with a panic and its backtrace once `head` had enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_enough_ends_a_command_quietly() {
    let mut command = binary();
    command.args(["policy", "facts"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let child = command.stdout(writer).spawn().expect("the binary can be run");
        child.wait_with_output().expect("it ends")
    });
    let ended = ended.await.expect("it does not panic");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    assert_eq!(ended.status.code(), Some(141));
}

/// What starting again does not mend has the code by which the systemd unit knows that; a file that a setting names had another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_that_does_not_fit_the_machine_is_no_passing_fault() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let check = async |setting: &str, named: &str| {
        let file = folder.path().join("larder.toml");
        std::fs::write(&file, setting).expect("the folder can be written");
        let mut command = binary();
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&file);
        command.arg("--data-dir").arg(folder.path().join("data"));
        let ended = tokio::task::spawn_blocking(move || command.output()).await;
        let ended = ended.expect("it does not panic").expect("the binary can be run");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{setting}: {said}");
        assert!(said.contains(named), "{setting}: {said}");
    };
    check("policy.file = \"/absent.toml\"", "`[policy]`").await;
    check("access.tokens = [{ name = \"ci\", file = \"/absent\" }]", "access.tokens").await;
    check("tls = { certificate = \"/absent.pem\", key = \"/absent.pem\" }", "`[tls]`").await;
    check("upstream.ca_file = \"/absent.pem\"", "upstream.ca_file").await;
    check("advisories.folder = \"/absent\"", "advisories.folder").await;
}

/// `larder policy check` said that the waivers cannot be read and nothing of what was to be mended in the policy, and blamed waivers for rules that nobody could read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_a_policy_are_told_beside_those_of_its_waivers() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let policy = folder.path().join("policy.toml");
    let waivers = folder.path().join("waivers.toml");
    let text = "[[rule]]\nid = \"a\"\ndeny_if = { yankd = true }\n";
    std::fs::write(&policy, text).expect("the folder can be written");
    let check = async || {
        let mut command = binary();
        command.args(["policy", "check"]).arg(&policy).arg("--waivers").arg(&waivers);
        let ended = tokio::task::spawn_blocking(move || command.output()).await;
        let ended = ended.expect("it does not panic").expect("the binary can be run");
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        String::from_utf8_lossy(&ended.stdout).into_owned()
    };
    let told = check().await;
    assert!(told.contains("rule.a.deny_if.yankd"), "{told}");
    assert!(told.contains("waivers.toml cannot be read"), "{told}");
    let waiver = "[[waiver]]\nrule = \"a\"\nname = \"pypi:six==1.0\"\nreason = \"r\"\napproved_by = \"me\"\nexpires = \"2999-01-01\"\n";
    std::fs::write(&waivers, waiver).expect("the folder can be written");
    let told = check().await;
    assert!(!told.contains("no such rule"), "{told}");
}
