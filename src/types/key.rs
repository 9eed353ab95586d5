//! The name under which something is kept: a space, an audience and a name within the space.
//!
//! A key cannot be built without an [`Audience`], so that nothing kept for one reader is found for another by mistake.

use std::fmt;
use std::sync::Arc;

/// Who may be answered from an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Upstream gives it to anybody.
    Public,
    /// Fetched with the credential that the configuration gives the mount; read by those whom the mount's grant names.
    Service,
    /// Fetched with a client's own credential; read only by who presents it again. The number is a keyed hash of it.
    Credential([u8; 16]),
}

impl Audience {
    fn encode(&self) -> String {
        match self {
            Self::Public => "p".to_owned(),
            Self::Service => "s".to_owned(),
            Self::Credential(id) => format!("c{}", hex::encode(id)),
        }
    }

    /// Reads what [`Audience::encode`] wrote.
    fn decode(text: &str) -> Option<Self> {
        match text {
            "p" => Some(Self::Public),
            "s" => Some(Self::Service),
            _ => {
                let mut id = [0; 16];
                hex::decode_to_slice(text.strip_prefix('c')?, &mut id).ok()?;
                Some(Self::Credential(id))
            }
        }
    }
}

/// A cache key. Cheap to clone; compared by its whole text, never by a hash alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(Arc<str>);

/// Parts the fields of an encoded key; no part may contain it, and no URL or registry name can.
const SEPARATOR: char = '\u{1f}';

impl CacheKey {
    /// Builds a key. `space` names the mount (`pypi/default`), `name` the thing within it (`page/six`).
    /// A separator inside a part is replaced, so that parts cannot run into each other.
    pub fn new(space: &str, audience: &Audience, name: &str) -> Self {
        let text = format!(
            "{}{SEPARATOR}{}{SEPARATOR}{}",
            space.replace(SEPARATOR, "%1F"),
            audience.encode(),
            name.replace(SEPARATOR, "%1F"),
        );
        Self(text.into())
    }

    /// Reads a key back from the bytes that [`CacheKey::as_str`] gave.
    pub fn from_encoded(text: &str) -> Option<Self> {
        (text.matches(SEPARATOR).count() >= 2).then(|| Self(text.into()))
    }

    /// The same thing in another selected representation (RFC 9111 section 4.1): a key beside this one.
    #[must_use]
    pub fn variant(&self, selector: &str) -> Self {
        Self(format!("{}{SEPARATOR}{}", self.0, selector.replace(SEPARATOR, "%1F")).into())
    }

    /// Another thing in the same space, for the same audience.
    #[must_use]
    pub fn sibling(&self, name: &str) -> Self {
        let name = name.replace(SEPARATOR, "%1F");
        Self(format!("{}{SEPARATOR}{}{SEPARATOR}{name}", self.part(0), self.part(1)).into())
    }

    /// The encoded form: stable, ordered by space, audience, name; part of the disk format.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn space(&self) -> &str {
        self.part(0)
    }

    pub fn name(&self) -> &str {
        self.part(2)
    }

    /// What makes it another representation of the same thing, if it is one ([`CacheKey::variant`]).
    pub fn selector(&self) -> Option<&str> {
        self.0.split(SEPARATOR).nth(3)
    }

    pub fn is_public(&self) -> bool {
        self.part(1) == "p"
    }

    /// Whether it is one client's own.
    pub fn is_credentials(&self) -> bool {
        self.part(1).starts_with('c')
    }

    /// Who may be answered from what is kept under it. `None`: no key of this program's making.
    pub fn audience(&self) -> Option<Audience> {
        Audience::decode(self.part(1))
    }

    /// A text that every key of a space begins with, and no other.
    pub fn start_of_space(space: &str) -> String {
        format!("{}{SEPARATOR}", space.replace(SEPARATOR, "%1F"))
    }

    /// Comes after every key that begins as this one does, and before all others that come after it: where to go on when all of those are to be passed
    /// over.
    #[must_use]
    pub fn behind(&self) -> Self {
        Self(format!("{}{}", self.0, char::MAX).into())
    }

    /// The same for all keys of this one's space and audience.
    #[must_use]
    pub fn behind_audience(&self) -> Self {
        Self(format!("{}{SEPARATOR}{}{SEPARATOR}{}", self.part(0), self.part(1), char::MAX).into())
    }

    fn part(&self, index: usize) -> &str {
        self.0.split(SEPARATOR).nth(index).unwrap_or_default()
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.replace(SEPARATOR, " "))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_and_spaces_never_share_a_key() {
        let keys = [
            CacheKey::new("a", &Audience::Public, "x"),
            CacheKey::new("a", &Audience::Service, "x"),
            CacheKey::new("a", &Audience::Credential([7; 16]), "x"),
            CacheKey::new("b", &Audience::Public, "x"),
            CacheKey::new("a\u{1f}p", &Audience::Public, "x"),
            CacheKey::new("a", &Audience::Public, "x\u{1f}p"),
            CacheKey::new("a", &Audience::Public, "x").variant("p"),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{key} is met twice");
            assert_eq!(CacheKey::from_encoded(key.as_str()).as_ref(), Some(key));
        }
    }

    #[test]
    fn audiences_are_read_back() {
        for audience in [Audience::Public, Audience::Service, Audience::Credential([7; 16])] {
            let key = CacheKey::new("a", &audience, "x");
            assert_eq!(key.audience(), Some(audience));
            assert!(key.behind() > key.variant("y") && key.behind_audience() > key.behind());
            assert!(key.as_str().starts_with(&CacheKey::start_of_space("a")));
        }
        let odd = CacheKey::from_encoded("a\u{1f}c12\u{1f}x").expect("two separators");
        assert_eq!(odd.audience(), None);
        assert_eq!((odd.selector(), odd.variant("v").selector()), (None, Some("v")));
    }

    #[test]
    fn parts_are_read_back() {
        let key = CacheKey::new("pypi/default", &Audience::Public, "page/six");
        assert_eq!((key.space(), key.name(), key.is_public()), ("pypi/default", "page/six", true));
        let sibling = CacheKey::new("pypi/default", &Audience::Public, "page/seven");
        assert_eq!(key.variant("x").sibling("page/seven"), sibling);
    }
}
