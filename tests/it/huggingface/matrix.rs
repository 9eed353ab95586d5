//! What has been fetched once is fetched again, byte for byte, in every state of the world: clients x states, Larder running on and restarted.

use futures_util::future::join_all;

use super::clients::{EVERY_SEQUENCE, Sequence, Session};
use super::stock::{Stand, content, fault, pushed, wanted};
use crate::support::hub::{EVERY_WORLD, FakeHub, Kind, World};
use crate::support::larder::impatient;

use super::stock::ID;

/// Longer than a branch is trusted.
const LONGER: u64 = 3600;

/// The sequences are those of clients of the hub: without Larder they come back with the same files.
#[tokio::test]
async fn the_fake_hub_is_one_to_every_sequence() {
    for sequence in EVERY_SEQUENCE {
        let hub = FakeHub::start().await;
        hub.model(ID, content());
        let session = Session::new(&hub.endpoint());
        let got = session.run(sequence, &wanted("main", &content())).await;
        assert_eq!(fault(sequence, &content(), got), None, "{sequence:?}");
        let leaked = hub.cdn.log().iter().any(|logged| logged.header("authorization").is_some());
        assert!(!leaked, "{sequence:?}");
    }
}

/// One cell: fetched cold, fetched warm, and then again when the world has turned, before and after a restart.
async fn cell(sequence: Sequence, world: World) -> Vec<String> {
    let stand = Stand::settled("", |settings| match world {
        World::BlackHoled => impatient(&settings),
        _ => settings,
    })
    .await;
    let mut faults = Vec::new();
    let main = wanted("main", &content());
    let mut check = |when: &str, got: Option<String>| {
        let name = world.name();
        faults.extend(got.map(|reason| format!("{sequence:?}, {name}, {when}: {reason}")));
    };
    let cold = stand.client(sequence);
    check("cold", fault(sequence, &content(), cold.run(sequence, &main).await));
    check("cold", escaped(&stand, &cold));
    let warm = stand.client(sequence).run(sequence, &main).await;
    check("warm", fault(sequence, &content(), warm));
    stand.hub.turn(world, Kind::Model, ID, pushed()).await;
    stand.larder.advance(LONGER);
    let now = if world == World::ForcePushed { pushed() } else { content() };
    let now_wanted = wanted("main", &now);
    let later = stand.client(sequence).run(sequence, &now_wanted).await;
    check("turned", fault(sequence, &now, later));
    let stand = stand.restart().await;
    let last = stand.client(sequence);
    check("restarted", fault(sequence, &now, last.run(sequence, &now_wanted).await));
    check("restarted", escaped(&stand, &last));
    if sequence.takes_commits() {
        let pinned = wanted(&stand.sha, &content());
        let got = stand.client(sequence).run(sequence, &pinned).await;
        check("pinned", fault(sequence, &content(), got));
    }
    faults
}

/// Whether a client was led anywhere but to Larder.
fn escaped(stand: &Stand, session: &Session) -> Option<String> {
    let own = stand.larder.url("");
    let elsewhere: Vec<String> =
        session.visited().into_iter().filter(|origin| *origin != own).collect();
    (!elsewhere.is_empty()).then(|| format!("led to {elsewhere:?}"))
}

async fn row(world: World) {
    let faults = join_all(EVERY_SEQUENCE.map(|sequence| cell(sequence, world))).await;
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

macro_rules! rows {
    ($($name:ident: $world:ident;)*) => {
        $(#[tokio::test]
        async fn $name() {
            row(World::$world).await;
        })*

        /// The rows are all there are.
        #[test]
        fn no_state_of_the_world_is_left_out() {
            assert_eq!(EVERY_WORLD.to_vec(), vec![$(World::$world),*]);
        }
    };
}

rows! {
    served_while_the_hub_is_up: Up;
    served_while_the_hub_refuses_connections: Refused;
    served_while_the_hub_is_black_holed: BlackHoled;
    served_while_the_hub_answers_503: Unavailable;
    served_while_the_hub_answers_429: RateLimited;
    served_after_the_repository_is_deleted: Deleted;
    served_after_the_repository_is_gated: GatedLater;
    served_after_a_forced_push: ForcePushed;
}

/// What one client has fetched another one fetches while the hub is away, but for the registry's manifest, which is the hub's own making.
#[tokio::test]
async fn what_one_client_has_fetched_serves_the_others() {
    let firsts = [Sequence::Siblings, Sequence::Tree, Sequence::Xet, Sequence::FirstByte];
    let mut faults = Vec::new();
    for first in firsts {
        let stand = Stand::new("").await;
        let main = wanted("main", &content());
        let got = stand.client(first).run(first, &main).await;
        faults.extend(fault(first, &content(), got).map(|reason| format!("{first:?}: {reason}")));
        stand.until_complete().await;
        stand.hub.turn(World::Refused, Kind::Model, ID, pushed()).await;
        stand.larder.advance(LONGER);
        for second in EVERY_SEQUENCE {
            if second == Sequence::Ollama || second == Sequence::LlamaCpp {
                continue;
            }
            let got = stand.client(second).run(second, &main).await;
            let told = fault(second, &content(), got);
            faults.extend(told.map(|reason| format!("{first:?}, then {second:?}: {reason}")));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Warm, a whole repository costs nothing inside the freshness time and one question after it; two where the client begins with something of
/// the hub's own making, a list of branches or a manifest.
#[tokio::test]
async fn a_warm_repository_costs_one_question_at_most() {
    let mut faults = Vec::new();
    for sequence in EVERY_SEQUENCE {
        let stand = Stand::new("").await;
        let main = wanted("main", &content());
        for _ in 0..2 {
            let got = stand.client(sequence).run(sequence, &main).await;
            assert_eq!(fault(sequence, &content(), got), None, "{sequence:?}");
        }
        stand.until_complete().await;
        stand.asked();
        let run = async || stand.client(sequence).run(sequence, &main).await;
        let questions = match sequence {
            Sequence::LlamaCpp | Sequence::Ollama => 2,
            _ => 1,
        };
        for (when, seconds, most) in
            [("fresh", 0, 0), ("stale", LONGER, questions), ("fresh again", 0, 0)]
        {
            stand.larder.advance(seconds);
            let told = fault(sequence, &content(), run().await);
            faults.extend(told.map(|reason| format!("{sequence:?}, {when}: {reason}")));
            let asked = stand.asked();
            if asked.len() > most {
                faults.push(format!("{sequence:?}, {when}: asked upstream {asked:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
