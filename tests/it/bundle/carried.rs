//! `larder export` here, `larder import` there: a site without any upstream answers as the first one did.

use std::fs;
use std::process::Stdio;

use crate::bundle::site::{Site, Upstreams};
use crate::huggingface::clients::{Sequence, Session, Wanted};
use crate::huggingface::stock;
use crate::oci::setting;
use crate::support::child::Process;
use crate::support::client::Client;
use crate::support::hub::{FakeHub, File, Kind, files};
use crate::support::larder::over_hub;
use crate::support::origin::Pattern;
use crate::support::registry::cosign::Signer;
use crate::support::team::Team;
use crate::support::wait::soon;

/// A site that has everything of the list, and its key in a file.
async fn furnished(upstreams: &Upstreams) -> Site {
    let site = Site::new(&upstreams.settings());
    site.write("list.toml", upstreams.list());
    site.run(&["pull", "list.toml"]).await.ends(0);
    let key = site.run(&["export", "--key"]).await.ends(0);
    site.write("office.key", &key.out);
    site
}

/// A site that never had an upstream, with the key of another.
fn elsewhere(upstreams: &Upstreams, office: &Site) -> Site {
    let site = Site::new(&upstreams.settings());
    fs::copy(office.path("office.key"), site.path("office.key")).expect("it can be copied");
    fs::copy(office.path("list.toml"), site.path("list.toml")).expect("it can be copied");
    site
}

/// A site without any upstream that took over everything of the list; by now nobody has one.
async fn carried(upstreams: &Upstreams) -> Site {
    let office = furnished(upstreams).await;
    let site = elsewhere(upstreams, &office);
    upstreams.vanish().await;
    office.run(&["export", "list.toml", "-o", "site.tar"]).await.ends(0);
    let bundle = office.path("site.tar").display().to_string();
    site.run(&["import", &bundle, "--trust", "office.key"]).await.ends(0);
    site
}

#[tokio::test]
async fn a_list_is_carried_to_a_site_without_any_upstream() {
    let upstreams = Upstreams::start().await;
    let office = furnished(&upstreams).await;
    let site = elsewhere(&upstreams, &office);
    let missing =
        office.run(&["export", "list.toml", "pypi:tree==0.9", "-o", "no.tar"]).await.ends(1);
    assert!(missing.err.contains("pypi:tree==0.9 tree-0.9-py3-none-any.whl"), "{missing:?}");
    assert!(!office.path("no.tar").exists() && !office.path("no.tar.part").exists());
    upstreams.vanish().await;
    office.run(&["export", "list.toml", "-o", "site.tar"]).await.ends(0);

    let bundle = office.path("site.tar").display().to_string();
    let stranger = site.run(&["import", &bundle]).await.ends(1);
    assert!(stranger.err.contains("is not trusted"), "{stranger:?}");
    let imported =
        site.run(&["import", &bundle, "--trust", "office.key", "--json"]).await.ends(0).json();
    assert!(imported["new"].as_u64() > Some(30) && imported["kept"] == 0, "{imported}");
    site.run(&["check", "list.toml"]).await.ends(0);
    let again =
        site.run(&["import", &bundle, "--trust", "office.key", "--json"]).await.ends(0).json();
    assert_eq!((&again["new"], &again["kept"]), (&0.into(), &imported["new"]), "{again}");

    let larder = Process::start(site.folder.path(), &upstreams.settings());
    for sequence in
        [Sequence::Siblings, Sequence::Tree, Sequence::Xet, Sequence::FirstByte, Sequence::LlamaCpp]
    {
        let wanted = Wanted {
            kind: Kind::Model,
            id: stock::ID.to_owned(),
            revision: "main".to_owned(),
            pointers: Default::default(),
        };
        let fetched = Session::new(&larder.base).run(sequence, &wanted).await;
        assert!(fetched.is_ok_and(|files| !files.is_empty()), "{sequence:?}");
    }
    let address = larder.url(&format!("/v2/{}/manifests/{}", setting::REPOSITORY, setting::TAG));
    let manifest = Client::new().get(address).send().await;
    assert_eq!(manifest.header("docker-content-digest"), upstreams.image.digest());
    larder.kill();
}

