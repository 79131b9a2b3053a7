//! Names that are over are forgotten, for good, however long somebody was away.

use std::time::Duration;

use wire::message::EntryState;

use crate::stage::{Stage, claim, lease_key};
use crate::store::Table;
use crate::{Claim, Config, Event, Health, Hold};

fn quick(config: &mut Config) {
    config.rest = Duration::ZERO;
    config.gossip = Duration::from_secs(1);
}

/// The workload is over as soon as its container stops.
fn passing(container: &str, workload: &str) -> Claim {
    Claim { hold: Some(Hold::For(Duration::ZERO)), ..claim(container, Some(workload)) }
}

fn come_and_go(stage: &mut Stage, host: usize, names: std::ops::Range<usize>) {
    for number in names {
        let name = format!("job-{number}");
        stage.claim(host, passing(&name, &name)).unwrap();
        stage.release(host, &name);
    }
}

fn lines(stage: &Stage, host: usize) -> usize {
    stage.hosts[host].disk.keys().filter(|(table, _)| *table == Table::Directory).count()
}

fn knows(stage: &Stage, host: usize, workload: &str) -> bool {
    let hashes: Vec<_> = stage.hosts[host].ipam.directory.hashes().collect();
    let mut entries = hashes.iter().filter_map(|hash| stage.hosts[host].ipam.directory.entry(hash));
    entries.any(|entry| entry.body.workload == workload)
}

#[test]
fn ten_thousand_names_that_ended_leave_a_few_lines_and_a_small_join() {
    let mut stage = Stage::with(3, 24, 16, quick);
    let kept: Vec<_> =
        (0..3).map(|host| stage.claim(host, claim("stays", Some(&format!("stays-{host}")))).unwrap().slot).collect();
    let mut most = 0;
    for hundred in 0..100 {
        come_and_go(&mut stage, hundred % 3, hundred * 100..(hundred + 1) * 100);
        stage.pass(Duration::from_secs(2));
        most = most.max((0..3).map(|host| lines(&stage, host)).max().unwrap());
        if hundred % 40 == 10 {
            (0..3).for_each(|host| stage.restart(host));
            stage.settle();
        }
    }
    stage.add(3);
    let joined =
        stage.hosts[0].events.iter().rev().find_map(|event| {
            if let Event::JoinGranted { snapshot, .. } = event { Some(snapshot.len()) } else { None }
        });
    let joined = joined.unwrap();
    println!("10 000 names that ended: {most} lines at most, {joined} bytes for a joiner");
    assert!(most <= 300 && joined < 200_000, "{most} lines, {joined} bytes");
    stage.pass(Duration::from_secs(30));
    for host in 0..4 {
        assert_eq!(stage.hosts[host].ipam.health(), Health::Working);
        let slots: Vec<_> = stage.hosts[host].ipam.directory().map(|line| line.slot).collect();
        assert_eq!(slots, kept, "host {host}");
    }
}

/// The whole time it has the line that says that the workload runs.
#[test]
fn who_was_away_for_any_time_brings_no_ended_name_back() {
    let mut stage = Stage::with(4, 24, 16, quick);
    stage.claim(1, passing("c1", "web")).unwrap();
    assert!(knows(&stage, 3, "web"));
    stage.isolate(3);
    stage.release(1, "c1");
    come_and_go(&mut stage, 1, 0..100);
    stage.pass(Duration::from_secs(10));
    assert!((0..3).all(|host| !knows(&stage, host, "web")), "it is forgotten");
    // Its author is away when it is back, and so it hears it from somebody else.
    stage.isolate(1);
    stage.link(3, 0);
    stage.link(3, 2);
    stage.pass(Duration::from_secs(10));
    assert!((0..4).filter(|host| *host != 1).all(|host| !knows(&stage, host, "web")));
    // Nobody is asked for it.
    stage.claim(3, claim("c3", Some("web"))).unwrap();
    stage.link(1, 0);
    stage.pass(Duration::from_secs(10));
    assert!((0..4).all(|host| stage.hosts[host].ipam.health() == Health::Working));
    let error = stage.claim(1, claim("c2", Some("web"))).unwrap_err();
    assert!(error.to_string().contains("host3"), "{error}");
}

