//! How large datagrams may be, found out between whole meshes.

use super::*;

#[test]
fn what_a_path_carries_is_found_out_and_shows_in_the_plan() {
    let large = Config { underlay_mtu_bytes: 9000, ..Config::default() };
    let mut sim = Sim::new(1, &[]);
    sim.weather.carries = 1472;
    for number in [0, 1] {
        sim.add(1, number, &[0, 1], large.clone());
    }
    let shown = |sim: &mut Sim| {
        let now = sim.now;
        let mesh = sim.mesh(0);
        (mesh.plan().peers[0].datagram_bytes, mesh.peers(now)[0].mtu_bytes, mesh.smallest_path())
    };
    sim.run_while(SECOND, |sim| !sim.all_up());
    assert_eq!(shown(&mut sim), (1200, 1228, None));
    sim.run(20 * SECOND);
    assert_eq!(shown(&mut sim), (1472, 1500, Some(1472)));
    sim.weather.carries = 8972;
    sim.run(20 * SECOND);
    assert_eq!(shown(&mut sim), (8972, 9000, Some(8972)));
    // A middle that becomes narrow matters to who sends.
    sim.weather.carries = 1400;
    sim.run(20 * SECOND);
    assert_eq!(shown(&mut sim).0, 8972);
    for _ in 0..20 {
        let now = sim.now;
        sim.mesh(0).handle_traffic(PeerIndex(0), 1_000_000, 1, now);
        sim.run(SECOND);
    }
    assert_eq!(shown(&mut sim), (1392, 1420, Some(1392)));
}

#[test]
fn ends_that_take_more_or_less_later_are_followed() {
    let mut sim = Sim::new(2, &[&[0, 1], &[0, 1]]);
    sim.run_while(SECOND, |sim| !sim.all_up());
    sim.run(20 * SECOND);
    for (mtu_bytes, at_once, later) in [(9000, 1472, 8972), (4000, 1200, 3972), (1500, 1200, 1472), (1500, 1472, 1472)]
    {
        for number in [0, 1] {
            let (now, is_news) = (sim.now, later != at_once);
            assert_eq!(sim.mesh(number).set_underlay_mtu(mtu_bytes, now), is_news);
        }
        assert_eq!(sim.mesh(0).plan().peers[0].datagram_bytes, at_once, "{mtu_bytes}");
        sim.run(2 * SECOND);
        assert_eq!((sim.mesh(0).plan().peers[0].datagram_bytes, sim.mesh(0).smallest_path()), (later, Some(later)));
    }
}
