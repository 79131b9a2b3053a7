//! STATUS: would an ADD work?

use control_api::Client;

use crate::fault::{Code, Fault};
use crate::request::Status;
use crate::router;

/// Asks the router. Whatever keeps it from answering would keep it from giving a lease; that what is attached suffers too is
/// only for itself to say.
pub(crate) fn status(status: &Status) -> Result<(), Fault> {
    let Status { place, masquerade } = status;
    let question = |client: &mut Client| client.ready(place.network.clone(), *masquerade);
    let answer = router::call(place, router::STATUS_WITHIN, question);
    answer.map_err(|wrong| match Fault::from(wrong) {
        impaired @ Fault { code: Code::Impaired, .. } => impaired,
        other => Fault { code: Code::NotAvailable, ..other },
    })
}
