use super::*;

#[test]
fn bytes_are_shown_with_three_figures_at_most() {
    for (count, shown) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (102_399, "99.9 KiB"),
        (102_400, "100 KiB"),
        (1_048_575, "1023 KiB"),
        (1_048_576, "1.0 MiB"),
        (5_000_000_000, "4.6 GiB"),
        (u64::MAX, "15.9 EiB"),
    ] {
        assert_eq!(bytes(count), shown, "{count}");
    }
}

#[test]
fn nothing_from_elsewhere_steers_the_terminal() {
    assert_eq!(plain("web\u{1b}[2J\n\u{202e}gnp"), "web\\u{1b}[2J\\u{a}\\u{202e}gnp");
    assert_eq!(plain("größe/веб"), "größe/веб");
}

#[test]
fn a_table_has_no_lines_and_no_trailing_blanks() {
    let columns = [("NAME", Lean::Left), ("BYTES", Lean::Right)];
    let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "1000000".to_owned()]];
    assert_eq!(table(columns, rows), "NAME      BYTES\na             1\nlonger  1000000\n");
    assert_eq!(table(columns, []), "NAME  BYTES\n");
}
