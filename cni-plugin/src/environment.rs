//! The environment variables that a runtime sets.
//!
//! Owns which of them a verb needs and how they are written (CNI 1.1, section 2). Reads nothing itself: it is given a
//! way to look a variable up.

use std::ffi::OsString;

use crate::fault::{Code, Fault};

/// What the runtime wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Del,
    Check,
    Gc,
    Status,
    Version,
}

/// The variables, checked; one that is empty counts as one that is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) container_id: Option<String>,
    pub(crate) netns: Option<String>,
    pub(crate) ifname: Option<String>,
    /// `CNI_ARGS`, not looked into yet.
    pub(crate) args: Option<String>,
}

/// How to look a variable up.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Verb {
    /// The verb of `CNI_COMMAND`; nothing when there is none, as when a person tries the program out.
    pub(crate) fn of(lookup: Lookup<'_>) -> Result<Option<Self>, Fault> {
        let Some(command) = value(lookup, "CNI_COMMAND")? else {
            return Ok(None);
        };
        let verb = match command.as_str() {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "VERSION" => Self::Version,
            _ => return Err(Fault::new(Code::Environment, format!("unknown CNI_COMMAND: {command}"))),
        };
        Ok(Some(verb))
    }

    fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Gc | Self::Status | Self::Version => &[],
        }
    }
}

impl Environment {
    /// The variables that `verb` has. First what is wrong with one, then all that are missing.
    pub(crate) fn of(verb: Verb, lookup: Lookup<'_>) -> Result<Self, Fault> {
        if verb.needs().is_empty() {
            return Ok(Self::default());
        }
        // DEL goes by the host's end: it does not stumble over what it does not need.
        let unless_del = |name| if verb == Verb::Del { Ok(None) } else { value(lookup, name) };
        let environment = Self {
            container_id: value(lookup, "CNI_CONTAINERID")?,
            netns: unless_del("CNI_NETNS")?,
            ifname: value(lookup, "CNI_IFNAME")?,
            args: unless_del("CNI_ARGS")?,
        };
        if let Some(id) = environment.container_id.as_deref().filter(|id| !is_identifier(id)) {
            return Err(Fault::new(Code::Environment, format!("invalid CNI_CONTAINERID {id:?}"))
                .with_details("it begins with a letter or digit; letters, digits, '_', '.' and '-' follow"));
        }
        if let Some(ifname) = environment.ifname.as_deref().filter(|ifname| !is_interface_name(ifname)) {
            return Err(Fault::new(Code::Environment, format!("invalid CNI_IFNAME {ifname:?}")).with_details(
                "1 to 15 bytes, no '/', ':', '%' or white space, and not '.', '..', 'all' or 'default'",
            ));
        }
        let missing: Vec<_> = verb.needs().iter().copied().filter(|name| environment.lacks(name)).collect();
        if missing.is_empty() {
            return Ok(environment);
        }
        Err(Fault::new(Code::Environment, format!("required env variables [{}] missing", missing.join(","))))
    }

    fn lacks(&self, name: &str) -> bool {
        match name {
            "CNI_CONTAINERID" => self.container_id.is_none(),
            "CNI_NETNS" => self.netns.is_none(),
            _ => self.ifname.is_none(),
        }
    }
}

/// What may name a container or a network: it becomes part of other names.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// What the kernel takes for the name of an interface.
fn is_interface_name(text: &str) -> bool {
    // IFNAMSIZ is 16 with the zero at the end.
    // It fills in a number for "%d", and "all" and "default" are folders beside those of the interfaces (sysctl).
    let forbidden = |letter: char| matches!(letter, '/' | ':' | '%') || letter.is_whitespace() || letter.is_control();
    (1..=15).contains(&text.len()) && !matches!(text, "." | ".." | "all" | "default") && !text.chars().any(forbidden)
}

fn value(lookup: Lookup<'_>, name: &str) -> Result<Option<String>, Fault> {
    match lookup(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(Err(_)) => Err(Fault::new(Code::Environment, format!("{name} is not UTF-8"))),
    }
}
