//! Whoever gets no address is told whether waiting helps.

use std::time::Duration;

use wire::NetworkId;

use crate::dice::Dice;
use crate::stage::{Stage, claim};
use crate::{Claim, ClaimError, Hold, REST};

const BLOCK: u32 = 8;

/// Three hosts share four blocks, and hold nothing for anybody.
fn stage() -> Stage {
    Stage::with(3, 27, BLOCK, |config| {
        config.low_water_percent = 0;
        config.hold = Hold::For(Duration::ZERO);
    })
}

/// Takes all that a host can have. Returns what it took.
fn fill(stage: &mut Stage, host: usize) -> Vec<String> {
    let mut taken = Vec::new();
    loop {
        let container = format!("fill-{host}-{}", stage.request().0);
        if stage.claim(host, claim(&container, None)).is_err() {
            return taken;
        }
        taken.push(container);
    }
}

fn refusal(stage: &mut Stage, host: usize) -> ClaimError {
    let container = format!("late-{}", stage.request().0);
    stage.claim(host, claim(&container, None)).expect_err("nothing is left")
}

#[test]
fn a_whole_block_that_rests_elsewhere_is_waited_for() {
    let mut stage = stage();
    stage.claim(2, claim("stays", None)).unwrap();
    stage.claim(0, claim("short", None)).unwrap();
    fill(&mut stage, 1);
    stage.release(0, "short");
    let error = refusal(&mut stage, 1);
    assert!(matches!(error, ClaimError::NoneYet { resting: 8, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "no address is free here at present; 8 were freed a moment ago and rest; asked without success: host0, host2"
    );
    stage.pass(REST);
    assert!(stage.claim(1, claim("late", None)).is_ok());
}

/// Nobody but its own host will ever give it.
#[test]
fn a_slot_that_rests_beside_one_in_use_elsewhere_is_not_waited_for() {
    let mut stage = stage();
    for container in ["stays", "short"] {
        stage.claim(0, claim(container, None)).unwrap();
    }
    stage.claim(2, claim("stays", None)).unwrap();
    fill(&mut stage, 1);
    stage.release(0, "short");
    for _ in 0..2 {
        let error = refusal(&mut stage, 1);
        assert!(matches!(error, ClaimError::Exhausted { .. }), "{error}");
        stage.pass(REST);
    }
}

/// What nobody gives just to keep one ahead is given to a container that waits, also if it comes while that is asked for.
#[test]
fn a_claim_that_joins_a_search_for_a_spare_block_is_answered_for_itself() {
    let mut stage = Stage::with(2, 28, BLOCK, |config| {
        config.low_water_percent = 50;
        config.hold = Hold::For(Duration::ZERO);
    });
    stage.claim(0, claim("short", None)).unwrap();
    stage.release(0, "short");
    stage.pass(REST);
    for number in 0..6 {
        stage.claim(1, claim(&number.to_string(), None)).unwrap();
    }
    // It looks for a spare one again.
    stage.now += Duration::from_secs(61);
    let now = stage.now;
    stage.hosts[1].ipam.handle_timeout(now);
    assert_eq!(stage.hosts[1].ipam.waiting.quests.len(), 1);
    let request = stage.begin(1, claim("late", None));
    stage.settle();
    assert!(matches!(stage.answer(1, request), Some(Ok(_))), "{:?}", stage.answer(1, request));
}

/// What it is told is what comes true if nobody does anything: random histories of starts, ends and moves.
#[test]
fn who_is_told_to_try_again_succeeds_then_and_who_is_not_does_not() {
    let (mut again, mut never) = (0, 0);
    for seed in 0..600 {
        let mut dice = Dice::new(seed);
        let mut stage = stage();
        let mut running: Vec<(usize, String)> = Vec::new();
        for step in 0..60 {
            let host = dice.below(3);
            let container = format!("c{step}");
            let wanted = match dice.below(4) {
                0 => Some(u32::try_from(2 + dice.below(29)).unwrap()),
                _ => None,
            };
            let address = wanted.map(|slot| stage.hosts[0].ipam.address(NetworkId::DEFAULT, wire::Slot(slot)));
            if dice.below(5) < 2 && !running.is_empty() {
                let (host, container) = running.swap_remove(dice.below(running.len()));
                stage.release(host, &container);
            } else if stage.claim(host, Claim { address, ..claim(&container, None) }).is_ok() {
                running.push((host, container));
            }
            if dice.below(20) == 0 {
                stage.pass(Duration::from_secs(u64::try_from(10 * dice.below(30)).unwrap()));
            }
        }
        let host = dice.below(3);
        // Often nothing rests any more, or only what came home is not part of its block yet.
        stage.pass(REST * u32::try_from(dice.below(3)).unwrap());
        fill(&mut stage, host);
        // What was just freed elsewhere.
        let others = running.extract_if(.., |(at, _)| *at != host).collect::<Vec<_>>();
        let ended = dice.below(others.len() + 1);
        others.iter().rev().take(ended).for_each(|(at, container)| assert!(stage.release(*at, container)));
        let told = stage.claim(host, claim("late", None));
        let is_to_wait = match &told {
            Ok(_) => continue,
            Err(ClaimError::NoneYet { silent, .. }) => silent.is_empty(),
            Err(error) => !matches!(error, ClaimError::Exhausted { .. }),
        };
        // The rest, the calm after a move, and a round of comparing.
        stage.pass(REST + Duration::from_secs(200));
        let then = stage.claim(host, claim("later", None));
        assert_eq!(then.is_ok(), is_to_wait, "seed {seed}: told {told:?}, then {then:?}");
        if is_to_wait { again += 1 } else { never += 1 }
    }
    println!("{again} were told to try again, {never} not");
    assert!(again > 5 && never > 5, "{again} {never}");
}
