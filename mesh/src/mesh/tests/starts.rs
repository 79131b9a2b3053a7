//! What a start of many at once costs.

use super::*;

/// Twelve that know one another.
fn dozen() -> Sim {
    let all: Vec<u8> = (0..12).collect();
    Sim::new(1, &[&all[..]; 12])
}

#[test]
fn a_cluster_that_starts_at_once_makes_hardly_more_calls_than_it_has_pairs() {
    let mut sim = dozen();
    sim.tap = Some(Vec::new());
    assert!(sim.run_while(SECOND, |sim| !sim.all_up()).is_some());
    let is_call = |bytes: &[u8]| matches!(Kind::of_message(bytes), Ok(Kind::Initiation));
    let calls = sim.tap.take().unwrap().iter().filter(|(_, _, bytes)| is_call(bytes)).count();
    let pairs = 12 * 11 / 2;
    assert!(calls >= pairs && calls <= pairs * 3 / 2, "{calls} calls of {pairs} pairs");
}
