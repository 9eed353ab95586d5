//! Keeping by hand over a store in memory, in the words of a mount that exists here only.

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listing::Query;
use super::removal::{Removal, Removed};
use super::*;
use crate::cache::witness::Notebook;
use crate::cache::{Config, Seams};
use crate::ecosystem::naming::{Name, Onward, Part, Role, Shelf, Wanted, page_of};
use crate::store::lost::Loss;
use crate::store::memory::{Fault, MemoryStore};
use crate::store::{Change, Entry, Stored, conformance};
use crate::types::{Audience, CacheKey, Timestamp, What};
use crate::upstream::scripted::Scripted;

const SPACE: &str = "books";

/// Editions are things: `edition/BOOK@NUMBER` lists the chapters, whose texts are shared by all editions; `name/BOOK@NAME` leads to an edition.
#[derive(Debug)]
struct Books;

impl Naming for Books {
    fn scheme(&self) -> &'static str {
        "book"
    }

    fn space(&self) -> &str {
        SPACE
    }

    fn name_of(&self, key: &CacheKey) -> Option<Name> {
        let (_, rest) = key.name().split_once('/')?;
        Some(Name::of_group("book", rest))
    }

    fn read(&self, text: &str) -> Result<Option<Wanted>, Misnamed> {
        let (group, version) = match text.split_once('@') {
            Some((group, version)) => (group, Some(version.to_owned())),
            None => (text, None),
        };
        match group.is_empty() {
            true => Err(Misnamed("a book has a name".to_owned())),
            false => Ok(Some(Wanted { group: group.to_owned(), version })),
        }
    }

    fn groups(
        &self,
        shelf: &Shelf<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Unreadable> {
        let mut found = std::collections::BTreeSet::new();
        shelf.each("edition/", None, |key| {
            let rest = &key.name()["edition/".len()..];
            found.extend(rest.split_once('@').map(|(group, _)| group.to_owned()));
            Ok(Onward::Next)
        })?;
        Ok(page_of(found, after, limit))
    }

    fn things(&self, shelf: &Shelf<'_>, group: &str) -> Result<Vec<Thing>, Unreadable> {
        let text = |key: &CacheKey| {
            let body = shelf.contents.body(key)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&body).into_owned())
        };
        let mut things = Vec::new();
        for key in shelf.keys(&format!("edition/{group}@"))? {
            let identity = key.name().split_once('@').map_or("", |(_, rest)| rest).to_owned();
            let mut versions = Vec::new();
            for name in shelf.keys(&format!("name/{group}@"))? {
                if text(&name)? == identity {
                    versions.extend(name.name().split_once('@').map(|(_, rest)| rest.to_owned()));
                }
            }
            let best = versions.first().cloned().unwrap_or_else(|| identity.clone());
            let name = Name::of_group("book", group).version("@", &best);
            let group = group.to_owned();
            things.push(Thing { group, name, kind: "edition", versions, identity });
        }
        Ok(things)
    }

    fn parts(
        &self,
        shelf: &Shelf<'_>,
        thing: &Thing,
        visit: &mut dyn FnMut(Part),
    ) -> Result<(), Unreadable> {
        for version in &thing.versions {
            let key = shelf.key(&format!("name/{}@{version}", thing.group));
            visit(Part::own(key, Role::Reference, version));
        }
        let edition = format!("edition/{}@{}", thing.group, thing.identity);
        visit(Part::own(shelf.key(&edition), Role::Manifest, "chapters"));
        let chapters = shelf.body(&edition)?.unwrap_or_default();
        for chapter in String::from_utf8_lossy(&chapters).split_whitespace() {
            visit(Part::shared(chapter_key(chapter), Role::Content, chapter));
        }
        Ok(())
    }

    fn about(
        &self,
        shelf: &Shelf<'_>,
        group: &str,
        visit: &mut dyn FnMut(CacheKey),
    ) -> Result<(), Unreadable> {
        let name = format!("book/{group}");
        if shelf.holds(&name)? {
            visit(shelf.key(&name));
        }
        Ok(())
    }
}

fn chapter_key(chapter: &str) -> CacheKey {
    CacheKey::new(SPACE, &Audience::Public, &format!("chapter/{chapter}"))
}

/// Length of a chapter's text: too long for the index.
const CHAPTER_BYTES: u64 = 20_000;

struct Bench {
    store: MemoryStore,
    keeper: Keeper,
    notebook: Notebook,
}

