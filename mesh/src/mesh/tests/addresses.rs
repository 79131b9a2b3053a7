//! What is named or listed again is no news.

use super::*;

#[test]
fn an_address_that_is_named_again_hurries_nobody() {
    let mut sim = pair();
    sim.kill(1);
    sim.run(300 * SECOND);
    let (whom, named) = (sim.identity(1), sim::address_of(9));
    let name = |sim: &mut Sim| {
        let now = sim.now;
        sim.mesh(0).connect(named, now);
        sim.mesh(0).peers.get(&whom).unwrap().calling.tries()
    };
    assert_eq!(name(&mut sim), 0);
    sim.run(60 * SECOND);
    assert!(name(&mut sim) > 0);
}

#[test]
fn more_addresses_than_are_listed_are_no_news_again() {
    let mut sim = pair();
    let many: Vec<SocketAddr> = (0..20).map(sim::address_of).collect();
    for _ in 0..3 {
        let now = sim.now;
        sim.mesh(0).set_addresses(many.clone(), now);
        sim.run(SECOND);
    }
    let first = sim.identity(0);
    let addresses = &sim.nodes[1].members[&first].addresses;
    assert_eq!((&addresses.addresses[..], addresses.version), (&many[..16], (1, 1)));
}
