//! Which session seals and which make room, over all ways two of them can meet.

use wire::PeerIndex;
use zeroize::Zeroizing;

use super::*;
use crate::aead::Suite;

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the tests only add to it")]
    Instant::now()
}

const SECOND: Duration = Duration::from_secs(1);

fn session(index: u32, role: Role, boot: u32, since: Instant) -> Session {
    let key = |number: u8| Zeroizing::new([number; 32]);
    // Both directions alike, so that a session opens what it seals.
    let [control_send, control_receive, data_send, data_receive] = [1, 1, 2, 2].map(key);
    let keys = Keys { control_send, control_receive, data_send, data_receive, salt: [3; 16] };
    let suite = Suite::ChaCha20Poly1305;
    let head = SessionHead { peer: PeerIndex(0), local_index: index, remote_index: index, suite, remote_queues: 1 };
    Session::new(head, &Birth { role, boot, life: Life::new(&SessionTimes::default(), role, 0.5, since) }, keys)
}

fn indexes(sessions: &Sessions) -> (Option<u32>, Option<u32>) {
    (sessions.current().map(|session| session.local_index), sessions.carrying().map(|session| session.local_index))
}

#[test]
fn a_caller_may_speak_at_once_and_the_called_only_after_it_has_heard() {
    let now = start();
    let mut sessions = Sessions::default();
    sessions.add(session(1, Role::Called, 1, now));
    assert_eq!(indexes(&sessions), (None, None));
    assert_eq!(sessions.confirm(1).map(|opened| opened.confirmation), Some(Confirmation::First));
    assert_eq!(sessions.confirm(1).map(|opened| opened.confirmation), Some(Confirmation::Known));
    assert_eq!(indexes(&sessions), (Some(1), Some(1)));
    sessions.add(session(2, Role::Caller, 1, now));
    assert_eq!(indexes(&sessions), (Some(2), Some(1)), "frames change over when the peer has been heard");
    sessions.confirm(2);
    assert_eq!(indexes(&sessions), (Some(2), Some(2)));
    assert_eq!(sessions.data().iter().map(|data| data.local_index).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn calls_never_push_out_the_sessions_in_use() {
    let now = start();
    let mut sessions = Sessions::default();
    sessions.add(session(1, Role::Caller, 1, now));
    sessions.confirm(1);
    sessions.add(session(2, Role::Caller, 1, now));
    for index in 3..20 {
        let dropped = sessions.add(session(index, Role::Called, 1, now));
        assert!(!dropped.contains(&1) && !dropped.contains(&2) && !dropped.contains(&index), "{dropped:?}");
        assert!(sessions.data().len() <= SESSIONS_MOST);
    }
    assert_eq!(indexes(&sessions), (Some(2), Some(1)));
}

#[test]
fn an_envelope_opens_once_and_under_its_session_only() {
    let now = start();
    let mut sessions = Sessions::default();
    sessions.add(session(1, Role::Caller, 7, now));
    let envelope = sessions.sending().unwrap().seal(b"text").unwrap();
    assert_eq!(sessions.open(2, 0, &mut envelope.clone()).err(), Some(OpenError::Forged));
    let opened = sessions.open(1, 0, &mut envelope.clone()).unwrap();
    assert_eq!(
        (&opened.plaintext[..], opened.confirmation, opened.newest, opened.boot),
        (&b"text"[..], Confirmation::First, true, 7)
    );
    assert_eq!(sessions.open(1, 0, &mut envelope.clone()).err(), Some(OpenError::Replayed { counter: 0 }));
}

#[test]
fn sessions_end_by_age_and_with_the_life_of_the_peer() {
    let now = start();
    let mut sessions = Sessions::default();
    sessions.add(session(1, Role::Caller, 1, now));
    sessions.add(session(2, Role::Caller, 2, now + 60 * SECOND));
    sessions.use_up(now + SECOND);
    assert!(!sessions.is_due(now + 179 * SECOND) && sessions.is_due(now + 180 * SECOND));
    assert_eq!(sessions.deadline(), Some(now + 180 * SECOND));
    assert_eq!(sessions.expire(now + 180 * SECOND), [1]);
    sessions.add(session(3, Role::Called, 1, now));
    assert_eq!(sessions.drop_before(2), [3]);
    assert_eq!(sessions.clear(), [2]);
}

#[test]
fn keys_wear_by_use_alone() {
    let now = start();
    for role in [Role::Caller, Role::Called] {
        let mut sessions = Sessions::default();
        sessions.add(session(1, role, 1, now));
        sessions.confirm(1);
        assert!(!sessions.is_due(now + 2600 * SECOND), "an idle session is renewed once an hour");
        let used = now + 1000 * SECOND;
        sessions.use_up(used);
        assert!(sessions.is_due(used), "old keys are renewed as soon as they are used");
        assert_eq!(sessions.deadline(), Some(used + 60 * SECOND));
        sessions.use_up(used + 30 * SECOND);
        assert_eq!(sessions.deadline(), Some(used + 60 * SECOND), "once");
    }
}
