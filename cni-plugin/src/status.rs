//! STATUS: would an ADD work?

use crate::config::Place;
use crate::fault::{Code, Fault};
use crate::router;

/// Asks the router. Whatever keeps it from answering would keep it from giving a lease; that what is attached suffers too is
/// only for itself to say.
pub(crate) fn status(place: &Place) -> Result<(), Fault> {
    let answer = router::call(place, router::STATUS_WITHIN, |client| client.ready());
    answer.map_err(|wrong| match Fault::from(wrong) {
        impaired @ Fault { code: Code::Impaired, .. } => impaired,
        other => Fault { code: Code::NotAvailable, ..other },
    })
}
