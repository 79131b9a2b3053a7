//! Equal sums are equal rosters.

use proptest::collection::btree_map;
use proptest::prelude::*;

use super::*;

const SALT: Salt = [9; 16];

fn of<'a>(lines: impl IntoIterator<Item = (&'a Identity, &'a Hash)>) -> Sums {
    let mut sums = Sums::new();
    lines.into_iter().for_each(|(member, line)| sums.put(*member, *line));
    sums
}

fn differ(left: &mut Sums, right: &mut Sums) -> Vec<u8> {
    let (left, right) = (left.buckets(&SALT), right.buckets(&SALT));
    assert_eq!((left.len(), right.len()), (usize::from(BUCKETS), usize::from(BUCKETS)));
    (0..).zip(left.iter().zip(&right)).filter(|(_, (left, right))| left != right).map(|(number, _)| number).collect()
}

proptest! {
    #[test]
    fn only_what_is_known_counts(
        lines in btree_map(any::<[u8; 32]>().prop_map(Identity), any::<[u8; 32]>().prop_map(Hash), 1..60),
        changed in any::<prop::sample::Index>(),
    ) {
        let mut sums = of(&lines);
        // In whatever order it came, and whatever came before it.
        let (member, line) = lines.iter().nth(changed.index(lines.len())).unwrap();
        let mut other = of(lines.iter().rev());
        prop_assert_eq!(sums.whole(&SALT), other.whole(&SALT));
        let mut last = line.0;
        last[31] ^= 1;
        other.put(*member, Hash(last));
        prop_assert_ne!(sums.whole(&SALT), other.whole(&SALT));
        let bucket = bucket_of(*member);
        prop_assert_eq!(differ(&mut sums, &mut other), vec![bucket]);
        let (ours, theirs) = (sums.lines(1 << bucket, &SALT), other.lines(1 << bucket, &SALT));
        let whose: Vec<Identity> = ours.difference(&theirs).map(|(member, _)| *member).collect();
        prop_assert_eq!(whose, vec![*member]);
        other.put(*member, *line);
        prop_assert_eq!(sums.whole(&SALT), other.whole(&SALT));
        prop_assert_eq!(differ(&mut sums, &mut other), Vec::new());
    }

    #[test]
    fn every_line_is_in_its_bucket_and_in_no_other(
        lines in btree_map(any::<[u8; 32]>().prop_map(Identity), any::<[u8; 32]>().prop_map(Hash), 0..60),
    ) {
        let sums = of(&lines);
        let found: Vec<Identity> =
            (0..BUCKETS).flat_map(|number| sums.lines(1 << number, &SALT)).map(|(member, _)| member).collect();
        prop_assert_eq!(found, lines.into_keys().collect::<Vec<_>>());
        let lines = (sums.lines(0, &SALT).len(), sums.lines(u64::MAX, &SALT).len());
        prop_assert_eq!(lines, (0, sums.lines.len()));
    }
}

#[test]
fn what_two_see_under_one_salt_says_nothing_about_another() {
    let mut sums = of([(&Identity([1; 32]), &Hash([2; 32]))]);
    let seen: BTreeSet<Sum> = (0..100).map(|number| sums.whole(&[number; 16])).collect();
    assert_eq!(seen.len(), 100);
    assert_eq!(sums.buckets(&SALT).iter().collect::<BTreeSet<_>>().len(), 2, "all the empty ones are alike");
}
