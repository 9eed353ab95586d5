//! What is in artifacts: what may do harm reaches nobody whole, from wherever it comes, and what is harmless is not held up.

use super::*;
use crate::cache::lookup::Stock;
use crate::inspect::{self, Format, Rules, Summary, samples};
use crate::semantics::range::Spec;
use crate::store::memory::Fault;
use crate::types::ByteSize;
use crate::upstream::scripted::{Gate, Reply};

fn rules(config: &inspect::Config) -> Option<Arc<Rules>> {
    Rules::new(config).expect("good settings").map(Arc::new)
}

/// A cache that looks into what passes.
fn watchful() -> Bench {
    on(MemoryStore::new(), &inspect::Config::default())
}

fn on(store: MemoryStore, config: &inspect::Config) -> Bench {
    let mut bench = Bench::on(store, Config::default());
    bench.cache = bench.cache.inspecting(rules(config));
    bench
}

fn evil() -> Vec<u8> {
    samples::calls("os", "system")
}

/// A container of more than 3 MiB whose last member would run a command.
fn late_evil() -> Bytes {
    let mut members: Vec<_> = vec![samples::Member::new("m/data.pkl", samples::state_dict(3))];
    let data = |name: &str, length| samples::Member::new(name, samples::noise(length, 1));
    members.extend([data("m/data/0", MIB), data("m/data/1", 2 * MIB)]);
    members.push(samples::Member::new("m/extra.pkl", evil()));
    samples::zip(&members).into()
}

fn is_unsafe<T: std::fmt::Debug>(outcome: &Result<T, Failure>) -> bool {
    matches!(outcome, Err(Failure::Unsafe { reason }) if reason.contains("os.system"))
}

