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

/// The addresses of files of a package that no installer misses: it takes a source archive only where no wheel runs, and on each platform that is
/// wanted (on every one, if none is named) a wheel is kept that does. Another wheel that is listed is missed: it may be the one that an installer prefers.
pub(super) fn spared<'a>(
    walked: &'a Walked,
    is_kept: &dyn Fn(&Item) -> bool,
) -> impl Iterator<Item = &'a str> {
    let is_wheel = |item: &&Item| item.name.ends_with(".whl");
    let wheels = walked.items.iter().filter(is_wheel).filter(|item| is_kept(item));
    let wheels: Vec<&str> =
        wheels.map(|item| item.name.as_str()).filter(|name| is_for_python_3(name)).collect();
    let platforms = &walked.want.platforms;
    let is_enough = match platforms.is_empty() {
        true => wheels.iter().any(|name| name.ends_with("-any.whl")),
        false => platforms.iter().all(|one| wheels.iter().any(|name| one.takes(name))),
    };
    let is_spared =
        |item: &&Item| !is_wheel(item) && !item.name.ends_with(".whl.metadata") && !is_kept(item);
    let spared: Vec<&Item> = match is_enough {
        true => walked.items.iter().filter(is_spared).collect(),
        false => Vec::new(),
    };
    spared.into_iter().map(|item| item.address.as_str())
}

/// Whether a wheel is for another Python than Python 2, by its name (PEP 425).
fn is_for_python_3(wheel: &str) -> bool {
    let tags = wheel.rsplit('-').nth(2).unwrap_or_default();
    tags.split('.').any(|tag| !tag.starts_with("py2") && !tag.starts_with("cp2"))
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::Platform;

    /// A source archive was called missing where every installer takes the wheel that is kept.
    #[test]
    fn source_archives_are_spared_where_a_wheel_that_is_kept_will_do() {
        let check = |platforms: &[&str], kept: &[&str], listed: &[&str], expected: &[&str]| {
            let what: What = "pypi:p==1".parse().expect("a name");
            let platforms = platforms.iter().map(|text| text.parse::<Platform>());
            let platforms = platforms.collect::<Result<_, _>>().expect("platforms");
            let item = |name: &&str| Item {
                of: what.to_string(),
                name: (*name).to_owned(),
                address: (*name).to_owned(),
                accept: None,
                digests: Vec::new(),
                size: None,
                locked: None,
                fetched: false,
            };
            let walked = Walked {
                want: Want { platforms, ..Want::all_of(what.clone()) },
                exact: what.clone(),
                items: kept.iter().chain(listed).map(item).collect(),
                further: Vec::new(),
                notes: Vec::new(),
            };
            let is_kept = |item: &Item| kept.contains(&item.name.as_str());
            let names: Vec<&str> = spared(&walked, &is_kept).collect();
            assert_eq!(names, expected, "{kept:?} {listed:?}");
        };
        let (any, source) = ("p-1-py2.py3-none-any.whl", "p-1.tar.gz");
        let (old, linux) = ("p-1-py2-none-any.whl", "p-1-cp312-cp312-manylinux_2_28_x86_64.whl");
        check(&[], &[any], &[source, "p-1.zip"], &[source, "p-1.zip"]);
        check(&[], &[any, source], &[], &[]);
        check(&[], &[], &[any, source], &[]);
        check(&[], &[old], &[source], &[]);
        check(&[], &[linux], &[source], &[]);
        check(&["linux/amd64"], &[linux], &[source], &[source]);
        check(&["linux/amd64"], &[any], &[linux, source], &[source]);
        check(&["linux/amd64", "linux/arm64"], &[linux], &[source], &[]);
    }
}
