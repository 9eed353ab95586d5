//! A repository that has one of everything, a Larder over its hub, and clients of both.

use crate::support::hub::{FakeHub, File, Files, Kind, files};
use crate::support::larder::{HUB_NAME, Larder, over_hub};
use crate::support::origin::Pattern;

use super::clients::{Fetched, Sequence, Session, Wanted};

pub const ID: &str = "org/model";

/// Large enough that its bytes leave before its digest is known.
pub const WEIGHTS: u64 = 2 << 20;

/// Files of every storage, names that need encoding, folders in folders.
pub fn content() -> Files {
    files([
        (".gitattributes", File::plain("*.safetensors filter=lfs\n")),
        ("config.json", File::plain(r#"{"model_type":"bert"}"#)),
        ("model.Q4_K_M.gguf", File::xet(Pattern::new(11, 300_001))),
        ("model.safetensors", File::xet(Pattern::new(12, WEIGHTS))),
        ("old/pytorch_model.bin", File::lfs(Pattern::new(13, 70_000))),
        ("sub dir/deep/a+b.txt", File::plain("a".repeat(3000))),
        ("vocabulary.txt", File::plain("word\n".repeat(900))),
    ])
}

/// What a forced push leaves in its place.
pub fn pushed() -> Files {
    files([
        ("config.json", File::plain(r#"{"model_type":"llama"}"#)),
        ("model.Q4_K_M.gguf", File::xet(Pattern::new(21, 100_000))),
        ("model.safetensors", File::lfs(Pattern::new(22, 1 << 20))),
    ])
}

/// A hub with the repository, and a Larder over it.
pub struct Stand {
    pub hub: FakeHub,
    pub larder: Larder,
    pub sha: String,
}

impl Stand {
    /// `more` belongs to `[huggingface]`.
    pub async fn new(more: &str) -> Self {
        Self::settled(more, |settings| settings).await
    }

    pub async fn settled(more: &str, settle: impl FnOnce(String) -> String) -> Self {
        let hub = FakeHub::start().await;
        let sha = hub.model(ID, content());
        let larder = Larder::start(&settle(over_hub(&hub, more))).await;
        Self { hub, larder, sha }
    }

    pub async fn restart(self) -> Self {
        Self { larder: self.larder.restart().await, ..self }
    }

    /// A new client of Larder. Those of the registry come by its own name.
    pub fn client(&self, sequence: Sequence) -> Session {
        let session = Session::new(&self.larder.url(""));
        if sequence == Sequence::Ollama { session.at_host(HUB_NAME) } else { session }
    }

    /// Waits until the tree and the information of the commit are kept: nobody has to have asked for them.
    pub async fn until_complete(&self) {
        for path in [
            format!("/api/models/{ID}/tree/{}?recursive=true", self.sha),
            format!("/api/models/{ID}"),
        ] {
            self.larder.until_kept(&path).await;
        }
    }

    /// Requests at all of the hub's hosts so far, and none of them remembered.
    pub fn asked(&self) -> Vec<String> {
        let journal = self.hub.journal();
        self.hub.forget();
        journal
    }
}

/// `main` of the repository, or a commit of it.
pub fn wanted(revision: &str, content: &Files) -> Wanted {
    let pointers = content
        .iter()
        .filter(|(_, file)| file.tag() == file.sha256)
        .map(|(path, file)| (path.clone(), (file.sha256.clone(), file.size)))
        .collect();
    Wanted { kind: Kind::Model, id: ID.to_owned(), revision: revision.to_owned(), pointers }
}

/// What a client must come back with. Of what Ollama gets only the model is the repository's own.
pub fn expected(sequence: Sequence, content: &Files) -> Fetched {
    let is_meant = |path: &str, is_large: bool| match sequence {
        Sequence::LlamaCpp | Sequence::Ollama => path.ends_with(".gguf"),
        Sequence::GitLfs => is_large,
        _ => true,
    };
    let name = |path: &String| match sequence {
        Sequence::Ollama => "application/vnd.ollama.image.model".to_owned(),
        _ => path.clone(),
    };
    content
        .iter()
        .filter(|(path, file)| is_meant(path, file.tag() == file.sha256))
        .map(|(path, file)| (name(path), file.sha256.clone()))
        .collect()
}

/// What is wrong with what a client came back with.
pub fn fault(sequence: Sequence, content: &Files, got: Result<Fetched, String>) -> Option<String> {
    match got {
        Err(reason) => Some(reason),
        Ok(mut fetched) => {
            let expected = expected(sequence, content);
            if sequence == Sequence::Ollama {
                fetched.retain(|name, _| expected.contains_key(name));
            }
            (fetched != expected).then(|| format!("got {fetched:?}"))
        }
    }
}