#[tokio::test(start_paused = true)]
async fn what_does_harm_is_refused_and_remembered() {
    for (name, file) in samples::malicious() {
        for chunk in [file.len(), 100] {
            let bench = watchful();
            let asked = promised(&file);
            let reply = Reply::file(file.clone(), "\"v1\"").chunks_of(chunk);
            bench.upstream.always(FILE, reply);
            for _ in 0..2 {
                let outcome = bench.get(&asked).await;
                assert!(matches!(outcome, Err(Failure::Unsafe { .. })), "{name}: {outcome:?}");
                bench.settled().await;
                assert!(bench.entry(&asked).is_none(), "{name} is kept");
            }
            assert_eq!(bench.upstream.count(FILE), 1, "{name}: known by its digest");
            assert!(bench.head(&asked).await.is_err(), "{name}: known to be refused");
            let later = on(bench.store.clone(), &inspect::Config::default());
            let outcome = later.get(&asked).await;
            assert!(matches!(outcome, Err(Failure::Unsafe { .. })), "{name}: {outcome:?}");
            assert_eq!(later.upstream.count(FILE), 0, "{name}: known after a restart");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_libraries_write_is_kept_and_served() {
    for (name, file) in samples::honest() {
        let bench = watchful();
        let (file, asked) = (Bytes::from(file.clone()), promised(&file));
        bench.upstream.always(FILE, Reply::file(file.clone(), "\"v1\"").chunks_of(333));
        for _ in 0..3 {
            let found = bench.get(&asked).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(whole(found.source.body(None)).await == file, "{name}");
            bench.settled().await;
        }
        assert_eq!(bench.upstream.count(FILE), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_found_late_cuts_readers_before_the_end() {
    let (file, bench) = (late_evil(), watchful());
    for asked in [promised(&file), trusted()] {
        bench.upstream.always(FILE, Reply::file(file.clone(), "\"v1\"").chunks_of(50_000));
        let found = bench.get(&asked).await.expect("nothing is known yet");
        let (bytes, fault) = drain(found.source.body(None)).await;
        assert!(matches!(fault, Some(BodyFault::Cut(Failure::Unsafe { .. }))), "{fault:?}");
        assert!(bytes.len() + (60 << 10) < file.len(), "{} of {}", bytes.len(), file.len());
        assert_eq!(bytes, file[..bytes.len()]);
        bench.settled().await;
        assert!(bench.entry(&asked).is_none());
    }
    assert!(is_unsafe(&bench.get(&promised(&file)).await), "a retry is refused at once");
    assert_eq!(bench.upstream.count(FILE), 2);
}

#[tokio::test(start_paused = true)]
async fn ranges_wait_for_the_verdict() {
    let (file, bench) = (late_evil(), watchful());
    let asked = promised(&file);
    let gate = Gate::new();
    let reply = Reply::file(file.clone(), "\"v1\"").chunks_of(50_000);
    bench.upstream.once(FILE, reply.clone().pause_at(2 * MIB, &gate));
    bench.upstream.always(FILE, reply);
    let found = bench.get(&asked).await.expect("nothing is known yet");
    let total = file.len() as u64;
    let mut ahead = found.source.body(Some(total - 1000..total - 900));
    let mut behind = found.source.body(Some(10..2000));
    assert_eq!(read_some(&mut behind, 1990).await, file[10..2000]);
    let waits = tokio::time::timeout(Duration::from_secs(60), ahead.frame()).await;
    assert!(waits.is_err(), "bytes ahead are seen before the verdict");
    gate.open();
    let (bytes, fault) = drain(ahead).await;
    assert!(bytes.is_empty() && fault.is_some(), "{} bytes, {fault:?}", bytes.len());
}

#[tokio::test(start_paused = true)]
async fn the_beginning_is_enough_where_it_tells() {
    let bench = watchful();
    let gate = Gate::new();
    for (name, file) in [
        ("f", samples::safetensors(4 * MIB)),
        ("g", samples::noise(4 * MIB, 7)),
        ("h", [samples::gguf(samples::GOOD_TEMPLATE), samples::noise(4 * MIB, 7)].concat()),
    ] {
        let file = Bytes::from(file);
        let asked = artifact(name, vec![BlobId::of(&file).digest()]);
        let reply = Reply::file(file.clone(), "\"v1\"").chunks_of(100_000).pause_at(500_000, &gate);
        bench.upstream.once(FILE, reply);
        let found = bench.get(&asked).await.expect("it is there");
        let mut body = found.source.body(None);
        assert_eq!(read_some(&mut body, 200_000).await[..], file[..200_000], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_before_is_judged_when_asked_for() {
    let small = Bytes::from(evil());
    let middle = Bytes::from(samples::torch(&evil(), 1, 100_000));
    for file in [small, middle, late_evil()] {
        let store = MemoryStore::new();
        let careless =
            on(store.clone(), &inspect::Config { mode: inspect::Mode::Off, ..Default::default() });
        careless.upstream.always(FILE, Reply::file(file.clone(), "\"v1\""));
        let asked = promised(&file);
        whole(careless.get(&asked).await.expect("nobody looks").source.body(None)).await;
        careless.settled().await;
        let bench = on(store.clone(), &inspect::Config::default());
        assert!(bench.head(&asked).await.is_ok(), "nothing is known yet");
        for _ in 0..2 {
            let outcome = bench.get(&asked).await;
            assert!(is_unsafe(&outcome), "{}: {outcome:?}", file.len());
            assert!(is_unsafe(&bench.get(&artifact("other", asked.digests.clone())).await));
        }
        assert!(is_unsafe(&bench.head(&asked).await), "it is known now");
        assert!(bench.entry(&asked).is_some(), "it stays for whoever changes the rules");
        let allowed = inspect::Config { allow: vec!["os.system".to_owned()], ..Default::default() };
        let bench = on(store.clone(), &allowed);
        let found = bench.get(&asked).await.expect("the rules have changed");
        assert!(whole(found.source.body(None)).await == file);
        let warning = inspect::Config { mode: inspect::Mode::Warn, ..Default::default() };
        let bench = on(store, &warning);
        for _ in 0..2 {
            let found = bench.get(&asked).await.expect("warned of");
            let said = found.head.headers[header::WARNING].to_str().expect("text");
            assert!(said.starts_with("299 - \"it imports os.system"), "{said}");
        }
    }
}

/// What was kept before there were rules is looked into in the background, each thing once for each version of the readers.
#[tokio::test(start_paused = true)]
async fn what_was_kept_before_is_looked_into_while_nobody_asks() {
    let store = MemoryStore::new();
    let off = inspect::Config { mode: inspect::Mode::Off, ..Default::default() };
    let careless = on(store.clone(), &off);
    let files = [
        ("small", Bytes::from(evil())),
        ("middle", Bytes::from(samples::torch(&evil(), 1, 100_000))),
        ("safe", Bytes::from(samples::torch(&samples::state_dict(1), 1, 100_000))),
        ("late", late_evil()),
    ];
    for (name, file) in &files {
        careless.upstream.once(FILE, Reply::file(file.clone(), "\"v1\""));
        let asked = artifact(name, vec![BlobId::of(file).digest()]);
        whole(careless.get(&asked).await.expect("nobody looks").source.body(None)).await;
        careless.settled().await;
    }
    let under = artifact("", Vec::new()).lookup.key;
    let stock = [Stock { under, nature: Nature::Data }];
    careless.cache.review(&stock, 1 << 20).await;
    let bench = on(store.clone(), &inspect::Config::default());
    bench.cache.review(&stock, 0).await;
    let digest = |file: &Bytes| BlobId::of(file).digest();
    assert_eq!(bench.cache.report(Nature::Data, &digest(&files[0].1)), None, "a rate of nothing");
    let begun = tokio::time::Instant::now();
    bench.cache.review(&stock, 1 << 20).await;
    let bytes: usize = files.iter().map(|(_, file)| file.len()).sum();
    assert!(begun.elapsed() >= Duration::from_secs(bytes as u64 >> 20), "{:?}", begun.elapsed());
    for (name, file) in &files {
        let asked = artifact(name, vec![digest(file)]);
        assert!(bench.cache.report(Nature::Data, &digest(file)).is_some(), "{name}");
        let head = bench.head(&asked).await;
        assert_eq!(is_unsafe(&head), *name != "safe", "{name}: {head:?}");
        assert!(bench.entry(&asked).is_some(), "{name} stays for whoever changes the rules");
    }
    let begun = tokio::time::Instant::now();
    on(store, &inspect::Config::default()).cache.review(&stock, 1 << 20).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "what is known costs nothing");
}

#[tokio::test(start_paused = true)]
async fn a_program_is_nobodys_business() {
    let bench = watchful();
    let file = Bytes::from(evil());
    bench.upstream.always(FILE, Reply::file(file.clone(), "\"v1\""));
    let asked = Artifact { nature: Nature::Program, ..promised(&file) };
    whole(bench.get(&asked).await.expect("it passes").source.body(None)).await;
    bench.settled().await;
    assert!(bench.get(&asked).await.is_ok());
    // The same bytes as data are another matter.
    assert!(is_unsafe(&bench.get(&promised(&file)).await));
}

/// Upstream may have sent other bytes than it promised: what was never compared with the digest does not stand against it for ever.
#[tokio::test(start_paused = true)]
async fn an_unproven_refusal_is_believed_for_a_while() {
    let bench = watchful();
    let honest = Bytes::from(samples::torch(&samples::state_dict(1), 2, 2 * MIB));
    let asked = promised(&honest);
    let forged = [evil(), vec![0; 5 * MIB]].concat();
    bench.upstream.once(FILE, Reply::file(forged, "\"forged\"").chunks_of(100_000));
    bench.upstream.always(FILE, Reply::file(honest.clone(), "\"v1\""));
    assert!(is_unsafe(&bench.get(&asked).await));
    assert!(is_unsafe(&bench.get(&asked).await));
    bench.settled().await;
    bench.clock.advance(Duration::from_secs(2 * 60 * 60));
    let found = bench.get(&asked).await.expect("asked again");
    assert!(whole(found.source.body(None)).await == honest);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_hides_nothing() {
    for file in [Bytes::from(evil()), late_evil()] {
        for framed in [true, false] {
            let bench = watchful();
            bench.store.suffer(Fault::Full);
            let reply = Reply::file(file.clone(), "\"v1\"").chunks_of(50_000);
            let reply = if framed { reply } else { reply.without_length() };
            bench.upstream.always(FILE, reply);
            let asked = promised(&file);
            let fault = match bench.get(&asked).await {
                Ok(found) => {
                    drain(found.source.body(None)).await.1.map(|fault| format!("{fault:?}"))
                }
                Err(failure) => Some(format!("{failure:?}")),
            };
            let case = format!("{} bytes, {framed}: {fault:?}", file.len());
            assert!(fault.is_some_and(|fault| fault.contains("os.system")), "{case}");
            let window = 100..200;
            let want = Want { ranges: Some(Vec::new()), window: Some(window), ..Want::whole() };
            let part = bench.cache.artifact(&asked, want).await;
            assert!(is_unsafe(&part), "{case}: {part:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_resumed_transfer_is_looked_into_from_its_beginning() {
    let bench = watchful();
    let file = Bytes::from([evil(), samples::noise(5 * MIB, 3)].concat());
    let asked = promised(&file);
    let careless = Bench::on(bench.store.clone(), Config::default());
    let gate = Gate::new();
    let reply = Reply::file(file.clone(), "\"v1\"").chunks_of(100_000);
    careless.upstream.always(FILE, reply.clone().pause_at(3 * MIB, &gate));
    let found = careless.get(&asked).await.expect("nobody looks");
    read_some(&mut found.source.body(None), 2 * MIB).await;
    careless.shut_down().await;
    bench.upstream.always(FILE, reply);
    assert!(is_unsafe(&bench.get(&asked).await));
}

#[tokio::test(start_paused = true)]
async fn what_was_found_can_be_asked_for() {
    let bench = watchful();
    let file = Bytes::from(samples::torch(&samples::state_dict(1), 1, 100));
    let digest = BlobId::of(&file).digest();
    assert_eq!(bench.cache.report(Nature::Data, &digest), None);
    bench.upstream.always(FILE, Reply::file(file.clone(), "\"v1\""));
    whole(bench.get(&promised(&file)).await.expect("it passes").source.body(None)).await;
    bench.settled().await;
    for bench in [&bench, &on(bench.store.clone(), &inspect::Config::default())] {
        let report = bench.cache.report(Nature::Data, &digest).expect("it was looked into");
        assert_eq!(report.format, Format::Torch);
        assert!(report.globals.contains(&"torch FloatStorage".to_owned()), "{report:?}");
    }
}

/// With nothing held back but the end, what is found in the middle still reaches nobody whole.
#[tokio::test(start_paused = true)]
async fn the_size_that_is_held_is_a_setting() {
    let config = inspect::Config { hold: ByteSize(0), ..Default::default() };
    let bench = on(MemoryStore::new(), &config);
    let file = late_evil();
    bench.upstream.always(FILE, Reply::file(file.clone(), "\"v1\"").chunks_of(50_000));
    let found = bench.get(&promised(&file)).await.expect("nothing is known yet");
    let (bytes, fault) = drain(found.source.body(None)).await;
    assert!(fault.is_some() && bytes.len() < file.len());
}

/// Room for nothing, and a client that reads parts: the beginning tells whether they may be seen, once for all of them.
#[tokio::test(start_paused = true)]
async fn parts_without_room_pass_where_the_beginning_tells() {
    let part =
        Want { ranges: Some(Vec::new()), window: Some(3_000_000..3_000_100), ..Want::whole() };
    for (file, passes) in [
        (samples::safetensors(4 * MIB), true),
        (samples::noise(4 * MIB, 5), true),
        ([evil(), samples::noise(4 * MIB, 5)].concat(), false),
        (samples::torch(&samples::state_dict(1), 2, 2 * MIB), false),
    ] {
        let bench = watchful();
        bench.store.suffer(Fault::Full);
        let file = Bytes::from(file);
        bench.upstream.always(FILE, Reply::file(file.clone(), "\"v1\"").chunks_of(50_000));
        let asked = promised(&file);
        for _ in 0..2 {
            match bench.cache.artifact(&asked, part.clone()).await {
                Ok(found) => {
                    assert!(passes, "{} bytes pass", file.len());
                    let bytes = whole(found.source.body(None)).await;
                    assert_eq!(bytes, file[3_000_000..3_000_100]);
                }
                Err(failure) => assert!(!passes, "{failure}"),
            }
        }
    }
}

/// A part that lies beyond what is judged is not begun and then left in silence: its client is told to come again. What may be seen already is not held up.
#[tokio::test(start_paused = true)]
async fn who_asks_for_a_part_is_told_when_its_verdict_takes_long() {
    let (bench, gate) = (watchful(), Gate::new());
    let file = Bytes::from(samples::torch(&samples::state_dict(1), 4, 2 * MIB));
    let asked = promised(&file);
    let reply = Reply::file(file.clone(), "\"v1\"").chunks_of(50_000);
    bench.upstream.once(FILE, reply.pause_at(3 * MIB, &gate));
    let part = async |first: u64| {
        let last = Some(first + 99);
        let want = Want { ranges: Some(vec![Spec::From { first, last }]), ..Want::whole() };
        bench.cache.artifact(&asked, want).await
    };
    let late = (file.len() - 1000) as u64;
    let outcome = part(late).await;
    assert!(matches!(outcome, Err(Failure::Unjudged)), "{outcome:?}");
    assert!(part(1000).await.is_ok(), "what was judged may be seen");
    gate.open();
    let found = part(late).await.expect("it is harmless");
    let body = whole(found.source.body(Some(late..late + 100))).await;
    assert_eq!(body, file[file.len() - 1000..file.len() - 900]);
    assert_eq!(bench.upstream.count(FILE), 1);
}

/// A waiver is for those who ask with it: they get the file, and nobody else does, neither on the way nor once it is kept.
#[tokio::test(start_paused = true)]
async fn what_is_excepted_passes_for_those_who_ask_so() {
    for file in [Bytes::from(evil()), late_evil()] {
        let (bench, gate) = (watchful(), Gate::new());
        let plain = promised(&file);
        let excepted = Artifact { is_excepted: true, ..plain.clone() };
        let reply = Reply::file(file.clone(), "\"v1\"").chunks_of(50_000);
        bench.upstream.once(FILE, reply.clone());
        if let Ok(found) = bench.get(&plain).await {
            drain(found.source.body(None)).await;
        }
        bench.settled().await;
        assert!(is_unsafe(&bench.get(&plain).await), "it is known to be refused");
        bench.upstream.always(FILE, reply.pause_at(file.len() - 10, &gate));
        let waiting = bench.tasks.spawn({
            let (cache, excepted) = (bench.cache.clone(), excepted.clone());
            async move { cache.artifact(&excepted, Want::whole()).await }
        });
        gate.reached(1).await;
        let joined = bench.get(&plain).await;
        assert!(joined.is_err(), "{joined:?}");
        gate.open();
        let found = waiting.await.expect("no panic").expect("it is excepted");
        assert!(whole(found.source.body(None)).await == file);
        bench.settled().await;
        assert!(bench.entry(&plain).is_some(), "it is kept for them");
        for _ in 0..2 {
            assert!(is_unsafe(&bench.get(&plain).await), "kept, it is judged as ever");
            let found = bench.get(&excepted).await.expect("it is excepted");
            let said = found.head.headers[header::WARNING].to_str().expect("text").to_owned();
            assert!(said.contains("os.system"), "{said}");
            assert!(whole(found.source.body(None)).await == file);
        }
        assert_eq!(bench.upstream.count(FILE), 2);
    }
}

/// What is in something can be asked for before anybody gets it: it is fetched for that once, and no further than it takes.
#[tokio::test(start_paused = true)]
async fn what_is_in_it_is_found_out_first() {
    let found =
        |format, findings: &[&'static str]| Some(Summary { format, findings: findings.to_vec() });
    for (file, expected) in [
        (samples::safetensors(4 * MIB), found("safetensors", &["clean"])),
        (evil(), found("pickle", &["import", "unsafe"])),
        (samples::torch(&samples::state_dict(1), 1, 100), found("torch", &["clean"])),
    ] {
        let (bench, file) = (watchful(), Bytes::from(file));
        let asked = promised(&file);
        bench.upstream.always(FILE, Reply::file(file.clone(), "\"v1\"").chunks_of(50_000));
        for _ in 0..2 {
            assert_eq!(bench.cache.inspected(&asked).await.expect("in time"), expected);
        }
        bench.settled().await;
        assert_eq!(bench.cache.inspected(&asked).await.expect("in time"), expected);
        let other = artifact("other", asked.digests.clone());
        assert_eq!(bench.cache.inspected(&other).await.expect("in time"), expected);
        assert_eq!(bench.upstream.count(FILE), 1, "{expected:?}");
    }
    let (bench, gate) = (watchful(), Gate::new());
    let file = Bytes::from(samples::torch(&samples::state_dict(1), 4, 2 * MIB));
    let reply = Reply::file(file.clone(), "\"v1\"").chunks_of(50_000);
    bench.upstream.once(FILE, reply.pause_at(3 * MIB, &gate));
    let asked = promised(&file);
    assert!(matches!(bench.cache.inspected(&asked).await, Err(Failure::Unjudged)));
    gate.open();
    let summary = bench.cache.inspected(&asked).await.expect("in time");
    assert_eq!(summary, found("torch", &["clean"]));
    let absent = artifact("absent", Vec::new());
    bench.upstream.always(FILE, Reply::new(StatusCode::NOT_FOUND));
    assert_eq!(bench.cache.inspected(&absent).await.expect("in time"), None);
}