impl Bench {
    fn new() -> Self {
        let store = MemoryStore::new();
        let clock = Clock::manual(Timestamp::from_secs(1_700_000_000));
        let seams = Seams {
            store: Arc::new(store.clone()),
            upstream: Arc::new(Scripted::new()),
            witness: Arc::new(Notebook::default()),
            clock: clock.clone(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let cache = Cache::new(Config::default(), seams);
        let notebook = Notebook::default();
        let told: Arc<dyn Witness> = Arc::new(notebook.clone());
        let words: Vec<Arc<dyn Naming>> = vec![Arc::new(Books)];
        let keeper = Keeper::new(Arc::new(store.clone()), cache, words, told, clock);
        Self { store, keeper, notebook }
    }

    async fn put(&self, audience: &Audience, name: &str, text: &str) {
        let body = Stored::Inline(Bytes::copy_from_slice(text.as_bytes()));
        let entry = Arc::new(Entry { body, ..conformance::entry() });
        let key = CacheKey::new(SPACE, audience, name);
        self.store.commit(vec![Change::Put { key, entry }]).await.expect("it takes writes");
    }

    async fn chapter(&self, chapter: &str) {
        let length = usize::try_from(CHAPTER_BYTES).expect("a small number");
        let text = chapter.repeat(length).into_bytes()[..length].to_vec();
        let blob = conformance::seal(&self.store, &text);
        let entry = Arc::new(conformance::entry_of(blob, CHAPTER_BYTES));
        let put = Change::Put { key: chapter_key(chapter), entry };
        self.store.commit(vec![put]).await.expect("it takes writes");
    }

    /// Two editions of one book that have a chapter in common, the second under two names; one edition of another book that somebody alone may read.
    async fn stocked() -> Self {
        let bench = Self::new();
        let public = Audience::Public;
        bench.put(&public, "edition/ants@1111111", "a b").await;
        bench.put(&public, "edition/ants@2222222", "b c").await;
        bench.put(&public, "name/ants@first", "1111111").await;
        bench.put(&public, "name/ants@second", "2222222").await;
        bench.put(&public, "name/ants@latest", "2222222").await;
        bench.put(&public, "book/ants", "of ants").await;
        bench.put(&Audience::Credential([1; 16]), "edition/diary@3333333", "c d").await;
        for chapter in ["a", "b", "c"] {
            bench.chapter(chapter).await;
        }
        bench
    }

    async fn names(&self, prefix: &str, sight: Sight) -> Vec<String> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let prefix = prefix.to_owned();
            let page = self.keeper.list(Query { prefix, after, limit: 1, sight }).await;
            let page = page.expect("it can be listed");
            found.extend(page.entries.into_iter().map(|item| item.name));
            match page.next {
                Some(next) => after = Some(next),
                None => return found,
            }
        }
    }

    async fn remove(&self, name: &str, how: Removal) -> Result<Removed, String> {
        self.keeper.remove(name.to_owned(), how, None).await.map_err(|error| error.to_string())
    }

    /// What was told since the last look.
    fn told(&self) -> Vec<String> {
        let told = |event: crate::types::Event| {
            let What { kind, subject, detail, .. } = event.what;
            format!("{kind} {subject} {}", detail.unwrap_or_default())
        };
        self.notebook.take().into_iter().map(told).collect()
    }

    fn holds(&self, key: &CacheKey) -> bool {
        self.store.get(key).expect("it can be read").is_some()
    }

    fn is_pinned(&self, chapter: &str) -> bool {
        self.store.is_pinned(&chapter_key(chapter)).expect("it can be read")
    }
}

#[tokio::test]
async fn what_is_kept_is_listed_page_by_page_and_to_each_what_they_may_see() {
    let bench = Bench::stocked().await;
    let all = ["book:diary@3333333", "book:ants@first", "book:ants@latest"];
    assert_eq!(bench.names("", Sight::Everything).await, all);
    assert_eq!(bench.names("", Sight::Public).await, all[1..]);
    assert_eq!(bench.names("book:ants@f", Sight::Public).await, all[1..2]);
    assert_eq!(bench.names("ants@second", Sight::Public).await, all[2..], "by another name of it");
    let sight = Sight::Everything;
    let nobodys = Query { prefix: "other:".to_owned(), after: None, limit: 1, sight };
    assert!(matches!(bench.keeper.list(nobodys).await, Err(KeepError::Misnamed(_))));
    let wrong = Query { prefix: String::new(), after: Some("?".to_owned()), limit: 1, sight };
    assert!(matches!(bench.keeper.list(wrong).await, Err(KeepError::Cursor)));
}

