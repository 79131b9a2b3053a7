//! Draws the answer of `token list`.

use control_api::{TokenState, TokenView, Tokens};

use super::print::{Lean, table};

pub(super) fn text(answer: &Tokens) -> String {
    let columns = [("ID", Lean::Left), ("STATE", Lean::Left), ("USES", Lean::Right), ("EXPIRES", Lean::Right)];
    table(columns, answer.tokens.iter().map(row))
}

fn row(token: &TokenView) -> [String; 4] {
    let (state, expires) = match token.state {
        TokenState::Live => ("live", super::duration::readable(token.expires_s)),
        TokenState::Used => ("used", "-".to_owned()),
        TokenState::Expired => ("expired", "-".to_owned()),
        TokenState::Unknown => ("unknown", "-".to_owned()),
    };
    [token.id.clone(), state.to_owned(), token.uses.to_string(), expires]
}
