//! What goes wrong, as CNI tells it: a code, a sentence, details.
//!
//! Owns which failure has which code. Knows nothing of how it is written out.

use control_api::spool::SpoolError;
use control_api::{ApiError, ClientError, ErrorKind};
use hostnet::NetlinkError;
use hostnet::netns::{EnterNetnsError, OpenNetnsError};
use hostnet::veth::{AttachError, DetachError};

/// The codes of the specification, and from 101 on our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The configuration's version, or a verb that it does not have.
    Version = 1,
    /// A key of the configuration whose value we do not support.
    Unsupported = 2,
    /// The container is not there; the runtime need not clean up.
    UnknownContainer = 3,
    /// An environment variable.
    Environment = 4,
    /// Reading or writing.
    InputOutput = 5,
    /// The configuration is not JSON, or a key has a value of the wrong type.
    Decode = 6,
    /// The configuration does not make sense.
    Config = 7,
    /// `CNI_NETNS` is not a network namespace, or is the host's own.
    Netns = 8,
    /// It may work later.
    TryAgain = 11,
    /// STATUS: an ADD would fail.
    NotAvailable = 50,
    /// STATUS: an ADD would fail, and containers that are attached suffer too.
    Impaired = 51,
    /// The container already has an interface of that name.
    InterfaceExists = 101,
    /// The address wanted is somebody else's.
    AddressTaken = 102,
    /// No address is left.
    Exhausted = 103,
    /// The attachment already exists.
    Duplicate = 104,
    /// The host's side of the network is not as it must be.
    DataPath = 105,
    /// CHECK: something is not as ADD left it.
    Changed = 106,
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) details: Option<String>,
    /// The code of another plugin's error, which is passed on as it is.
    pub(crate) foreign: Option<u32>,
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None, foreign: None }
    }

    /// The code as it is told.
    pub(crate) fn number(&self) -> u32 {
        self.foreign.unwrap_or(self.code as u32)
    }

    pub(crate) fn with_details(self, details: impl Into<String>) -> Self {
        Self { details: Some(details.into()), ..self }
    }

    /// A router that is not ready yet is to be asked again; codes 50 and 51 are for STATUS alone.
    pub(crate) fn outside_status(self) -> Self {
        let for_status = matches!(self.code, Code::NotAvailable | Code::Impaired);
        if for_status { Self { code: Code::TryAgain, ..self } } else { self }
    }

    /// With the errors behind an error as details: an error of ours does not repeat its source.
    fn caused(code: Code, wrong: &dyn std::error::Error) -> Self {
        let mut causes = Vec::new();
        let mut next = wrong.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        let fault = Self::new(code, wrong.to_string());
        if causes.is_empty() { fault } else { fault.with_details(causes.join(": ")) }
    }
}

impl From<OpenNetnsError> for Fault {
    fn from(wrong: OpenNetnsError) -> Self {
        let code = match wrong {
            OpenNetnsError::Missing { .. } => Code::UnknownContainer,
            OpenNetnsError::NotANamespace { .. } | OpenNetnsError::Own { .. } | OpenNetnsError::Unreadable { .. } => {
                Code::Netns
            }
        };
        Self::caused(code, &wrong)
    }
}

impl From<EnterNetnsError> for Fault {
    fn from(wrong: EnterNetnsError) -> Self {
        Self::caused(Code::Netns, &wrong)
    }
}

impl From<NetlinkError> for Fault {
    fn from(wrong: NetlinkError) -> Self {
        Self::caused(Code::DataPath, &wrong)
    }
}

impl From<AttachError> for Fault {
    fn from(wrong: AttachError) -> Self {
        let code = match wrong {
            AttachError::InterfaceExists { .. } => Code::InterfaceExists,
            AttachError::HostInterfaceExists { .. } => Code::Duplicate,
            AttachError::Enter(_) => Code::Netns,
            AttachError::NoIpv6 { .. } | AttachError::Route { .. } => Code::Config,
            AttachError::NoBridge { .. }
            | AttachError::Blocked { .. }
            | AttachError::Vanished { .. }
            | AttachError::Address { .. }
            | AttachError::Sysctl { .. }
            | AttachError::Netlink(_) => Code::DataPath,
        };
        Self::caused(code, &wrong)
    }
}

impl From<DetachError> for Fault {
    fn from(wrong: DetachError) -> Self {
        let code = match wrong {
            DetachError::Foreign { .. } | DetachError::Netlink(_) => Code::DataPath,
        };
        Self::caused(code, &wrong)
    }
}

impl From<SpoolError> for Fault {
    fn from(wrong: SpoolError) -> Self {
        Self::caused(Code::InputOutput, &wrong)
    }
}

impl From<ClientError> for Fault {
    fn from(wrong: ClientError) -> Self {
        match wrong {
            ClientError::Unreachable { .. } | ClientError::TimedOut { .. } => {
                let fault = Self::caused(Code::TryAgain, &wrong);
                let said = fault.details.clone().map(|said| format!("{said}; ")).unwrap_or_default();
                fault.with_details(format!("{said}is the router running? look with `raddle status`"))
            }
            ClientError::RequestTooLong { .. } => Self::caused(Code::Config, &wrong),
            ClientError::Protocol { .. } => Self::caused(Code::DataPath, &wrong),
            ClientError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<ApiError> for Fault {
    fn from(refusal: ApiError) -> Self {
        let code = match refusal.code {
            ErrorKind::TryAgain | ErrorKind::Held | ErrorKind::ReadOnly => Code::TryAgain,
            ErrorKind::Taken => Code::AddressTaken,
            ErrorKind::Exhausted => Code::Exhausted,
            ErrorKind::Duplicate => Code::Duplicate,
            ErrorKind::Invalid | ErrorKind::Unknown => Code::Config,
            ErrorKind::NotReady => Code::NotAvailable,
            ErrorKind::Impaired => Code::Impaired,
            ErrorKind::Internal => Code::DataPath,
        };
        Self { code, message: refusal.message, details: refusal.remedy, foreign: None }
    }
}
