//! The CNI versions this plugin speaks.
//!
//! Owns what differs between them. Knows nothing of networks.

use crate::fault::{Code, Fault};

/// A version of the specification; a later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

impl Version {
    pub(crate) const ALL: [Self; 5] = [Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];
    pub(crate) const NEWEST: Self = Self::V1_1_0;

    /// As configurations name it. They must name it exactly: "1.0" is not "1.0.0".
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or_else(|| {
            Fault::new(Code::Version, "incompatible CNI versions").with_details(format!(
                "the configuration's cniVersion is {text:?}, this plugin speaks {}",
                Self::ALL.map(Self::as_str).join(", ")
            ))
        })
    }

    /// `ips[].version` is gone since 1.0.0.
    pub(crate) fn numbers_ips(self) -> bool {
        self < Self::V1_0_0
    }

    /// `interfaces[].mtu` came with 1.1.0.
    pub(crate) fn tells_mtu(self) -> bool {
        self >= Self::V1_1_0
    }
}
