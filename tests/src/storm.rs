//! Many containers at once: every one of them its own call of the plugin, all started together by one process of the host,
//! as a runtime starts them.
//!
//! Knows what a percentile is. Decides nothing about what is fast enough.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::{cni::Plugin, host::Host, stage::binary};

/// How long each call of one verb took.
#[derive(Debug, Clone)]
pub struct Storm {
    milliseconds: Vec<f64>,
    failures: Vec<String>,
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

    /// What those said that failed; nothing where they were killed.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// How many of the calls did not succeed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failures.len()
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

    /// Runs one verb for all of them at the same time; all have to succeed.
    pub fn storm(&self, plugin: Plugin, verb: &str, containers: usize) -> Result<Storm> {
        let storm = self.try_storm(plugin, verb, containers)?;
        ensure!(storm.failures.is_empty(), "{} of {containers} {verb}s failed: {:?}", storm.failed(), storm.failures);
        Ok(storm)
    }

    /// The same, whether or not all succeed.
    pub fn try_storm(&self, plugin: Plugin, verb: &str, containers: usize) -> Result<Storm> {
        self.run_storm(plugin, verb, containers, None)
    }

    /// The same, but each call is killed at its own moment within `within`; whoever is done by then is.
    pub fn storm_killed(&self, plugin: Plugin, verb: &str, containers: usize, within: Duration) -> Result<Storm> {
        self.run_storm(plugin, verb, containers, Some(within))
    }

    fn run_storm(&self, plugin: Plugin, verb: &str, containers: usize, within: Option<Duration>) -> Result<Storm> {
        let (probe, count) = (binary("probe")?.display().to_string(), containers.to_string());
        let within = within.map(|within| within.as_millis().to_string());
        let mut words = vec![probe.as_str(), "storm", verb, &count, plugin.path()];
        words.extend(within.as_deref());
        let begin = Instant::now();
        let said = self.run_with(&words, plugin.configuration().to_string().as_bytes())?.ok()?;
        let mut storm = Storm { milliseconds: Vec::new(), failures: Vec::new(), whole: begin.elapsed() };
        for line in said.lines() {
            let mut parts = line.splitn(3, ' ');
            let mut part = || parts.next().with_context(|| format!("not a storm's line: {line:?}"));
            storm.milliseconds.push(part()?.parse::<f64>()? / 1000.0);
            if part()? == "failed" {
                storm.failures.push(parts.next().unwrap_or_default().to_owned());
            }
        }
        ensure!(storm.milliseconds.len() == containers, "{} of {containers} {verb}s ended", storm.milliseconds.len());
        storm.milliseconds.sort_by(f64::total_cmp);
        Ok(storm)
    }

    fn each(&self, containers: usize, verb: &str) -> Result<()> {
        let script = "for n in $(seq 0 $0); do ip netns $1 s$n || exit 1; done";
        self.run(&["sh", "-c", script, &containers.saturating_sub(1).to_string(), verb])?.ok()?;
        Ok(())
    }
}
