//! The best address comes first, every address has its turn, and none that cannot be called.

use super::*;

fn addresses<const N: usize>(texts: [&str; N]) -> [SocketAddr; N] {
    texts.map(|text| text.parse().unwrap())
}

fn path() -> Path {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; no test looks at it")]
    Path::new(Instant::now())
}

#[test]
fn every_address_has_its_turn_best_first() {
    let [here, one, two, seen, named] =
        addresses(["10.0.0.1:1", "10.0.0.2:2", "[2001:db8::2]:2", "10.0.0.3:3", "10.0.0.4:4"]);
    let mut path = path();
    assert_eq!(path.next(&[]), None);
    path.list(&[one, two]);
    path.hint(seen);
    assert!(path.follow(here) && !path.follow(here));
    let turns: Vec<_> = (0..6).filter_map(|_| path.next(&[named])).collect();
    assert_eq!(turns, [here, one, two, seen, named, here]);
    path.restart();
    assert_eq!((path.next(&[named]), path.choices(&[named])), (Some(here), 5));
}

#[test]
fn addresses_that_cannot_be_called_are_left_out() {
    let wrong = addresses(["0.0.0.0:6783", "[::]:6783", "224.0.0.1:6783", "[ff02::1]:6783", "10.0.0.1:0"]);
    let mut path = path();
    path.list(&wrong);
    assert_eq!(path.next(&wrong), None);
}

#[test]
fn a_mapped_address_is_the_address_it_maps() {
    let [mapped, plain_one, six] = addresses(["[::ffff:10.0.0.1]:5", "10.0.0.1:5", "[2001:db8::1]:5"]);
    assert_eq!((plain(mapped), plain(plain_one), plain(six)), (plain_one, plain_one, six));
    let mut path = path();
    path.list(&[mapped, plain_one]);
    assert_eq!(path.choices(&[]), 1);
}

#[test]
fn the_listening_address_of_the_host_where_the_peer_is_is_dialled_first() {
    let [elsewhere, listening, source] = addresses(["10.0.0.9:6783", "10.0.0.1:6783", "10.0.0.1:50000"]);
    let mut path = path();
    path.list(&[elsewhere, listening]);
    path.follow(source);
    assert_eq!([0, 1, 2, 3].map(|attempt| path.dial(attempt, &[]).unwrap()), [listening, source, elsewhere, listening]);
}
