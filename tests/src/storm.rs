//! Many containers at once: every one of them its own call of the plugin, all started together.
//!
//! Knows what a percentile is. Decides nothing about what is fast enough.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    cni::{Attachment, Plugin},
    host::Host,
};

/// How long each call of one verb took.
#[derive(Debug, Clone)]
pub struct Storm {
    milliseconds: Vec<f64>,
    whole: Duration,
}

impl Storm {
    /// What this part of a hundred calls did not exceed.
    #[must_use]
    pub fn percentile_ms(&self, part: usize) -> f64 {
        self.milliseconds.get(self.milliseconds.len() * part / 100).copied().unwrap_or_default()
    }

    /// Calls a second, the entering of the host included.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        let calls = u32::try_from(self.milliseconds.len()).unwrap_or(u32::MAX);
        f64::from(calls) / self.whole.as_secs_f64().max(f64::EPSILON)
    }
}

impl Host {
    /// The namespaces of this many containers.
    pub fn storm_begins(&self, containers: usize) -> Result<()> {
        self.each(containers, "add")
    }

    /// Takes them away again.
    pub fn storm_ends(&self, containers: usize) -> Result<()> {
        self.each(containers, "delete")
    }

    /// Runs one verb for all of them at the same time.
    pub fn storm(&self, plugin: Plugin, verb: &str, containers: usize) -> Result<Storm> {
        let one = |number: usize| {
            let (id, netns) = (format!("s{number}"), format!("/run/netns/s{number}"));
            self.time_cni(plugin, verb, Attachment { container: &id, netns: &netns, arguments: "" })
        };
        let begin = Instant::now();
        let took: Vec<Result<String>> = thread::scope(|scope| {
            let calls: Vec<_> = (0..containers).map(|number| scope.spawn(move || one(number))).collect();
            calls.into_iter().filter_map(|call| call.join().ok()).collect()
        });
        let whole = begin.elapsed();
        let milliseconds = took.into_iter().map(|text| Ok(text?.trim().parse::<f64>()? / 1000.0));
        let mut milliseconds = milliseconds.collect::<Result<Vec<_>>>()?;
        ensure!(milliseconds.len() == containers, "{} of {containers} {verb}s ended", milliseconds.len());
        milliseconds.sort_by(f64::total_cmp);
        Ok(Storm { milliseconds, whole })
    }

    fn each(&self, containers: usize, verb: &str) -> Result<()> {
        let script = "for n in $(seq 0 $0); do ip netns $1 s$n || exit 1; done";
        self.run(&["sh", "-c", script, &containers.saturating_sub(1).to_string(), verb])?.ok()?;
        Ok(())
    }
}