/// Signatures of both forms travel with the image, though no rule of the first site looks at them; and the second site, which has such a rule and no upstream,
/// verifies them.
#[tokio::test]
async fn signatures_are_carried_with_an_image_and_verified_there() {
    let upstreams = Upstreams::start().await;
    let (team, ci) = (Signer::new(), Signer::new());
    let (registry, image) = (&upstreams.registry, &upstreams.image);
    team.file(registry, setting::REPOSITORY, image.digest());
    ci.refer(registry, setting::REPOSITORY, &image.root);
    let site = carried(&upstreams).await;
    let client = Client::new();
    for (signer, status) in [(&team, 200), (&ci, 200), (&Signer::new(), 403)] {
        site.write(
            "policy.toml",
            "[[rule]]\nid = \"it\"\ndeny_if = { signed_by_not_in = \"key:it\" }\non_missing = \"deny\"\n",
        );
        let policy = format!("[policy]\nfile = {:?}\n", site.path("policy.toml"));
        let settings = format!("{}{policy}{}", upstreams.settings(), signer.known_as("it"));
        let larder = Process::start(site.folder.path(), &settings);
        let pulled = [setting::TAG, image.digest(), &image.children[0].digest];
        for reference in pulled {
            let address = format!("/v2/{}/manifests/{reference}", setting::REPOSITORY);
            let reply = client.get(larder.url(&address)).send().await;
            assert_eq!(reply.status, status, "{reference}: {reply:?}");
        }
        larder.kill();
    }
}

/// A model's signature travels as any of its files does, and a site without any upstream judges every file by it.
#[tokio::test]
async fn a_signed_model_is_carried_and_verified_there() {
    let upstreams = Upstreams::start().await;
    let team = Team::new();
    let mut model = stock::content();
    let signature = team.sign(&model, &["model.sig"]);
    model.insert("model.sig".to_owned(), File::plain(signature));
    upstreams.hub.model(stock::ID, model.clone());
    let site = carried(&upstreams).await;
    site.write(
        "policy.toml",
        "[[rule]]\nid = \"it\"\ndeny_if = { attestation_verified = false }\non_missing = \"hold\"\n",
    );
    let policy = format!("[policy]\nfile = {:?}\n", site.path("policy.toml"));
    for (team, status) in [(&team, 200), (&Team::new(), 403)] {
        let settings = format!("{}{policy}{}", upstreams.settings(), team.settings());
        let larder = Process::start(site.folder.path(), &settings);
        for path in model.keys() {
            let address = format!("/{}/resolve/main/{}", stock::ID, path.replace(' ', "%20"));
            let reply = Client::new().get(larder.url(&address)).send().await;
            assert_eq!(reply.status, status, "{path}: {reply:?}");
        }
        larder.kill();
    }
}

#[tokio::test]
async fn a_flipped_byte_is_refused_by_name() {
    let upstreams = Upstreams::start().await;
    let office = furnished(&upstreams).await;
    upstreams.vanish().await;
    office.run(&["export", "list.toml", "-o", "site.tar"]).await.ends(0);
    let mut bundle = fs::read(office.path("site.tar")).expect("it is there");
    let weights = upstreams.weights();
    let header = format!("blobs/sha256/{weights}");
    let at = bundle
        .windows(header.len())
        .position(|window| window == header.as_bytes())
        .expect("it is in there");
    bundle[at + 100_000] ^= 1;
    let site = elsewhere(&upstreams, &office);
    site.write("site.tar", &bundle);
    let refused = site.run(&["import", "site.tar", "--trust", "office.key"]).await.ends(1);
    assert!(
        refused.out.contains(&format!("refused: {header} is not what its name says")),
        "{refused:?}"
    );
    let missing = site.run(&["check", "list.toml", "--json"]).await.ends(1).json();
    let names: Vec<&str> = missing["missing"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["what"].as_str())
        .collect();
    assert_eq!(names, ["hf:org/model@main model.safetensors"]);

    // All but the end of it, then all of it.
    let whole = fs::read(office.path("site.tar")).expect("it is there");
    let site = elsewhere(&upstreams, &office);
    let end = whole.windows(8).rposition(|window| window == b"end.json").expect("an end");
    site.write("half.tar", &whole[..end - 1024]);
    site.write("site.tar", &whole);
    let half = site.run(&["import", "half.tar", "--trust", "office.key"]).await.ends(1);
    assert!(
        half.err.contains("it ends too early")
            && half.err.contains("entries were filed before, and stay"),
        "{half:?}"
    );
    let rest =
        site.run(&["import", "site.tar", "--trust", "office.key", "--json"]).await.ends(0).json();
    assert!(rest["kept"].as_u64() > Some(0) && rest["new"].as_u64() > Some(0), "{rest}");
    site.run(&["check", "list.toml"]).await.ends(0);
}

