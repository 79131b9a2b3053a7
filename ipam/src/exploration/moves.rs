//! A workload that is claimed everywhere at once: its address is never in use twice.

use super::{Found, Loss, Plan, explore};
use crate::Rules;

#[test]
fn a_moving_workload_has_one_host() {
    let found = explore(Plan {
        hosts: 2,
        rules: Rules::default(),
        epochs: 3,
        revocations: &[],
        loss: Loss::Never,
        crashes: 1,
        workload: Some("web"),
        silent: &[],
        limit: 30_000,
    });
    let Found::Nothing { states, depth } = found else { panic!("{found:#?}") };
    println!("{states} states, all of {depth} steps");
    assert!(states > 1000);
}
