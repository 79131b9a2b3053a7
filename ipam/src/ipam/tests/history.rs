//! Everybody remembers who had an address when, and why it went.

use std::collections::BTreeSet;
use std::time::Duration;

use wire::message::{Handover, Why};

use crate::stage::{Stage, claim};
use crate::{Claim, LeaseKey};

const WALL: Duration = Duration::from_secs(1_700_000_000);

fn key() -> LeaseKey {
    claim("any", Some("web")).key()
}

/// From which host to which, at which epoch, why; and the seconds since the clock was told.
fn remembered(stage: &Stage, host: usize) -> Vec<(usize, usize, u64, Why, u64)> {
    let number = |identity| (0..stage.hosts.len()).find(|host| stage.id(*host) == identity).unwrap();
    let of = |moved: &crate::Moved| {
        assert_eq!(moved.key, key());
        let after = moved.at.checked_sub(WALL).unwrap().as_secs();
        (number(moved.from), number(moved.to), moved.epoch.0, moved.why, after)
    };
    stage.hosts[host].ipam.history().map(of).collect()
}

fn tell_time(stage: &mut Stage) {
    let now = stage.now;
    stage.hosts.iter_mut().for_each(|host| host.ipam.handle_wall_clock(WALL, now));
}

#[test]
fn every_host_remembers_every_move_once_and_why_over_restarts() {
    let mut stage = Stage::new(3, 24, 16);
    tell_time(&mut stage);
    stage.claim(0, claim("c0", Some("web"))).unwrap();
    stage.release(0, "c0");
    stage.claim(1, claim("c1", Some("web"))).unwrap();
    stage.pass(Duration::from_secs(5));

    let (asked, to) = (stage.request(), stage.id(2));
    stage.hosts[0].ipam.invite(asked, to, key(), Handover::WhenStopped, stage.now);
    stage.settle();
    stage.release(1, "c1");
    stage.claim(2, claim("c2", Some("web"))).unwrap();
    stage.pass(Duration::from_secs(5));

    let over = Claim { handover: Handover::TakeOver, ..claim("c3", Some("web")) };
    stage.claim(0, over).unwrap();
    stage.release(2, "c2");
    // Nothing of this is a move.
    stage.release(0, "c3");
    stage.claim(0, claim("c4", Some("web"))).unwrap();

    let expected = [(0, 1, Why::Followed, 0), (1, 2, Why::Asked, 5), (2, 0, Why::TakenOver, 10)];
    for restarted in [false, true] {
        for host in 0..3 {
            let seen: Vec<_> = remembered(&stage, host).iter().map(|of| (of.0, of.1, of.3, of.4)).collect();
            assert_eq!(seen, expected, "host {host}, restarted: {restarted}");
        }
        (0..3).for_each(|host| stage.restart(host));
        stage.settle();
    }
    assert!(remembered(&stage, 0).is_sorted_by(|a, b| a.2 < b.2), "{:?}", remembered(&stage, 0));
}

#[test]
fn who_was_away_hears_of_the_last_move_to_each_host_and_of_revocations() {
    let mut stage = Stage::new(4, 24, 16);
    stage.isolate(3);
    tell_time(&mut stage);
    stage.claim(0, claim("c0", Some("web"))).unwrap();
    for (from, to) in [(0, 1), (1, 2)] {
        stage.release(from, &format!("c{from}"));
        stage.claim(to, claim(&format!("c{to}"), Some("web"))).unwrap();
    }
    for host in 0..3 {
        stage.link(3, host);
    }
    stage.pass(Duration::from_secs(30));
    // In whichever order the lines came.
    let heard: BTreeSet<_> = remembered(&stage, 3).iter().map(|of| (of.0, of.1, of.3)).collect();
    assert_eq!(heard, [(0, 1, Why::Followed), (1, 2, Why::Followed)].into());

    stage.isolate(2);
    let (asked, victim) = (stage.request(), stage.id(2));
    stage.hosts[0].ipam.revoke(asked, &[victim], stage.now);
    stage.pass(Duration::from_secs(30));
    for host in [0, 1, 3] {
        let last = remembered(&stage, host).last().map(|of| (of.0, of.3));
        assert_eq!(last, Some((2, Why::Revoked)), "host {host}: {:?}", remembered(&stage, host));
    }
}
