//! Requests beside the seven sequences: the datasets' viewer, Ollama's library, older llama.cpp, git, and Xet by way of a file's head.

use http::Method;

use super::clients::{Sequence, Session, Wanted};
use super::stock::{ID, Stand, content, fault, wanted};
use crate::support::client::Reply;
use crate::support::hub::{FakeHub, File, Files, Kind, LibraryModel, World, files};
use crate::support::larder::{HUB_NAME, Larder, over_hub};
use crate::support::origin::Pattern;

/// The client of the datasets puts a label before the endpoint's host.
async fn viewer(larder: &Larder, path: &str) -> Reply {
    let host = format!("datasets-server.{}", larder.address);
    larder.client.get(larder.url(path)).with("host", &host).send().await
}

#[tokio::test]
async fn what_is_known_of_a_dataset_is_kept_with_it() {
    let hub = FakeHub::start().await;
    let shards = || files([("default/train/0000.parquet", File::xet("PAR1"))]);
    let sha = hub.dataset("org/data", shards());
    hub.commit(Kind::Dataset, "org/data", "refs/convert/parquet", shards());
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let paths =
        ["/parquet?dataset=org/data", "/info?dataset=org%2Fdata", "/splits?dataset=org/data"];
    for path in paths {
        let reply = viewer(&larder, path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("x-revision")),
            (200, sha.as_str()),
            "{path}"
        );
        assert!(!reply.text().contains(&hub.endpoint()), "{path}: {}", reply.text());
    }
    let parquet = viewer(&larder, paths[0]).await.json();
    let url = parquet["parquet_files"][0]["url"].as_str().unwrap_or_default().to_owned();
    assert!(url.starts_with(&larder.url("/datasets/org/data/resolve/")), "{url}");
    assert_eq!(larder.client.get(&url).send().await.text(), "PAR1");
    hub.turn(World::Refused, Kind::Dataset, "org/data", Files::new()).await;
    larder.advance(3600);
    for path in paths {
        let reply = viewer(&larder, path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("x-revision")),
            (200, sha.as_str()),
            "{path}"
        );
    }
    assert_eq!(larder.client.get(&url).send().await.text(), "PAR1");
}

#[tokio::test]
async fn models_of_the_library_are_kept() {
    let hub = FakeHub::start().await;
    let file = File::lfs(Pattern::new(31, 250_000));
    let (name, tag) = ("tiny".to_owned(), "latest".to_owned());
    hub.shelve(LibraryModel { name, tag, file: file.clone() });
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let tiny = Wanted {
        kind: Kind::Model,
        id: "library/tiny".to_owned(),
        revision: "main".to_owned(),
        pointers: std::collections::BTreeMap::new(),
    };
    for world in [World::Up, World::Unavailable, World::Refused] {
        hub.heal();
        hub.turn(world, Kind::Model, ID, Files::new()).await;
        larder.advance(3600);
        let session = Session::new(&larder.url("")).at_host(HUB_NAME);
        let got = session.run(Sequence::Ollama, &tiny).await;
        let got = got.unwrap_or_else(|told| panic!("{world:?}: {told}"));
        assert_eq!(got["application/vnd.ollama.image.model"], file.sha256, "{world:?}");
    }
}

/// Older llama.cpp reads a manifest that is written for it alone.
#[tokio::test]
async fn manifests_are_kept_for_each_of_their_readers() {
    let stand = Stand::new("").await;
    let manifest = async |agent: &str| {
        let ask = stand.larder.client.get(stand.larder.url("/v2/org/model/manifests/Q4_K_M"));
        ask.with("host", HUB_NAME).with("user-agent", agent).send().await
    };
    for world in [World::Up, World::Refused] {
        stand.hub.turn(world, Kind::Model, ID, Files::new()).await;
        stand.larder.advance(3600);
        let ollama = manifest("ollama/0.13.0 (amd64 linux) Go/go1.24.1").await;
        assert_eq!(ollama.status, 200, "{world:?}: {ollama:?}");
        assert!(ollama.json()["ggufFile"].is_null(), "{world:?}");
        let llama = manifest("llama-cpp").await.json();
        assert_eq!(llama["ggufFile"]["rfilename"], "model.Q4_K_M.gguf", "{world:?}");
    }
}

