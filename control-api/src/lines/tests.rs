use proptest::prelude::*;

use super::*;

#[test]
fn a_line_may_be_as_long_as_the_bound_and_no_longer() {
    let mut lines = Lines::new(3);
    lines.handle_bytes(b"abc\nabcd");
    assert_eq!(lines.poll_line(), Ok(Some(b"abc".to_vec())));
    assert_eq!(lines.poll_line(), Err(LineTooLong { longest: 3 }));
}

#[test]
fn an_unfinished_line_waits() {
    let mut lines = Lines::new(10);
    lines.handle_bytes(b"ab");
    assert_eq!(lines.poll_line(), Ok(None));
    assert!(!lines.is_empty());
    lines.handle_bytes(b"c\n\n");
    assert_eq!(lines.poll_line(), Ok(Some(b"abc".to_vec())));
    assert_eq!(lines.poll_line(), Ok(Some(Vec::new())));
    assert!(lines.is_empty());
}

proptest! {
    #[test]
    fn how_the_bytes_arrive_makes_no_difference(
        written in prop::collection::vec(prop::collection::vec(any::<u8>().prop_filter("newline", |byte| *byte != b'\n'), 0..20), 0..10),
        piece in 1..17_usize,
    ) {
        let stream: Vec<u8> = written.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect();
        let mut lines = Lines::new(20);
        let mut read = Vec::new();
        for bytes in stream.chunks(piece) {
            lines.handle_bytes(bytes);
            while let Some(line) = lines.poll_line().unwrap() {
                read.push(line);
            }
        }
        prop_assert_eq!(read, written);
    }
}
