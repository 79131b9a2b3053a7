//! What the demo measured, and how it is told.

use serde_json::{Value, json};

/// What was measured.
pub(crate) struct Figures {
    pub(crate) address_before: String,
    pub(crate) address_after: String,
    pub(crate) mac_before: String,
    pub(crate) mac_after: String,
    pub(crate) fetches: u64,
    pub(crate) failed_fetches: u64,
    pub(crate) gap_ms: u64,
    pub(crate) engine_ms: u64,
    pub(crate) live: Result<Live, String>,
    pub(crate) sealed_bytes: u64,
    pub(crate) plaintext_found: usize,
    pub(crate) throughput_gbps: f64,
}

/// What was measured of a process that moved with its connection.
pub(crate) struct Live {
    pub(crate) gap_ms: u64,
    pub(crate) engine_ms: u64,
    pub(crate) numbers: u64,
}

impl Figures {
    /// One object; the field names are an interface.
    pub(crate) fn json(&self) -> Value {
        let live = match &self.live {
            Ok(live) => json!({"gap_ms": live.gap_ms, "engine_ms": live.engine_ms, "numbers": live.numbers}),
            Err(reason) => json!({"not_here": reason}),
        };
        json!({
            "address_before": self.address_before,
            "address_after": self.address_after,
            "mac_before": self.mac_before,
            "mac_after": self.mac_after,
            "gap_ms": self.gap_ms,
            "failed_fetches": self.failed_fetches,
            "fetches": self.fetches,
            "engine_ms": self.engine_ms,
            "live": live,
            "encrypted_bytes": self.sealed_bytes,
            "plaintext_found": self.plaintext_found,
            "throughput_gbps": self.throughput_gbps,
        })
    }

    /// The same for a person.
    pub(crate) fn text(&self) -> String {
        let live = match &self.live {
            Ok(live) => format!(
                "{} ms between two numbers of one connection (podman needs {} ms), {} in sequence",
                live.gap_ms, live.engine_ms, live.numbers
            ),
            Err(reason) => format!("not on this machine: {reason}"),
        };
        format!(
            "
  address of web    {} before, {} after
  MAC of web        {} before, {} after
  fetches           {} in all, {} failed
  gap, cold move    {} ms between two good fetches (podman needs {} ms of it)
  gap, live move    {live}
  on the underlay   {} bytes encrypted, plaintext found {} times
  throughput        {:.2} Gbit/s, container to container, host 3 to host 1",
            self.address_before,
            self.address_after,
            self.mac_before,
            self.mac_after,
            self.fetches,
            self.failed_fetches,
            self.gap_ms,
            self.engine_ms,
            self.sealed_bytes,
            self.plaintext_found,
            self.throughput_gbps
        )
    }
}
