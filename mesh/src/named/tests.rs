use super::*;

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 6783))
}

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the test only adds to it")]
    Instant::now()
}

#[test]
fn an_address_is_asked_once_for_each_time_it_is_named() {
    let (mut named, now) = (Named::default(), start());
    named.add(address(1), now);
    assert_eq!((named.poll_ask(now), named.deadline()), (None, Some(now + PATIENCE)));
    named.add(address(1), now + PATIENCE / 2);
    assert_eq!(named.poll_ask(now + PATIENCE), Some(address(1)), "naming it again postpones nothing");
    assert_eq!((named.poll_ask(now + PATIENCE), named.deadline()), (None, None));
    named.add(address(1), now + MEMORY);
    assert_eq!(named.poll_ask(now + MEMORY + PATIENCE), Some(address(1)));
    assert_eq!(named.addresses(), [address(1)]);
    named.add(address(1), now);
    named.remove(address(1));
    assert_eq!((named.addresses(), named.deadline()), (&[][..], None));
}

#[test]
fn each_answer_is_news_once() {
    let (mut named, now) = (Named::default(), start());
    named.add(address(1), now);
    let (one, two) = (ClusterId([1; 32]), ClusterId([2; 32]));
    assert!(!named.note(address(9), Some(one)), "nobody named it");
    assert!(named.note(address(1), Some(one)));
    assert!(!named.note(address(1), Some(one)));
    assert!(named.note(address(1), Some(two)));
    assert!(!named.note(address(1), None));
    assert!(named.note(address(1), Some(two)));
}

#[test]
fn strangers_write_few_lines() {
    let (mut callers, now) = (Callers::default(), start());
    let lines =
        |callers: &mut Callers, now| (0..=255).filter(|number| callers.note(address(*number).ip(), now)).count();
    assert_eq!(lines(&mut callers, now), CALLERS_MOST);
    assert_eq!(lines(&mut callers, now + MEMORY / 2), 0);
    assert_eq!(lines(&mut callers, now + MEMORY), CALLERS_MOST);
}
