//! Random upstreams and random readers: bytes are right, or the body is cut. Nothing else ever happens.

use futures_util::future::join_all;
use proptest::prelude::*;

use super::*;
use crate::store::memory::Fault;
use crate::upstream::scripted::Reply;

/// How one answer of upstream fares.
#[derive(Debug, Clone)]
struct Weather {
    chunk: usize,
    cut: Option<usize>,
    status: u16,
    ranges: bool,
}

/// One case: a file, how upstream answers in order, and who reads what of it.
#[derive(Debug, Clone)]
struct Case {
    size: usize,
    promised: Option<bool>,
    framed: bool,
    weather: Vec<Weather>,
    readers: Vec<Option<(usize, usize)>>,
    full_after: Option<usize>,
}

fn weather() -> impl Strategy<Value = Weather> {
    let status = prop_oneof![8 => Just(200_u16), 1 => Just(503_u16)];
    let cut = prop_oneof![1 => Just(None), 2 => (0..3 * MIB).prop_map(Some)];
    (1_000..400_000_usize, cut, status, any::<bool>())
        .prop_map(|(chunk, cut, status, ranges)| Weather { chunk, cut, status, ranges })
}

fn case() -> impl Strategy<Value = Case> {
    let size = prop_oneof![1..70_000_usize, MIB - 10..MIB + 10, 1..12 * MIB];
    size.prop_flat_map(|size| {
        let reader = prop_oneof![
            Just(None),
            (0..size, 1..size + 1).prop_map(|(start, length)| Some((start, length)))
        ];
        (
            prop_oneof![Just(None), Just(Some(true)), Just(Some(true)), Just(Some(false))],
            prop_oneof![4 => Just(true), 1 => Just(false)],
            proptest::collection::vec(weather(), 1..6),
            proptest::collection::vec(reader, 1..6),
            prop_oneof![3 => Just(None), 1 => (0..4_usize).prop_map(Some)],
        )
            .prop_map(move |(promised, framed, weather, readers, full_after)| Case {
                size,
                promised,
                framed,
                weather,
                readers,
                full_after,
            })
    })
}

async fn run(case: Case) {
    let bench = Bench::new();
    let bytes = content(case.size, 1);
    for weather in &case.weather {
        let file = if weather.ranges {
            Reply::file(bytes.clone(), "\"v1\"")
        } else {
            Reply::new(StatusCode::OK).header("etag", "\"v1\"").body(bytes.clone())
        };
        let mut reply = match weather.status {
            200 => file.chunks_of(weather.chunk),
            _ => Reply::new(StatusCode::SERVICE_UNAVAILABLE),
        };
        if let Some(cut) = weather.cut {
            reply = reply.cut_after(cut);
        }
        if !case.framed {
            reply = reply.without_length();
        }
        bench.upstream.once(FILE, reply);
    }
    bench.upstream.always(FILE, Reply::file(bytes.clone(), "\"v1\"").chunks_of(50_000));
    let asked = match case.promised {
        None => trusted(),
        Some(true) => promised(&bytes),
        Some(false) => promised(b"something else"),
    };
    let readers = case.readers.iter().enumerate().map(|(index, range)| {
        let (bench, asked, bytes) = (&bench, &asked, &bytes);
        async move {
            if case.full_after == Some(index) {
                bench.store.suffer(Fault::Full);
            }
            let Ok(found) = bench.get(asked).await else { return };
            let range = range
                .filter(|_| !bench.status(&found).contains("detail"))
                .filter(|_| found.source.len().is_some())
                .map(|(start, length)| start..(start + length).min(bytes.len()));
            let expected = &bytes[range.clone().unwrap_or(0..bytes.len())];
            let range = range.map(|range| range.start as u64..range.end as u64);
            let (seen, fault) = drain(found.source.body(range.clone())).await;
            assert!(expected.starts_with(&seen), "wrong bytes");
            assert!(fault.is_some() || seen.len() == expected.len(), "a clean end before the end");
            if case.promised == Some(false) && range.is_none() {
                assert!(fault.is_some(), "a wrong body was completed");
            }
        }
    });
    join_all(readers).await;
    bench.settled().await;
    if let Some(entry) = bench.entry(&asked) {
        assert!(case.promised != Some(false), "a wrong body was kept");
        assert_eq!(entry.body.len(), bytes.len() as u64);
        let found = bench.get(&asked).await.expect("kept");
        assert!(whole(found.source.body(None)).await == bytes);
    }
}

#[test]
fn bytes_are_right_or_the_body_is_cut() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime")
    };
    proptest!(ProptestConfig::with_cases(60), |(case in case())| {
        runtime().block_on(run(case));
    });
}