#[tokio::test]
async fn git_is_passed_through_with_its_own_credentials() {
    let hub = FakeHub::start().await;
    hub.user("alice", "hf_alice");
    let sha = hub.model(ID, content());
    hub.make_private(Kind::Model, ID, &["alice"]);
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let refs = larder.url("/org/model.git/info/refs?service=git-upload-pack");
    let refused = larder.client.get(&refs).send().await;
    assert_eq!(refused.status, 401, "{refused:?}");
    let asks: Vec<_> = refused.headers.get_all("www-authenticate").iter().collect();
    assert!(asks.iter().any(|value| value.as_bytes().starts_with(b"Basic")), "{asks:?}");
    // alice:hf_alice
    let basic = "Basic YWxpY2U6aGZfYWxpY2U=";
    let answered = larder.client.get(&refs).with("authorization", basic).send().await;
    assert!(answered.text().contains(&sha), "{answered:?}");
    let pack = larder.client.ask(Method::POST, larder.url("/org/model.git/git-upload-pack"));
    let pack = pack
        .with("authorization", basic)
        .with("content-type", "application/x-git-upload-pack-request")
        .body("0032want")
        .send()
        .await;
    assert!(pack.text().contains("PACK"), "{pack:?}");
    let again = larder.client.get(&refs).send().await;
    assert_eq!(again.status, 401, "what one may see is kept for nobody: {again:?}");
}

/// huggingface_hub 0.36 with Xet: the head of a file leads to the token and to the hash.
#[tokio::test]
async fn the_head_of_a_file_leads_to_xet() {
    let stand = Stand::new("").await;
    let weights = content()["model.safetensors"].clone();
    let ask =
        stand.larder.client.head(stand.larder.url("/org/model/resolve/main/model.safetensors"));
    let head = ask.with("accept-encoding", "identity").send().await;
    assert_eq!((head.status.as_u16(), head.header("x-repo-commit")), (200, stand.sha.as_str()));
    assert_eq!(head.header("x-xet-hash"), weights.xet);
    assert_eq!(head.header("x-linked-etag"), format!("\"{}\"", weights.sha256));
    assert_eq!(head.header("x-linked-size"), weights.size.to_string());
    assert_eq!(head.header("content-length"), weights.size.to_string());
    assert_eq!(head.header("accept-ranges"), "bytes");
    let link = |rel: &str| {
        let links: Vec<&str> = head.header("link").split(',').collect();
        let found = links.iter().find(|part| part.contains(&format!("rel=\"{rel}\"")));
        let url = found.and_then(|part| part.split('<').nth(1)?.split('>').next());
        url.map(str::to_owned).unwrap_or_else(|| panic!("no {rel} in {links:?}"))
    };
    let (token, info) = (link("xet-auth"), link("xet-reconstruction-info"));
    for url in [&token, &info] {
        assert!(url.starts_with(&stand.larder.url("/")), "{url}");
    }
    let token = stand.larder.client.get(&token).send().await;
    assert_eq!(token.status, 200, "{token:?}");
    let bearer = format!("Bearer {}", token.header("x-xet-access-token"));
    let told = stand.larder.client.get(&info).with("authorization", &bearer).send().await;
    assert_eq!(told.status, 200, "{told:?}");
    assert!(!told.text().contains("127.0.0.2") && !told.text().contains("127.0.0.3"));
    let small = stand.larder.client.head(stand.larder.url("/org/model/resolve/main/config.json"));
    let small = small.send().await;
    assert_eq!(small.header("etag"), format!("\"{}\"", content()["config.json"].oid));
    assert_eq!(small.header("x-xet-hash"), "");
}

/// Files without a byte, in git and beside it. hf-hub 0.x asks for the first byte of a file and gives up where there is none.
#[tokio::test]
async fn an_empty_file_is_a_file() {
    let empty = || {
        files([
            ("__init__.py", File::plain("")),
            ("config.json", File::plain("{}")),
            ("nothing.bin", File::lfs("")),
        ])
    };
    let hub = FakeHub::start().await;
    hub.model(ID, empty());
    let larder = Larder::start(&over_hub(&hub, "")).await;
    let main = wanted("main", &empty());
    for outage in [false, true] {
        if outage {
            hub.refuse().await;
            larder.advance(3600);
        }
        for sequence in [Sequence::Siblings, Sequence::Tree, Sequence::Xet, Sequence::GitLfs] {
            let got = Session::new(&larder.url("")).run(sequence, &main).await;
            assert_eq!(fault(sequence, &empty(), got), None, "{sequence:?}, outage {outage}");
        }
        let part = larder.client.get(larder.url("/org/model/resolve/main/nothing.bin"));
        let part = part.with("range", "bytes=0-0").send().await;
        assert_eq!(part.status, 416, "{part:?}");
        assert_eq!(part.header("content-range"), "bytes */0");
    }
}