#[tokio::test]
async fn a_thing_is_shown_with_what_is_kept_of_it_and_what_is_not() {
    let bench = Bench::stocked().await;
    let show = async |name: &str, sight| bench.keeper.show(name.to_owned(), sight).await;
    let shown = show("book:ants@2222222", Sight::Public).await.expect("it is kept");
    let [shown] = &shown.things[..] else { panic!("one thing: {shown:?}") };
    let item = &shown.item;
    assert_eq!(
        (item.name.as_str(), &item.also[..]),
        ("book:ants@latest", &["second".to_owned()][..])
    );
    assert_eq!((item.files, item.kept_files, item.kept_bytes), (2, 2, 2 * CHAPTER_BYTES));
    assert_eq!(
        (item.audience.as_str(), item.presence.as_str(), item.pinned),
        ("public", "gone", false)
    );
    assert_eq!(item.first_kept.as_deref(), Some("1970-01-01T00:16:40.001Z"));
    let roles: Vec<&str> = shown.parts.iter().map(|part| part.role.as_str()).collect();
    assert_eq!(roles, ["reference", "reference", "manifest", "content", "content"]);

    assert_eq!(show("book:ants", Sight::Public).await.expect("all of it").things.len(), 2);
    let diary = show("book:diary@3333333", Sight::Everything).await.expect("it is kept");
    let item = &diary.things[0].item;
    assert_eq!((item.audience.as_str(), item.files, item.kept_files), ("client", 2, 1));
    assert!(matches!(show("book:diary", Sight::Public).await, Err(KeepError::Nothing(_))));
    assert!(matches!(show("book:", Sight::Public).await, Err(KeepError::Misnamed(_))));
    let unknown = show("film:ants", Sight::Public).await.expect_err("no such scheme");
    assert_eq!(unknown.to_string(), "\"film:ants\" names nothing here: write book:NAME");
}

#[tokio::test]
async fn what_others_share_stays_and_the_rest_is_freed() {
    let bench = Bench::stocked().await;
    let dry = Removal { dry_run: true, force: false };
    let planned = bench.remove("book:ants@first", dry).await.expect("it is kept");
    let expected = Removed {
        dry_run: true,
        names: vec!["book:ants@first".to_owned()],
        // Its name, its list of chapters, and the chapter that only it has.
        entries: 3,
        bytes: CHAPTER_BYTES + 7 + 3,
        shared: 1,
    };
    assert_eq!(planned, expected);
    assert!(bench.holds(&chapter_key("a")), "nothing has changed");

    let done = bench.remove("book:ants@first", Removal::default()).await.expect("it is kept");
    assert_eq!(done, Removed { dry_run: false, ..expected });
    let left = ["a", "b", "c"].map(|chapter| bench.holds(&chapter_key(chapter)));
    assert_eq!((left, bench.store.usage().blobs), ([false, true, true], 2));
    let again = bench.remove("book:ants@first", Removal::default()).await;
    assert_eq!(again, Err("nothing is kept of book:ants@first".to_owned()));

    // What somebody else may read is made up of a chapter, too.
    let rest = bench.remove("book:ants", Removal::default()).await.expect("it is kept");
    assert_eq!((rest.names, rest.shared), (vec!["book:ants@latest".to_owned()], 1));
    let left = ["b", "c"].map(|chapter| bench.holds(&chapter_key(chapter)));
    assert_eq!(left, [false, true]);
    assert!(!bench.holds(&CacheKey::new(SPACE, &Audience::Public, "book/ants")));
    assert_eq!(bench.names("", Sight::Everything).await, ["book:diary@3333333"]);
}

#[tokio::test]
async fn one_of_several_names_goes_alone() {
    let bench = Bench::stocked().await;
    let removed = bench.remove("book:ants@second", Removal::default()).await.expect("a name");
    assert_eq!((removed.entries, removed.shared), (1, 0));
    assert_eq!(bench.names("book:ants@l", Sight::Public).await, ["book:ants@latest"]);
    assert!(bench.holds(&chapter_key("c")));
}

