//! An image, and whatever else a registry holds under a name: manifests down to blobs, and what refers to them (signatures, bills of materials).

use std::collections::{BTreeSet, VecDeque};

use crate::bundle::walk::{Item, Walked};
use crate::bundle::{Door, DoorError};
use crate::collect::image::{Part, Parts};
use crate::collect::{Image, Want, What};
use crate::ecosystem::oci::registry::MANIFEST_TYPES;
use crate::types::{BlobId, Digest};

/// Most manifests behind one name.
const MOST_MANIFESTS: usize = 10_000;

/// How signatures, attestations and bills of materials were filed before registries could list what refers to a manifest.
const FILED: [&str; 3] = ["sig", "att", "sbom"];

/// What is known of an image so far.
struct Climb<'a> {
    door: &'a dyn Door,
    want: &'a Want,
    image: &'a Image,
    seen: BTreeSet<String>,
    next: VecDeque<Next>,
    items: Vec<Item>,
    notes: Vec<String>,
}

/// A manifest that is still to be read.
struct Next {
    part: Part,
    /// What it refers to, where it only belongs to something: the image is whole without it.
    about: Option<Digest>,
}

pub(super) async fn walk(door: &dyn Door, want: &Want, image: &Image) -> Result<Walked, DoorError> {
    let answer = door.read(&manifest(image, &image.reference), Some(MANIFEST_TYPES)).await?;
    let named = answer.text("docker-content-digest").and_then(|digest| digest.parse().ok());
    let root: Digest = named.unwrap_or_else(|| BlobId::of(&answer.body).digest());
    let mut climb = Climb {
        door,
        want,
        image,
        seen: BTreeSet::new(),
        next: VecDeque::new(),
        items: Vec::new(),
        notes: Vec::new(),
    };
    let part = Part { digest: root, size: Some(answer.body.len() as u64) };
    climb.seen.insert(root.to_string());
    climb.add("manifest", part, answer.is_fetched());
    climb.read(&answer.body)?;
    climb.refer(root).await;
    while let Some(Next { part, about }) = climb.next.pop_front() {
        if climb.seen.len() > MOST_MANIFESTS {
            return Err(DoorError::Failed(format!(
                "it leads to more than {MOST_MANIFESTS} manifests"
            )));
        }
        let address = manifest(image, &part.digest.to_string());
        let answer = door.read(&address, Some(MANIFEST_TYPES)).await;
        let answer = answer.map_err(|error| error.about(&format!("manifest {}", part.digest)));
        let answer = match (answer, about) {
            (Ok(answer), _) => answer,
            (Err(error), None) => return Err(error),
            (Err(error), Some(about)) => {
                climb.notes.push(format!("{}: without what refers to {about}: {error}", want.what));
                continue;
            }
        };
        climb.add("manifest", part, answer.is_fetched());
        climb.read(&answer.body)?;
        climb.refer(part.digest).await;
    }
    let exact = What::Image(image.at(&root.to_string()));
    Ok(Walked {
        want: want.clone(),
        exact,
        items: climb.items,
        further: Vec::new(),
        notes: climb.notes,
    })
}

impl Climb<'_> {
    fn add(&mut self, kind: &str, part: Part, fetched: bool) {
        let Part { digest, size } = part;
        let is_manifest = kind == "manifest";
        let name = &self.image.name;
        self.items.push(Item {
            of: self.want.what.to_string(),
            name: format!("{kind} {digest}"),
            address: if is_manifest {
                manifest(self.image, &digest.to_string())
            } else {
                format!("v2/{name}/blobs/{digest}")
            },
            accept: is_manifest.then_some(MANIFEST_TYPES),
            digests: vec![digest],
            size,
            locked: None,
            fetched,
        });
    }

    fn read(&mut self, body: &[u8]) -> Result<(), DoorError> {
        let parts = Parts::read(body).map_err(DoorError::Failed)?;
        for part in parts.wanted(&self.want.platforms) {
            self.follow(part, None);
        }
        for part in parts.blobs {
            if self.seen.insert(part.digest.to_string()) {
                self.add("blob", part, false);
            }
        }
        Ok(())
    }

    fn follow(&mut self, part: Part, about: Option<Digest>) {
        if self.seen.insert(part.digest.to_string()) {
            self.next.push_back(Next { part, about });
        }
    }

    /// What refers to a manifest. Most have nothing that does, and many registries do not say: neither is a fault.
    async fn refer(&mut self, digest: Digest) {
        let name = &self.image.name;
        let listed = self.door.read(&format!("v2/{name}/referrers/{digest}"), None).await;
        if let Ok(parts) =
            listed.map_or_else(|_| Ok(Parts::default()), |answer| Parts::read(&answer.body))
        {
            parts.wanted(&[]).into_iter().for_each(|part| self.follow(part, Some(digest)));
        }
        for suffix in FILED {
            let tag = format!("{}.{suffix}", digest.to_string().replace(':', "-"));
            let filed = self.door.read(&manifest(self.image, &tag), Some(MANIFEST_TYPES)).await;
            if let Ok(answer) = filed {
                let filed = BlobId::of(&answer.body).digest();
                let part = Part { digest: filed, size: Some(answer.body.len() as u64) };
                self.follow(part, Some(digest));
            }
        }
    }
}

fn manifest(image: &Image, reference: &str) -> String {
    format!("v2/{}/manifests/{reference}", image.name)
}

impl DoorError {
    /// The same, said of a part of what was asked for.
    fn about(self, part: &str) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(format!("{part}: {why}")),
            Self::Missing(why) => Self::Missing(format!("{part}: {why}")),
            Self::Failed(why) => Self::Failed(format!("{part}: {why}")),
            Self::Mismatch(why) => Self::Mismatch(format!("{part}: {why}")),
        }
    }
}
