//! A token is read as it was written, and only whole.

use proptest::prelude::*;

use super::*;

fn token(cluster: [u8; 32], id: [u8; 8], secret: [u8; 32]) -> Token {
    Token { cluster: ClusterId(cluster), id: TokenId(id), secret: Secret::new(secret) }
}

proptest! {
    #[test]
    fn a_token_survives_its_text(cluster in any::<[u8; 32]>(), id in any::<[u8; 8]>(), secret in any::<[u8; 32]>()) {
        let text = token(cluster, id, secret).to_string();
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
        let back: Token = format!(" {text}\n").parse().unwrap();
        prop_assert_eq!((back.cluster, back.id, *back.secret.bytes()), (ClusterId(cluster), TokenId(id), secret));
    }

    #[test]
    fn a_changed_token_is_damaged(at in 7usize..120, to in "[a-z2-7]") {
        let mut text = token([1; 32], [2; 8], [3; 32]).to_string();
        prop_assume!(text[at..=at] != to);
        text.replace_range(at..=at, &to);
        prop_assert_eq!(text.parse::<Token>().err(), Some(ParseTokenError::Damaged));
    }

    #[test]
    fn any_text_is_a_token_or_an_error(text in "(raddle1)?\\PC{0,140}") {
        let _ = text.parse::<Token>();
    }
}

#[test]
fn a_token_shows_no_secret() {
    let token = token([1; 32], [2; 8], [0xab; 32]);
    assert_eq!(format!("{token:?}"), "Token { cluster: ClusterId(0101010101), id: TokenId(0202020202020202), .. }");
}