#[tokio::test]
async fn pins_protect_until_the_last_of_them_ends() {
    let bench = Bench::stocked().await;
    let by = Some("ops".to_owned());
    let pinned = bench.keeper.pin("book:ants@first".to_owned(), by.clone()).await.expect("kept");
    assert_eq!((pinned.entries, pinned.things[0].pinned), (5, true));
    bench.keeper.pin("book:ants@second".to_owned(), None).await.expect("kept");
    let pins = bench.keeper.pins(Sight::Public).await.expect("it can be read").pins;
    let told: Vec<_> = pins.iter().map(|pin| (pin.name.as_str(), pin.by.clone())).collect();
    assert_eq!(told, [("book:ants@first", by), ("book:ants@latest", None)]);

    let refused = bench.remove("book:ants@first", Removal::default()).await;
    assert!(refused.is_err_and(|reason| reason.contains("is pinned")));
    let unpinned =
        bench.keeper.unpin("book:ants@1111111".to_owned(), Some("ops")).await.expect("pinned");
    assert_eq!(unpinned.entries, 3, "the name, the list and the first chapter");
    let told = [
        "pinned book:ants@first by ops",
        "pinned book:ants@latest ",
        "unpinned book:ants@first by ops",
    ];
    assert_eq!(bench.told(), told);
    assert_eq!(["a", "b", "c"].map(|chapter| bench.is_pinned(chapter)), [false, true, true]);
    assert!(matches!(
        bench.keeper.unpin("book:ants@first".to_owned(), None).await,
        Err(KeepError::NotPinned(_))
    ));
    // The chapter in common is pinned for the other edition and stays anyway.
    bench.remove("book:ants@first", Removal::default()).await.expect("no longer pinned");
    let told = bench.told();
    assert!(told.len() == 1 && told[0].starts_with("removed book:ants@first "), "{told:?}");

    let force = Removal { dry_run: false, force: true };
    bench.remove("book:ants", force).await.expect("insisted on");
    assert!(bench.keeper.pins(Sight::Everything).await.expect("it can be read").pins.is_empty());
}

#[tokio::test]
async fn pins_are_renewed_for_what_has_come_since() {
    let bench = Bench::stocked().await;
    bench.keeper.pin("book:diary".to_owned(), None).await.expect("kept");
    assert!(bench.keeper.pins(Sight::Public).await.expect("it can be read").pins.is_empty());
    bench.chapter("d").await;
    assert!(!bench.is_pinned("d"));
    let orphan = conformance::seal(&bench.store, &[9; 100]);
    let tidied = bench.keeper.tidy(Tidy::default(), None).await.expect("it takes writes");
    assert_eq!((tidied.orphans.count, tidied.orphans.bytes), (1, 100));
    let told = bench.told().pop().expect("it is told");
    assert!(told.starts_with("collected larder:store 1 orphans (100 bytes), "), "{told}");
    assert!(bench.store.open(orphan).expect("it can be read").is_none());
    assert!(bench.is_pinned("d") && bench.is_pinned("c") && !bench.is_pinned("a"));
}

#[tokio::test]
async fn a_store_that_refuses_is_told() {
    let bench = Bench::stocked().await;
    bench.store.suffer(Fault::Refusing);
    let removed = bench.keeper.remove("book:ants".to_owned(), Removal::default(), None).await;
    assert!(matches!(removed, Err(KeepError::Store(StoreError::Refusing))));
    assert_eq!(bench.names("book:ants", Sight::Public).await.len(), 2);
    assert!(bench.keeper.pin("book:ants".to_owned(), None).await.is_err());
}

#[test]
fn the_document_of_the_api_describes_every_operation() {
    use crate::admin::api::entries::Entries;
    use crate::admin::api::fills::Fills;
    use crate::admin::api::{OPENAPI, Resource};
    let bench = Bench::new();
    let resources: [Box<dyn Resource>; 2] =
        [Box::new(Entries(bench.keeper.clone())), Box::new(Fills(bench.keeper))];
    let document: serde_json::Value = serde_json::from_str(OPENAPI).expect("JSON");
    for operation in resources.iter().flat_map(|resource| resource.operations()) {
        let path = format!("/{}", operation.path.as_str().replace("...}", "}"));
        let method = operation.method.as_str().to_ascii_lowercase();
        let told = &document["paths"][&path][&method];
        assert_eq!(told["operationId"], operation.id, "{method} {path}");
        let braces = operation.path.as_str().matches('{').count();
        let named = told["parameters"]
            .as_array()
            .map_or(0, |all| all.iter().filter(|parameter| parameter["in"] == "path").count());
        assert_eq!(named, braces, "{method} {path}");
    }
}

/// It used to come back: what is damaged is fetched again, and its note outlived it.
#[tokio::test]
async fn what_was_lost_to_damage_does_not_come_back_once_it_is_removed() {
    let bench = Bench::stocked().await;
    let lost = ["a", "b"].map(|chapter| Loss::new(&chapter_key(chapter), None, 1, "digest"));
    let gone = ["a", "b"].map(|chapter| Change::Remove { key: chapter_key(chapter) });
    let changes = lost.iter().map(Loss::note).chain(gone).collect();
    bench.store.commit(changes).await.expect("it takes writes");
    bench.remove("book:ants@first", Removal::default()).await.expect("it can be removed");
    let left = Loss::scan(&bench.store, None, 9).expect("it can be read");
    assert_eq!(left, lost[1..], "the other edition has that chapter, too");
}
