//! Revocations of and by those of whom not everybody has heard.

use std::time::Duration;

use super::revocations::{assert_equal_tables, revoke};
use crate::Event;
use crate::stage::Stage;

fn admit(stage: &mut Stage, at: usize, whom: usize) {
    let (identity, label, now) = (stage.id(whom), crate::stage::name(u8::try_from(whom).unwrap()), stage.now);
    stage.hosts[at].ipam.admit(identity, Some(label), now);
}

fn names(stage: &Stage, at: usize, by: usize, whom: usize) -> bool {
    let is_it = |event: &Event| *event == Event::MembersNamed { by: stage.id(by), identities: vec![stage.id(whom)] };
    stage.hosts[at].events.iter().any(is_it)
}

fn has_revoked(stage: &Stage, at: usize, whom: usize) -> bool {
    stage.hosts[at].ipam.members().any(|(identity, _, revoked)| revoked && identity == stage.id(whom))
}

/// Hosts 2 and 3 have promised to refuse 0 before they heard of 4, that 0 has let in and 1 knows.
fn joiner_that_two_have_never_heard_of() -> Stage {
    let mut stage = Stage::new(4, 24, 16);
    for (one, other) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        stage.cut(one, other);
    }
    stage.add(4);
    admit(&mut stage, 1, 4);
    admit(&mut stage, 4, 1);
    stage.isolate(0);
    stage.link(1, 4);
    assert_eq!(revoke(&mut stage, 2, &[0]), None);
    stage
}

#[test]
fn whom_a_promise_names_is_said_and_counted_when_it_is_admitted() {
    let mut stage = joiner_that_two_have_never_heard_of();
    stage.link(1, 2);
    stage.settle();
    assert!(names(&stage, 2, 1, 4) && !has_revoked(&stage, 2, 0), "an elector that the asker does not know");
    admit(&mut stage, 2, 4);
    stage.link(2, 4);
    stage.settle();
    assert!([1, 2, 4].iter().all(|host| has_revoked(&stage, *host, 0)));
    // Who hears the decision and has not heard of one of its heirs says so too.
    assert!(names(&stage, 3, 1, 4) && !has_revoked(&stage, 3, 0));
    admit(&mut stage, 3, 4);
    stage.settle();
    assert!(has_revoked(&stage, 3, 0));
    assert_equal_tables(&stage, &[1, 2, 3, 4]);
}

/// Host 4 hears that 0 and 5 are out, and has never heard of 5, whose line comes later: it must find the door closed.
#[test]
fn who_is_put_out_before_it_was_heard_of_stays_out() {
    let mut stage = Stage::new(4, 24, 16);
    stage.add(4);
    stage.add(5);
    for host in [1, 2, 3] {
        admit(&mut stage, host, 5);
    }
    for host in [0, 4, 5] {
        stage.isolate(host);
    }
    assert_eq!(revoke(&mut stage, 1, &[0, 5]), Some(Ok(())));
    for host in [1, 2, 3] {
        admit(&mut stage, 4, host);
        admit(&mut stage, host, 4);
        stage.link(4, host);
    }
    stage.pass(Duration::from_secs(15));
    let victim = stage.id(5);
    assert!(has_revoked(&stage, 4, 0) && !has_revoked(&stage, 4, 5), "it has not heard of it");
    assert!(stage.hosts[4].ipam.refused().any(|refused| refused == victim));
    stage.hosts[4].events.clear();
    admit(&mut stage, 4, 5);
    stage.settle();
    assert!(stage.hosts[4].events.contains(&Event::Revoked { identities: vec![victim] }));
}

/// It is to go with its sponsor, and nobody refuses whom it has never heard of.
#[test]
fn whom_a_question_names_is_said_by_who_is_asked_unless_the_asker_is_refused() {
    let mut stage = joiner_that_two_have_never_heard_of();
    stage.isolate(4);
    stage.link(1, 2);
    stage.link(1, 3);
    assert_eq!(revoke(&mut stage, 1, &[0, 4]), None);
    assert!(names(&stage, 2, 1, 4) && names(&stage, 3, 1, 4));
    for host in [2, 3] {
        admit(&mut stage, host, 4);
    }
    stage.pass(Duration::from_secs(11));
    assert!([1, 2, 3].iter().all(|host| has_revoked(&stage, *host, 0) && has_revoked(&stage, *host, 4)));
    // A word of somebody who is refused lets nobody in.
    let mut stage = joiner_that_two_have_never_heard_of();
    stage.link(0, 2);
    assert_eq!(revoke(&mut stage, 0, &[1, 4]), None);
    assert!(!names(&stage, 2, 0, 4));
}
