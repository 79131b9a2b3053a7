use super::*;

#[test]
fn every_decoder_understands_its_examples() {
    let examples = all();
    for (name, decode) in DECODERS {
        let mut own = examples.iter().filter(|(format, ..)| *format == name).peekable();
        assert!(own.peek().is_some(), "no example of {name}");
        for (_, example, bytes) in own {
            let again = decode(bytes).unwrap_or_else(|| panic!("{name}/{example} is not understood"));
            assert_eq!(decode(&again).as_ref(), Some(&again), "{name}/{example}");
            // What a newer version appends is read over, all else is kept.
            assert!(again == *bytes || *example == "more", "{name}/{example}");
        }
    }
}
