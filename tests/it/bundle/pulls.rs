//! `larder pull` and `larder check` over upstreams of every kind.

use crate::bundle::site::{Site, Upstreams};
use crate::huggingface::stock;
use crate::support::child::Process;
use crate::support::index::Upload;
use crate::support::origin::Fault;

#[tokio::test]
async fn a_list_is_fetched_once_and_ready_when_everybody_has_vanished() {
    let upstreams = Upstreams::start().await;
    let site = Site::new(&upstreams.settings());
    site.write("list.toml", upstreams.list());
    let before = site.run(&["check", "list.toml", "--json"]).await.ends(1).json();
    let missing = before["missing"].as_array().map(Vec::len);
    assert_eq!((before["ready"].as_u64(), missing), (Some(0), Some(3)), "{before}");

    let pulled = site.run(&["pull", "list.toml"]).await.ends(0);
    assert!(pulled.out.contains(" 0 refused, 0 failed"), "{pulled:?}");
    assert!(pulled.err.contains("leaf-1.0-py3-none-any.whl"), "{pulled:?}");
    assert!(!pulled.err.contains("leaf-2.0"), "{pulled:?}");

    upstreams.hub.forget();
    upstreams.registry.forget();
    upstreams.vanish().await;
    let again = site.run(&["pull", "list.toml"]).await.ends(0);
    assert!(again.out.starts_with("0 new"), "{again:?}");
    let ready = site.run(&["check", "list.toml", "--json"]).await.ends(0).json();
    assert!(ready["ready"].as_u64() > Some(15), "{ready}");
}

#[tokio::test]
async fn what_cannot_be_had_is_told_by_name_and_the_rest_is_fetched() {
    let upstreams = Upstreams::start().await;
    let site = Site::new(&upstreams.settings());
    upstreams.index.files.fault(&Upload::wheel("leaf", "1.0").path, Fault::status(503));
    let words = [
        "pull",
        "pypi:tree==1.0",
        "pypi:nothing==1",
        "hf:org/nothing",
        "--python",
        "3.11",
        "--json",
    ];
    let pulled = site.run(&words).await.ends(1);
    let events: Vec<serde_json::Value> =
        pulled.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!((of("missed"), of("summary")), (2, 1), "{pulled:?}");
    let outcome = |name: &str| {
        events.iter().find(|event| event["name"] == name).map(|event| event["outcome"].clone())
    };
    assert_eq!(outcome("tree-1.0-py3-none-any.whl"), Some("new".into()), "{pulled:?}");
    assert_eq!(outcome("leaf-1.0-py3-none-any.whl"), Some("failed".into()), "{pulled:?}");
    for words in [["pull", "npm:x"], ["check", "gone.lock"], ["pull", "oci:"]] {
        site.run(&words).await.ends(2);
    }
}

#[tokio::test]
async fn locked_files_are_held_to_their_digests() {
    let upstreams = Upstreams::start().await;
    let site = Site::new(&upstreams.settings());
    let wrong = "0".repeat(64);
    site.write("requirements.txt", format!("leaf==1.0 --hash=sha256:{wrong}\n"));
    let lock = format!(
        "version = 1\n[[package]]\nname = \"tree\"\nversion = \"1.0\"\nsource = {{ registry = \"https://index.example/simple\" }}\nwheels = [{{ url = \"https://files.example/tree-1.0-py3-none-any.whl\", hash = \"sha256:{wrong}\" }}]\n"
    );
    site.write("uv.lock", lock);
    let pulled = site.run(&["pull", "requirements.txt", "uv.lock"]).await.ends(1);
    assert!(
        pulled.err.contains("failed: pypi:leaf==1.0: no file of it has a digest that is listed"),
        "{pulled:?}"
    );
    assert!(
        pulled
            .err
            .contains("failed: pypi:tree==1.0 tree-1.0-py3-none-any.whl: its digest is sha256:"),
        "{pulled:?}"
    );
    assert!(pulled.out.starts_with("0 new"), "{pulled:?}");
}

#[tokio::test]
async fn a_running_server_is_asked_in_the_same_words() {
    let upstreams = Upstreams::start().await;
    let mut site = Site::new(&upstreams.settings());
    let larder = Process::start(site.folder.path(), &upstreams.settings());
    site.listen = larder.base.trim_start_matches("http://").to_owned();
    let what = format!("hf:{}", stock::ID);
    site.run(&["check", &what]).await.ends(1);
    let words = ["pull", &what, "--include", "*.json", "--include", "*.gguf"];
    let pulled = site.run(&words).await.ends(0);
    assert!(pulled.out.starts_with("2 new"), "{pulled:?}");
    site.run(&["check", &what, "--include", "*.json"]).await.ends(0);
    let missing = site.run(&["check", &what]).await.ends(1);
    assert!(missing.out.contains("missing: hf:org/model@main model.safetensors: "), "{missing:?}");
    larder.kill();
}
