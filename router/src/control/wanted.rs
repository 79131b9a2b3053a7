//! Which address and MAC a request insists on.
//!
//! Decides whether all ways of saying so mean one place in the pool. Knows nothing of who has it.

use std::net::Ipv4Addr;

use control_api::{ApiError, ErrorKind, LeaseRequest};
use ipam::ClaimError;
use wire::{Mac, Network};

use super::views;

/// The address a request insists on, in whichever way it says so. All ways it uses must mean one slot.
pub(super) fn address(network: &Network, request: &LeaseRequest) -> Result<Option<Ipv4Addr>, ApiError> {
    let mut wanted = request.address.map(|address| (address.to_string(), address));
    // A MAC that names no place goes with any.
    let named = request.mac.as_deref().and_then(|mac| Some((mac.to_owned(), network.slot_of_mac(mac.parse().ok()?)?)));
    let others = [
        request.address6.map(|address6| (address6.to_string(), network.slot_of6(address6))),
        named.map(|(mac, slot)| (mac, Some(slot))),
    ];
    for (text, slot) in others.into_iter().flatten() {
        let Some(slot) = slot else { return Err(not_of_a_slot(network, &text)) };
        let address = network.address(slot);
        if !network.is_assignable(slot) {
            let reserved = ClaimError::Reserved { wanted: address };
            return Err(ApiError::new(ErrorKind::Invalid, format!("{text} cannot be had: {reserved}"))
                .with_remedy(ask_for_one_of(network)));
        }
        match &wanted {
            Some((first, other)) if *other != address => {
                let why = format!("{first} and {text} are not of one place in the pool: {text} goes with {address}");
                return Err(ApiError::new(ErrorKind::Invalid, why).with_remedy("ask for one of them only"));
            }
            Some(_) => {}
            None => wanted = Some((text, address)),
        }
    }
    Ok(wanted.map(|(_, address)| address))
}

fn not_of_a_slot(network: &Network, text: &str) -> ApiError {
    let why = format!("{text} is not an address of network {:?}", network.name);
    ApiError::new(ErrorKind::Invalid, why).with_remedy(ask_for_one_of(network))
}

fn ask_for_one_of(network: &Network) -> String {
    let six = network.pool6.map_or_else(String::new, |pool| format!(" or {pool}"));
    format!("ask for an address of {}{six}", views::pools(std::slice::from_ref(network)))
}

/// Reads a MAC.
pub(super) fn mac(text: &str) -> Result<Mac, ApiError> {
    let wrong = |_| ApiError::new(ErrorKind::Invalid, format!("{text:?} is no MAC"));
    text.parse().map_err(|error: wire::ParseHexError| wrong(error).with_remedy("write it like 0a:00:5e:00:53:01"))
}
