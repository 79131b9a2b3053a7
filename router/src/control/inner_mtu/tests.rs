use super::*;

#[test]
fn it_is_what_the_smallest_path_and_the_own_end_leave() {
    let mut mtu = InnerMtu::new(None, 8914);
    assert_eq!(mtu.bytes(), 8914);
    for (path, expected) in [(None, 8914), (Some(8972), 8914), (Some(1472), 1414), (Some(1200), 1280), (None, 8914)] {
        let before = mtu.bytes();
        assert_eq!(mtu.follow(path), before != expected);
        assert_eq!(mtu.bytes(), expected);
    }
}

#[test]
fn a_larger_path_than_the_own_end_changes_nothing() {
    let mut mtu = InnerMtu::new(None, 1414);
    assert!(!mtu.follow(Some(8972)));
}

#[test]
fn a_fixed_one_follows_nothing() {
    let mut mtu = InnerMtu::new(Some(1300), 1414);
    assert!(!mtu.follow(Some(1200)) && !mtu.follow(None));
    assert_eq!(mtu.bytes(), 1300);
}

#[test]
fn an_own_end_that_takes_more_later_is_followed() {
    let mut mtu = InnerMtu::new(None, 1414);
    assert!(mtu.set_here(8914) && !mtu.set_here(8914));
    assert!(!mtu.follow(Some(1472)) && mtu.follow(Some(8972)));
    assert_eq!(mtu.bytes(), 8914);
    assert!(mtu.set_here(1414) && mtu.follow(Some(8972)));
    assert_eq!(mtu.bytes(), 1414);
}
