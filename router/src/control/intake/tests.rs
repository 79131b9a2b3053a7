//! Many at once, and no flood.

use super::*;

#[test]
fn a_fleet_comes_at_once_and_a_flood_does_not() {
    let (mut intake, start) = (Intake::default(), Instant::now());
    for _ in 0..MOST {
        assert_eq!(intake.wait(start), None);
        intake.note(start);
    }
    assert_eq!(intake.wait(start), Some(WITHIN));
    assert_eq!(intake.wait(start + WITHIN / 2), Some(WITHIN / 2));
    assert_eq!(intake.wait(start + WITHIN), None);
    // A day of whoever has the secret and asks all the time.
    let mut admitted = 0;
    for second in 0..86_400 {
        let now = start + Duration::from_secs(second);
        while intake.wait(now).is_none() {
            intake.note(now);
            admitted += 1;
        }
    }
    assert!(admitted <= 30 * 24 * 60 + MOST, "{admitted}");
}
