//! The fake hub's Xet: files as framed parts of signed addresses.

use super::{WEIGHTS, get, stocked, weights};
use crate::support::client::Client;
use crate::support::hub::{FakeHub, File};

/// What the chunks of a part hold.
fn unpacked(mut chunks: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [0, a, b, c, scheme, d, e, f, rest @ ..] = chunks {
        let (sent, rest) = rest.split_at(u32::from_le_bytes([*a, *b, *c, 0]) as usize);
        let mut plain = Vec::new();
        match scheme {
            0 => plain.extend_from_slice(sent),
            _ => {
                let mut decoder = lz4_flex::frame::FrameDecoder::new(sent);
                std::io::Read::read_to_end(&mut decoder, &mut plain).expect("a frame");
            }
        }
        if *scheme == 2 {
            let quarter = |group: usize| (plain.len() + 3 - group) / 4;
            let starts = [0, quarter(0), quarter(0) + quarter(1), plain.len() - quarter(3)];
            plain = (0..plain.len()).map(|at| plain[starts[at % 4] + at / 4]).collect();
        }
        assert_eq!(plain.len(), u32::from_le_bytes([*d, *e, *f, 0]) as usize);
        bytes.extend(plain);
        chunks = rest;
    }
    assert!(chunks.is_empty());
    bytes
}

/// Puts a file together from what Xet's service says of it.
async fn reassembled(hub: &FakeHub, path: &str, range: Option<&str>) -> Vec<u8> {
    let client = Client::new();
    let token = get(hub, path).await;
    let told = token.json();
    assert_eq!(told["accessToken"].as_str(), Some(token.header("x-xet-access-token")));
    let hash = File::xet(weights()).xet.clone();
    let version = if range.is_some() { "v2" } else { "v1" };
    let url =
        format!("{}/{version}/reconstructions/{hash}", told["casUrl"].as_str().unwrap_or_default());
    let mut ask = client
        .get(url)
        .with("authorization", &format!("Bearer {}", token.header("x-xet-access-token")));
    if let Some(range) = range {
        ask = ask.with("range", range);
    }
    let reply = ask.send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let told = reply.json();
    let mut bytes = Vec::new();
    for term in told["terms"].as_array().into_iter().flatten() {
        let xorb = term["hash"].as_str().unwrap_or_default();
        let (list, chunks) = match range {
            None => (&told["fetch_info"][xorb], "/range"),
            Some(_) => (&told["xorbs"][xorb], "/ranges/0/chunks"),
        };
        let fetches = list.as_array().expect("a list");
        let fetch = fetches.iter().find(|fetch| fetch.pointer(chunks) == Some(&term["range"]));
        let fetch = fetch.unwrap_or_else(|| panic!("{term} is not to be fetched: {list}"));
        let (url, place) =
            (&fetch["url"], fetch.get("url_range").unwrap_or_else(|| &fetch["ranges"][0]["bytes"]));
        let range = format!("bytes={}-{}", place["start"], place["end"]);
        let part = client.get(url.as_str().unwrap_or_default()).with("range", &range).send().await;
        assert_eq!(part.status, 206, "{part:?}");
        bytes.extend(unpacked(&part.body));
    }
    let skipped = told["offset_into_first_range"].as_u64().unwrap_or_default() as usize;
    bytes.split_off(skipped)
}

#[tokio::test]
async fn xet_gives_the_file_in_framed_parts() {
    let (hub, sha) = stocked().await;
    let path = format!("/api/models/org/model/xet-read-token/{sha}");
    let whole = reassembled(&hub, &path, None).await;
    assert!(whole.len() as u64 == WEIGHTS && weights().matches(0, &whole));
    let part = reassembled(&hub, &path, Some("bytes=100000-150000")).await;
    assert!(part.len() > 50_000 && weights().matches(100_000, &part));
    hub.switch(|switches| switches.compressed_xorbs = true);
    for range in [None, Some("bytes=0-199999")] {
        let whole = reassembled(&hub, &path, range).await;
        assert!(whole.len() as u64 == WEIGHTS && weights().matches(0, &whole), "{range:?}");
    }
    hub.switch(|switches| switches.compressed_xorbs = false);
    let hash = File::xet(weights()).xet.clone();
    let token = get(&hub, &path).await.header("x-xet-access-token").to_owned();
    let ask = async |version: &str, token: &str, range: &str| {
        let url = hub.cas.url(&format!("/{version}/reconstructions/{hash}"));
        let ask = Client::new().get(url).with("authorization", &format!("Bearer {token}"));
        ask.with("range", range).send().await.status.as_u16()
    };
    assert_eq!(ask("v2", &token, "bytes=200000-").await, 416);
    assert_eq!(ask("v2", "xet_forged_9999999999", "bytes=0-").await, 401);
    hub.switch(|switches| switches.first_xet_only = true);
    assert_eq!(
        (ask("v2", &token, "bytes=0-").await, ask("v1", &token, "bytes=0-").await),
        (404, 200)
    );
    hub.advance(3601);
    assert_eq!(ask("v1", &token, "bytes=0-").await, 401);
}
