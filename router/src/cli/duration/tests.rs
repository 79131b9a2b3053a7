use super::*;

#[test]
fn units_add_up() {
    for (text, seconds) in
        [("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("2d", 172_800), ("1d1h1m1s", 90_061), ("0h5m", 300)]
    {
        assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
}

#[test]
fn what_is_no_duration_is_refused_with_the_text() {
    for text in [
        "",
        "0s",
        "5",
        "s",
        "-1s",
        "+1s",
        "1.5h",
        "1m1h",
        "1h1h",
        "1h ",
        "1w",
        "99999999999999999999d",
        "213503982334602d",
        "3651d",
    ] {
        assert_eq!(parse(text), Err(DurationError { text: text.to_owned() }), "{text}");
    }
}

#[test]
fn times_are_shown_with_two_units_at_most() {
    for (seconds, shown) in [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (3601, "1h"),
        (11_520, "3h 12m"),
        (90_061, "1d 1h"),
        (u64::MAX, "213503982334601d 7h"),
    ] {
        assert_eq!(readable(seconds), shown);
    }
}
