//! `larder lock` and `larder rewrite-lock`.

use std::fs;

use crate::bundle::site::{Site, Upstreams};
use crate::huggingface::stock;
use crate::support::hub::{File, Kind, files};
use crate::support::index::Upload;

#[tokio::test]
async fn what_is_locked_stays_what_it_was() {
    let upstreams = Upstreams::start().await;
    let site = Site::new(&upstreams.settings());
    site.write("list.toml", upstreams.list());
    site.run(&["lock", "pypi:nothing==1", "-o", "no.lock"]).await.ends(1);
    assert!(!site.path("no.lock").exists());
    // Whose digest is told is not fetched for that.
    let locked = site.run(&["lock", "pypi:leaf==1.0", "-o", "leaf.lock"]).await.ends(0);
    let text = fs::read_to_string(site.path("leaf.lock")).expect("it is written");
    assert!(text.contains("name = \"leaf-1.0-py3-none-any.whl\""), "{text} {locked:?}");
    let leaf = Upload::wheel("leaf", "1.0");
    assert_eq!(upstreams.index.files.sent(&leaf.path), 0);
    let locked = site.run(&["lock", "list.toml"]).await.ends(0);
    let text = fs::read_to_string(site.path("larder.lock")).expect("it is written");
    assert!(text.contains(&format!("exact = \"hf:org/model@{}\"", upstreams.sha)), "{text}");
    assert!(
        text.contains(&format!("exact = \"oci:library/demo@{}\"", upstreams.image.digest())),
        "{text}"
    );
    assert!(
        text.contains("exact = \"pypi:leaf==1.0\"") && !text.contains("gitsha1:"),
        "{text} {locked:?}"
    );
    for file in stock::content().values() {
        assert!(text.contains(&format!("sha256:{}", file.sha256)), "{}", file.sha256);
    }
    // The branch moves; what was locked is had all the same.
    upstreams.hub.commit(
        Kind::Model,
        stock::ID,
        "main",
        files([("config.json", File::plain("{}"))]),
    );
    site.run(&["pull", "larder.lock"]).await.ends(0);
    upstreams.vanish().await;
    site.run(&["check", "larder.lock"]).await.ends(0);
    // Somebody writes another digest into it, of a file whose list does not name that kind and of one whose list does.
    let config = &stock::content()["config.json"].sha256;
    for digest in [config, &stock::content()["model.safetensors"].sha256] {
        let other = format!("{}{}", if digest.starts_with('0') { '1' } else { '0' }, &digest[1..]);
        site.write("larder.lock", text.replace(digest, &other));
        let refused = site.run(&["pull", "larder.lock"]).await.ends(1);
        assert!(refused.err.contains(&other), "{refused:?}");
    }
}

#[tokio::test]
async fn lock_files_are_pointed_here_and_back() {
    let settings = "[huggingface]\nupstream = \"\"\n[pypi.indexes.default]\nupstream = \"https://index.example/simple/\"\n";
    let site = Site::new(settings);
    let text = "[[package]]\nname = \"six\"\nversion = \"1\"\nsource = { registry = \"https://index.example/simple\" } # ours\nwheels = [{ url = \"https://files.example/six-1-py3-none-any.whl\" }]\n";
    site.write("uv.lock", text);
    let read = || fs::read_to_string(site.path("uv.lock")).expect("it is there");
    let there =
        site.run(&["rewrite-lock", "uv.lock", "--to", "https://larder.example/"]).await.ends(0);
    assert_eq!(there.out, "uv.lock: 2 addresses changed\n");
    assert_eq!(
        read(),
        text.replace("https://index.example/simple", "https://larder.example/simple").replace(
            "https://files.example/",
            "https://larder.example/pypi/default/files/files.example/"
        )
    );
    site.run(&["rewrite-lock", "uv.lock", "--back", "--from", "https://larder.example"])
        .await
        .ends(0);
    assert_eq!(read(), text);
    site.run(&["rewrite-lock", "uv.lock"]).await.ends(0);
    assert!(read().contains("http://127.0.0.1:1/simple"), "{}", read());
    for words in [
        &["rewrite-lock"][..],
        &["rewrite-lock", "gone.lock"],
        &["rewrite-lock", "uv.lock", "--to", "x", "--back"],
    ] {
        site.run(words).await.ends(2);
    }
}