/// What Larder's own token opens is granted to everybody here, and still nothing for another site unless both sides say so.
#[tokio::test]
async fn what_is_not_public_goes_along_only_when_somebody_says_so() {
    const SECRET: &str = "org/secret";
    let hub = FakeHub::start().await;
    hub.user("office", "hf_office");
    let shown = files([
        ("config.json", File::plain("{}")),
        ("shown.bin", File::lfs(Pattern::new(5, 50_000))),
    ]);
    let hidden = files([
        ("config.json", File::plain("{\"x\":1}")),
        ("hidden.bin", File::lfs(Pattern::new(6, 50_000))),
    ]);
    let (public, secret) = (shown["shown.bin"].sha256.clone(), hidden["hidden.bin"].sha256.clone());
    hub.model(stock::ID, shown);
    hub.model(SECRET, hidden);
    hub.make_private(Kind::Model, SECRET, &["office"]);
    let place = || {
        let site = Site::new("");
        site.write("token", "hf_office");
        let token = site.path("token");
        let own = format!(
            "auth = \"service\"\ntoken_file = {:?}\ngrant = [\"*\"]\n",
            token.display().to_string()
        );
        site.write("settings.toml", over_hub(&hub, &own));
        site
    };
    let (office, site) = (place(), place());
    let (model, secret_model) = (format!("hf:{}", stock::ID), format!("hf:{SECRET}"));
    office.run(&["pull", &model, &secret_model]).await.ends(0);
    hub.refuse().await;
    site.write("office.key", office.run(&["export", "--key"]).await.ends(0).out);
    let refused = office.run(&["export", &secret_model, "-o", "no.tar"]).await.ends(1);
    assert!(refused.err.contains("is not open to everybody"), "{refused:?}");
    let holds = async |words: &[&str]| {
        office.run(&[&["export", "-o", "out.tar"], words].concat()).await.ends(0);
        let bundle = fs::read(office.path("out.tar")).expect("it is written");
        let has = |text: &str| bundle.windows(text.len()).any(|window| window == text.as_bytes());
        (has(&public), has(&secret), has("secret"))
    };
    // Asked with Larder's own token, the hub does not say what it would give to anybody: nothing of it counts as public.
    assert_eq!(holds(&["--all"]).await, (false, false, false));
    assert_eq!(holds(&["--all", "--audience", "service"]).await, (true, true, true));
    let bundle = office.path("out.tar").display().to_string();
    let words = ["import", &bundle, "--trust", "office.key"];
    let withheld = site.run(&words).await.ends(0);
    assert!(
        withheld.out.contains("not open to everybody (--audience service takes them)"),
        "{withheld:?}"
    );
    site.run(&["check", &model]).await.ends(1);
    site.run(&["check", &secret_model]).await.ends(1);
    site.run(&[&words[..], &["--audience", "service"]].concat()).await.ends(0);
    site.run(&["check", &model, &secret_model]).await.ends(0);
}

#[tokio::test]
async fn everything_goes_through_a_pipe_between_running_servers() {
    let upstreams = Upstreams::start().await;
    let mut office = furnished(&upstreams).await;
    upstreams.vanish().await;
    let mut site = elsewhere(&upstreams, &office);
    let servers = [&mut office, &mut site].map(|place| {
        let larder = Process::start(place.folder.path(), &upstreams.settings());
        place.listen = larder.base.trim_start_matches("http://").to_owned();
        larder
    });
    // Asked before: that it does not exist must not be believed once it is there.
    site.run(&["check", "list.toml"]).await.ends(1);
    let mut export = office
        .command(&["export", "--all"])
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the binary can be run");
    let out: Stdio = export.stdout.take().expect("it is piped").try_into().expect("a pipe");
    let mut import = site.command(&["import", "-", "--trust", "office.key"]);
    let import = import.stdin(out).output();
    let imported = soon("the pipe", import).await.expect("the binary can be run");
    assert!(imported.status.success(), "{imported:?}");
    assert!(soon("the export", export.wait()).await.expect("it ends").success());
    site.run(&["check", "list.toml"]).await.ends(0);
    servers.into_iter().for_each(Process::kill);
}
