//! A Python package: its project's page, the files of the version that is meant, and what that requires.

use crate::bundle::walk::{Item, Walked};
use crate::bundle::{Answer, Door, DoorError};
use crate::collect::page::{Page, PageFile, legacy_requirements, requirements};
use crate::collect::requirement::{Environment, Requirement};
use crate::collect::{Dependencies, Package, Want, What};

/// The form of a page that all of this reads.
const PAGE: &str = "application/vnd.pypi.simple.v1+json";

pub(super) async fn walk(
    door: &dyn Door,
    want: &Want,
    package: &Package,
) -> Result<Walked, DoorError> {
    let root = package.index_root();
    let place = format!("{root}simple/{}/", package.name);
    let page = door.read(&place, Some(PAGE)).await?;
    let page = Page::read(&page.body).map_err(DoorError::Failed)?;
    let version = page.choose(package, want.python.as_deref()).ok_or_else(|| {
        let python =
            want.python.as_ref().map_or_else(String::new, |python| format!(" for Python {python}"));
        DoorError::Missing(format!("no file of such a version{python} is listed"))
    })?;
    let files: Vec<&PageFile> = page.files_of(&package.name, &version, &want.platforms).collect();
    let mut items = Vec::new();
    for file in &files {
        let elsewhere = || {
            DoorError::Failed(format!("{} is at {}, which is not here", file.filename, file.url))
        };
        let address = door.below(&place, &file.url).ok_or_else(elsewhere)?;
        let item = Item {
            of: want.what.to_string(),
            name: file.filename.clone(),
            address,
            accept: None,
            digests: file.digests(),
            size: file.size,
            locked: None,
            fetched: false,
        };
        if file.has_metadata() {
            let (name, address) =
                (format!("{}.metadata", item.name), format!("{}.metadata", item.address));
            items.push(Item { name, address, digests: Vec::new(), size: None, ..item.clone() });
        }
        items.push(item);
    }
    let mut notes = Vec::new();
    if files.is_empty() {
        notes.push(format!(
            "{} {version} has no file for the platforms that are wanted",
            package.name
        ));
    }
    let further = match want.dependencies {
        Dependencies::Listed => Vec::new(),
        Dependencies::Followed => {
            let (required, faults) =
                required(door, package, &version.to_string(), &mut items).await;
            notes.extend(
                faults.into_iter().map(|fault| format!("{} {version}: {fault}", package.name)),
            );
            let environment =
                Environment { extras: &package.extras, python: want.python.as_deref() };
            let applying = required.into_iter().filter(|one| one.may_apply(&environment));
            applying
                .filter(|one| one.address.is_none())
                .map(|one| Package { index: package.index.clone(), ..one.package() })
                .collect()
        }
    };
    let exact = Package { allowed: format!("=={version}"), ..package.clone() };
    Ok(Walked { want: want.clone(), exact: What::Package(exact), items, further, notes })
}

/// What a version requires: from the metadata beside one of its files, else from what the index's older API says.
async fn required(
    door: &dyn Door,
    package: &Package,
    version: &str,
    items: &mut [Item],
) -> (Vec<Requirement>, Vec<String>) {
    let beside = items.iter_mut().find(|item| item.name.ends_with(".whl.metadata"));
    if let Some(item) = beside
        && let Ok(answer) = door.read(&item.address, None).await
    {
        item.fetched = answer.is_fetched();
        return requirements(&text(&answer));
    }
    let older = format!("{}pypi/{}/{version}/json", package.index_root(), package.name);
    match door.read(&older, None).await {
        Ok(answer) => legacy_requirements(&answer.body),
        Err(error) => (Vec::new(), vec![format!("what it requires is not known: {error}")]),
    }
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}
