//! STATUS: would an ADD work?

use crate::config::Place;
use crate::fault::{Code, Fault};
use crate::router;

/// Asks the router. Whatever keeps it from answering would keep it from giving a lease.
pub(crate) fn status(place: &Place) -> Result<(), Fault> {
    let answer = router::call(place, router::STATUS_WITHIN, |client| client.ready());
    answer.map_err(|wrong| Fault { code: Code::NotAvailable, ..wrong.into() })
}
