//! Who is called what, also when two are called alike.

use super::*;

#[test]
fn two_of_one_name_are_told_apart_until_one_is_revoked() {
    let (one, two, other) = (Identity([1; 32]), Identity([2; 32]), Identity([3; 32]));
    let mut members = Members::default();
    for (identity, name) in [(one, "debian"), (other, "host3"), (two, "debian")] {
        assert!(members.admit(identity, name.parse().ok()));
    }
    let label = |members: &Members, identity| members.label(identity).to_string();
    assert_eq!(label(&members, one), "debian~0101010101");
    assert_eq!(label(&members, two), "debian~0202020202");
    assert_eq!(label(&members, other), "host3");
    members.revoke(&BTreeSet::from([two]), &BTreeSet::new());
    assert_eq!(label(&members, one), "debian");
}