#[test]
fn a_name_that_ended_after_a_move_is_forgotten_where_it_began_too() {
    let mut stage = Stage::with(3, 24, 16, quick);
    let slot = stage.claim(0, claim("c0", Some("web"))).unwrap().slot;
    stage.release(0, "c0");
    assert_eq!(stage.claim(1, passing("c1", "web")).unwrap().slot, slot);
    stage.release(1, "c1");
    // The one that it ended at may not forget it first: the line of the other would say to ask there.
    come_and_go(&mut stage, 1, 0..100);
    stage.pass(Duration::from_secs(10));
    let ended = |line: &wire::message::Entry| line.body.state == EntryState::Ended;
    assert!(
        (0..3).all(|host| stage.hosts[host].ipam.directory.entry_of(&lease_key("web"), stage.id(1)).is_some_and(ended))
    );
    come_and_go(&mut stage, 0, 100..200);
    stage.pass(Duration::from_secs(10));
    come_and_go(&mut stage, 1, 200..300);
    stage.pass(Duration::from_secs(10));
    assert!((0..3).all(|host| !knows(&stage, host, "web")));
}

#[test]
fn a_router_that_has_lost_its_own_census_is_found_out() {
    let mut stage = Stage::with(3, 24, 16, quick);
    come_and_go(&mut stage, 1, 0..10);
    let copy = stage.hosts[1].disk.clone();
    come_and_go(&mut stage, 1, 10..100);
    stage.pass(Duration::from_secs(10));
    let upto = stage.hosts[0].ipam.directory.counted_upto(stage.id(1));
    assert!(upto > 100, "{upto}");
    // As it is, it starts again as ever.
    stage.restart(1);
    stage.pass(Duration::from_secs(10));
    assert_eq!(stage.hosts[1].ipam.health(), Health::Working);
    stage.hosts[1].disk = copy;
    stage.restart(1);
    stage.pass(Duration::from_secs(10));
    assert_eq!(stage.hosts[1].ipam.health(), Health::RolledBack);
}

/// Nobody but the author ends what it has said.
#[test]
fn a_census_counts_for_its_author_alone() {
    let mut stage = Stage::with(3, 24, 16, quick);
    stage.claim(1, claim("c1", Some("web"))).unwrap();
    let body = wire::message::CensusBody { author: stage.id(1), upto: 1 << 40, living: Vec::new() };
    let signature = crate::seal::sign(&crate::stage::signing_key(2), wire::message::CENSUS_VERSION, &body);
    let forged = wire::message::Message::Census(wire::message::Census { body, signature }).emit();
    let (from, now) = (stage.id(2), stage.now);
    for host in [0, 1] {
        stage.hosts[host].ipam.handle_message(from, &forged, now);
        assert!(knows(&stage, host, "web"));
        assert_eq!(stage.hosts[host].ipam.health(), Health::Working);
    }
}

/// It has heard nothing of the end, and asks whoever it believes to have it.
#[test]
fn who_asks_for_a_name_that_is_forgotten_is_told_so_and_starts_it() {
    let mut stage = Stage::with(4, 24, 16, quick);
    for asked in [1, 2] {
        let name = format!("web-{asked}");
        stage.claim(1, passing("c1", &name)).unwrap();
        let links = std::mem::take(&mut stage.links);
        stage.links = links.iter().copied().filter(|(one, other)| *one != 3 && *other != 3).collect();
        stage.release(1, "c1");
        let from = asked * 1000;
        come_and_go(&mut stage, 1, from..from + 100);
        // A round, in which nothing comes of what the fourth says or is told.
        stage.pass(Duration::from_secs(5));
        assert!(!knows(&stage, 2, &name) && knows(&stage, 3, &name));
        stage.links = links;
        let host = [1, 3][asked % 2];
        stage.claim(host, claim(&name, Some(&name))).unwrap();
        stage.pass(Duration::from_secs(5));
        assert!((0..4).all(|at| stage.hosts[at].ipam.directory().filter(|line| line.workload == name).count() == 1));
    }
}
