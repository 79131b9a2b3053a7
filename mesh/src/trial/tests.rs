//! What questions and answers make of a way.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const CALM: Duration = Duration::from_secs(20);

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the test only adds to it")]
    Instant::now()
}

/// Lets time pass, a question at a time; answers those for which `answers` holds. Returns the number of the last.
fn ask(trial: &mut Trial, from: Instant, span: Duration, mut number: u32, answers: impl Fn(Instant) -> bool) -> u32 {
    while trial.deadline() < from + span {
        let now = trial.deadline().max(from);
        number += 1;
        assert!(trial.poll_question(number, now), "a deadline is a question");
        if answers(now) {
            assert!(trial.handle_answer(number, 3 * SECOND, CALM, now + SECOND / 100));
        }
    }
    number
}

#[test]
fn a_way_is_proven_by_answers_for_three_seconds_and_lost_by_five_questions() {
    let now = start();
    let mut trial = Trial::new(now);
    ask(&mut trial, now, 2 * SECOND, 0, |_| true);
    assert!(!trial.is_proven() && !trial.is_failing());
    ask(&mut trial, now, 5 * SECOND, 100, |_| true);
    assert!(trial.is_proven());
    assert_eq!(trial.round_trip(), Some(SECOND / 100));
    let asked = trial.deadline();
    ask(&mut trial, asked, SECOND, 200, |_| false);
    assert!(trial.is_proven(), "a second of silence is not enough");
    ask(&mut trial, asked, 2 * SECOND, 300, |_| false);
    assert!(trial.is_failing());
}

#[test]
fn a_link_that_comes_and_goes_every_two_seconds_is_never_proven() {
    let now = start();
    let mut trial = Trial::new(now);
    let open = |at: Instant| (at - now).as_secs() % 4 < 2;
    let mut number = 0;
    for second in 1..300 {
        number = ask(&mut trial, now, second * SECOND, number, open);
        assert!(!trial.is_proven(), "after {second} s");
    }
}

#[test]
fn a_fifth_lost_each_way_does_not_lose_a_way() {
    let now = start();
    let mut trial = Trial::new(now);
    trial.prove(2 * SECOND, now);
    // Every third question is answered.
    let mut number = 0;
    let mut at = now;
    while at < now + 600 * SECOND {
        at = trial.deadline();
        number += 1;
        trial.poll_question(number, at);
        assert!(trial.is_proven());
        if number % 3 == 0 {
            trial.handle_answer(number, 3 * SECOND, 2 * SECOND, at);
        }
    }
}

#[test]
fn an_answer_to_nothing_is_none() {
    let now = start();
    let mut trial = Trial::new(now);
    assert!(!trial.handle_answer(1, SECOND, CALM, now));
    trial.poll_question(1, now);
    assert!(trial.handle_answer(1, Duration::ZERO, CALM, now));
    assert!(!trial.handle_answer(1, Duration::ZERO, CALM, now), "an answer counts once");
    assert!(trial.is_proven());
}

#[test]
fn hurrying_does_not_ask_twice_at_once() {
    let now = start();
    let mut trial = Trial::new(now);
    trial.prove(CALM, now);
    trial.hasten(now);
    assert!(trial.poll_question(1, now));
    trial.hasten(now);
    assert!(!trial.poll_question(2, now));
}
