use super::*;

const RATE: BroadcastRate = BroadcastRate { frames_per_second: 10, burst: 3 };

#[expect(clippy::disallowed_methods, reason = "any instant will do, and there is no other way to one")]
fn start() -> Instant {
    Instant::now()
}

fn passed(limit: &mut BroadcastLimit, now: Instant) -> usize {
    (0..100).take_while(|_| limit.take(now) == Allowance::Pass).count()
}

#[test]
fn a_burst_passes_and_then_the_rate() {
    let start = start();
    let mut limit = BroadcastLimit::new(RATE, start);
    assert_eq!(passed(&mut limit, start), 3);
    assert_eq!(passed(&mut limit, start + Duration::from_millis(99)), 0);
    assert_eq!(passed(&mut limit, start + Duration::from_millis(100)), 1);
    assert_eq!(passed(&mut limit, start + Duration::from_millis(350)), 2);
}

#[test]
fn silence_fills_the_bucket_and_no_more() {
    let start = start();
    let mut limit = BroadcastLimit::new(RATE, start);
    passed(&mut limit, start);
    assert_eq!(passed(&mut limit, start + Duration::from_secs(3600)), 3);
}

#[test]
fn asking_often_does_not_starve() {
    let start = start();
    let mut limit = BroadcastLimit::new(RATE, start);
    passed(&mut limit, start);
    let passed = (1..=100).filter(|ms| limit.take(start + Duration::from_millis(ms * 10)) == Allowance::Pass).count();
    assert_eq!(passed, 10);
}

#[test]
fn a_rate_of_nothing_never_fills() {
    let start = start();
    let mut limit = BroadcastLimit::new(BroadcastRate { frames_per_second: 0, burst: 1 }, start);
    assert_eq!(passed(&mut limit, start), 1);
    assert_eq!(passed(&mut limit, start + Duration::from_secs(60)), 0);
}
