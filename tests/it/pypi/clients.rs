//! Real clients install through Larder, and straight from the fake index, which shows that the fake is one.

use std::collections::BTreeSet;

use crate::support::index::{FakeIndex, Style, Upload};
use crate::support::installer::{EVERY_INSTALLER, Installer};

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
