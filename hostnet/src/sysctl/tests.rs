use super::*;

#[test]
fn a_setting_that_does_not_exist_is_absent_and_no_error() {
    assert_eq!(write(Family::V4, "lo", "no_such_setting", "1").unwrap(), Written::Absent);
    assert_eq!(write(Family::V6, "no-such-interf", "accept_ra", "1").unwrap(), Written::Absent);
}
