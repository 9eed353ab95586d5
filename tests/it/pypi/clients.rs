//! Real clients install through Larder, and straight from the fake index, which shows that the fake is one.

use std::collections::BTreeSet;

use crate::support::index::{EVERY_STYLE, FakeIndex, Style, Upload};
use crate::support::installer::{EVERY_INSTALLER, Installer};
use crate::support::larder::Larder;
use crate::support::origin::Fault;

/// An index with a project that needs another, in an older and a newer release.
fn stock(index: &FakeIndex) {
    index.publish(
        "leaf",
        [Upload::wheel("leaf", "1.0"), Upload::wheel_for_python("leaf", "2.0", ">=3.99")],
    );
    index.publish(
        "tree",
        [
            Upload::wheel_with("tree", "0.9", &["leaf"]),
            Upload::wheel_with("tree", "1.0", &["leaf>=1"]),
        ],
    );
}

fn expected() -> BTreeSet<String> {
    BTreeSet::from(["leaf-1.0".to_owned(), "tree-1.0".to_owned()])
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn the_fake_index_is_one_to_real_clients() {
    for style in [Style::Full, Style::HeaderPoor, Style::HtmlOnly] {
        let index = FakeIndex::start(style).await;
        stock(&index);
        for installer in EVERY_INSTALLER {
            let installed = installer.install(&index.simple(), &["tree"]).await;
            assert!(installed.succeeded, "{installer:?}, {style:?}: {}", installed.said);
            assert_eq!(
                installed.packages,
                expected(),
                "{installer:?}, {style:?}: {}",
                installed.said
            );
        }
    }
}

#[tokio::test]
#[ignore = "needs the clients that tests/run installs"]
async fn real_clients_refuse_json_under_a_wrong_name() {
    let index = FakeIndex::start(Style::MislabelledJson).await;
    stock(&index);
    for installer in [Installer::Pip26, Installer::Uv] {
        let installed = installer.install(&index.simple(), &["tree"]).await;
        assert!(!installed.succeeded, "{installer:?}: {}", installed.said);
    }
}

/// Installs with empty caches, through Larder.
async fn install(installer: Installer, larder: &Larder, when: &str) {
    let installed = installer.install(&larder.url("/simple/"), &["tree"]).await;
    assert!(installed.succeeded, "{installer:?}, {when}: {}", installed.said);
    assert_eq!(installed.packages, expected(), "{installer:?}, {when}: {}", installed.said);
}

/// Cold, warm, and in every outage of pages and files.
async fn install_in_every_state(installer: Installer) {
    let index = FakeIndex::start(Style::Full).await;
    stock(&index);
    let larder = Larder::over(&index).await;
    install(installer, &larder, "cold").await;
    index.pages.forget();
    index.files.forget();
    install(installer, &larder, "warm").await;
    let asked: Vec<_> = index
        .pages
        .log()
        .iter()
        .chain(&index.files.log())
        .map(|logged| logged.path.clone())
        .collect();
    assert!(asked.is_empty(), "{installer:?}: {asked:?}");
    for (when, fault) in
        [("503", Fault::status(503)), ("404", Fault::status(404)), ("silent", Fault::Silence)]
    {
        larder.advance(3600);
        index.pages.fault("*", fault.clone());
        index.files.fault("*", fault);
        install(installer, &larder, when).await;
    }
    index.pages.refuse().await;
    index.files.refuse().await;
    larder.advance(3600);
    install(installer, &larder, "refused").await;
}

/// Whatever upstream speaks, every client understands Larder, and what one has fetched another installs offline. But for Poetry, which reads
/// the metadata of candidates that pip never looks at: it installs offline what it has fetched itself.
async fn install_in_every_style(installer: Installer) {
    for style in EVERY_STYLE {
        let index = FakeIndex::start(style).await;
        stock(&index);
        let larder = Larder::over(&index).await;
        let first = if installer == Installer::Poetry { installer } else { Installer::Pip26 };
        install(first, &larder, "cold").await;
        index.pages.refuse().await;
        index.files.refuse().await;
        larder.advance(3600);
        install(installer, &larder, "refused").await;
    }
}

macro_rules! clients {
    ($($name:ident: $installer:ident;)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test]
            #[ignore = "needs the clients that tests/run installs"]
            async fn installs_in_every_state() {
                install_in_every_state(Installer::$installer).await;
            }

            #[tokio::test]
            #[ignore = "needs the clients that tests/run installs"]
            async fn installs_from_every_style() {
                install_in_every_style(Installer::$installer).await;
            }
        })*
    };
}

clients! {
    pip_23: Pip23;
    pip_26: Pip26;
    pip_fast_deps: PipFastDeps;
    uv: Uv;
    poetry: Poetry;
}
