//! `CNI_ARGS`: `KEY=VALUE;KEY=VALUE`.
//!
//! Owns which keys are known. Values that have a better place elsewhere are left unread here.

use crate::fault::{Code, Fault};

/// The keys we know, as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) ip: Option<String>,
    pub(crate) mac: Option<String>,
    pub(crate) workload: Option<String>,
    pub(crate) take_over: Option<bool>,
    pod_namespace: Option<String>,
    pod_name: Option<String>,
}

impl Arguments {
    /// Takes the pairs apart. A key that nobody knows is an error unless `IgnoreUnknown` says otherwise.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Fault> {
        let mut arguments = Self::default();
        let mut unknown = Vec::new();
        let mut ignore_unknown = false;
        for pair in text.into_iter().flat_map(|text| text.split(';')) {
            let (key, value) = halves(pair)?;
            let value = value.to_owned();
            match key {
                "IP" => arguments.ip = not_empty(value),
                "MAC" => arguments.mac = not_empty(value),
                "RADDLE_WORKLOAD" => arguments.workload = Some(value),
                "RADDLE_TAKE_OVER" => arguments.take_over = Some(truth(key, &value)?),
                "K8S_POD_NAMESPACE" => arguments.pod_namespace = not_empty(value),
                "K8S_POD_NAME" => arguments.pod_name = not_empty(value),
                "K8S_POD_INFRA_CONTAINER_ID" | "K8S_POD_UID" => {}
                "IgnoreUnknown" => ignore_unknown = truth(key, &value)?,
                _ => unknown.push(pair),
            }
        }
        if unknown.is_empty() || ignore_unknown {
            return Ok(arguments);
        }
        Err(Fault::new(Code::Environment, format!("CNI_ARGS: unknown args {unknown:?}"))
            .with_details("IgnoreUnknown=1 lets them pass"))
    }

    /// `NAMESPACE/NAME` from Kubernetes, `NAME` from podman.
    pub(crate) fn pod(&self) -> Option<String> {
        let name = self.pod_name.as_deref()?;
        Some(match &self.pod_namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        })
    }
}

fn halves(pair: &str) -> Result<(&str, &str), Fault> {
    let bad = || Fault::new(Code::Environment, format!("CNI_ARGS: {pair:?} is not KEY=VALUE"));
    pair.split_once('=').filter(|(_, value)| !value.contains('=')).ok_or_else(bad)
}

fn not_empty(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

fn truth(key: &str, value: &str) -> Result<bool, Fault> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Fault::new(Code::Environment, format!("CNI_ARGS: {key}={value} is neither true nor false"))),
    }
}

#[cfg(test)]
mod tests;
