//! Targeted cache control (RFC 9213): `CDN-Cache-Control`, which speaks to shared caches alone and replaces `Cache-Control` and
//! `Expires` for them.
//!
//! The field is a structured dictionary. One that is empty, does not parse, or gives a known directive a value of the wrong type is
//! ignored whole, and `Cache-Control` rules again (section 2.1).

use http::HeaderMap;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::semantics::cache_control::{MOST_SECONDS, Reach, ResponseDirectives};

/// The target list of this cache (RFC 9213 section 2.2): one field.
const FIELD: &str = "cdn-cache-control";

/// What the targeted field says, when there is a usable one.
pub fn read(headers: &HeaderMap) -> Option<ResponseDirectives> {
    let mut values = headers.get_all(FIELD).iter().peekable();
    values.peek()?;
    let lines: Vec<&[u8]> = values.map(http::HeaderValue::as_bytes).collect();
    let dictionary = Parser::new(&lines.join(&b", "[..])).parse::<Dictionary>().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut directives = ResponseDirectives::default();
    for (name, value) in &dictionary {
        add(&mut directives, name.as_str(), value)?;
    }
    Some(directives)
}

/// `None`: the value has a type that the directive does not take.
fn add(directives: &mut ResponseDirectives, name: &str, value: &ListEntry) -> Option<()> {
    match name {
        "max-age" => directives.max_age = Some(seconds(value)?),
        "s-maxage" => directives.s_maxage = Some(seconds(value)?),
        "stale-while-revalidate" => directives.stale_while_revalidate = Some(seconds(value)?),
        "stale-if-error" => directives.stale_if_error = Some(seconds(value)?),
        "no-cache" => directives.no_cache = reach(value)?,
        "private" => directives.private = reach(value)?,
        "no-store" => directives.no_store = flag(value)?,
        "public" => directives.public = flag(value)?,
        "must-revalidate" => directives.must_revalidate = flag(value)?,
        "proxy-revalidate" => directives.proxy_revalidate = flag(value)?,
        "must-understand" => directives.must_understand = flag(value)?,
        "immutable" => directives.immutable = flag(value)?,
        _ => {}
    }
    Some(())
}

/// A negative number is as invalid as in `Cache-Control`: zero.
fn seconds(value: &ListEntry) -> Option<u64> {
    match value {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::Integer(number) => {
                Some(u64::try_from(i64::from(*number)).unwrap_or(0).min(MOST_SECONDS))
            }
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

fn flag(value: &ListEntry) -> Option<bool> {
    match value {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::Boolean(set) => Some(*set),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

fn reach(value: &ListEntry) -> Option<Reach> {
    if let Some(set) = flag(value) {
        return Some(if set { Reach::Everything } else { Reach::Nothing });
    }
    match value {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::String(list) => Some(Reach::of_fields(list.as_str().split(','))),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: Option<ResponseDirectives>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FIELD, line.parse().expect("a field value"));
        }
        assert_eq!(read(&headers), expected, "{lines:?}");
    }

    #[test]
    fn what_is_no_dictionary_is_ignored() {
        for broken in [
            "",
            "max-age=10000, &&&&&",
            "max-age=\"10000\"",
            "max-age=1.5",
            "max-age = 100",
            "max-age= 100",
            "MaX-aGe=3600",
            "no-store=1",
            "private=(\"a\")",
        ] {
            check(&[broken], None);
        }
        check(&[], None);
    }

    #[test]
    fn directives_are_read_by_type() {
        let none = ResponseDirectives::default();
        check(&["max-age=60"], Some(ResponseDirectives { max_age: Some(60), ..none.clone() }));
        check(
            &["max-age=1, max-age=99999999999;x=y"],
            Some(ResponseDirectives { max_age: Some(MOST_SECONDS), ..none.clone() }),
        );
        check(&["max-age=-5"], Some(ResponseDirectives { max_age: Some(0), ..none.clone() }));
        check(&["foo"], Some(none.clone()));
        check(
            &["no-store", "private=\"set-cookie\", no-cache=?0"],
            Some(ResponseDirectives {
                no_store: true,
                private: Reach::Fields(vec![http::header::SET_COOKIE]),
                ..none
            }),
        );
    }
}
