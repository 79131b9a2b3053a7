//! A process in the background of a host: its log, its signals, its end.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{command::run, host::Host, wait::until};

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    host: Host,
    name: String,
    pid: u32,
    log: PathBuf,
    /// Where in the log this process begins: earlier ones of the same name wrote before.
    begin: usize,
    entered: Child,
}

impl Process {
    pub(crate) fn start(host: &Host, name: &str, environment: &[(&str, &str)], words: &[&str]) -> Result<Self> {
        let log = host.home().join("log").join(name);
        let pid_file = host.home().join(format!("{name}.pid"));
        let _ = fs::remove_file(&pid_file);
        let file = fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let begin = usize::try_from(file.metadata()?.len())?;
        let mut command = host.enter();
        command.envs(environment.iter().copied());
        command
            .args(["sh", "-c", "echo $$ > \"$0.new\" && mv \"$0.new\" \"$0\" && exec \"$@\""])
            .arg(&pid_file)
            .args(words);
        // A process group of its own: Ctrl-C is for the owner of the stage, whose janitor then ends all of it.
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let entered = command.spawn().with_context(|| format!("starting {name} on {}", host.name()))?;
        let pid = until(&format!("{name} starts"), START, || match fs::read_to_string(&pid_file) {
            Ok(text) => Ok(Some(text.trim().parse()?)),
            Err(_) => Ok(None),
        })?;
        Ok(Self { host: host.clone(), name: name.to_owned(), pid, log, begin, entered })
    }

    /// Its process id, as the host sees it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal by name (`KILL`, `INT`, `STOP`).
    pub fn signal(&self, name: &str) -> Result<()> {
        self.host.run(&["kill", &format!("-{name}"), &self.pid.to_string()])?.ok()?;
        Ok(())
    }

    /// Lets it go on after `STOP`.
    pub fn go_on(&self) -> Result<()> {
        // nsenter stops when what it has started stops.
        let mut entered = Command::new("kill");
        entered.args(["-CONT", &self.entered.id().to_string()]);
        run(entered, b"")?.ok()?;
        self.signal("CONT")
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        if self.entered.try_wait()?.is_none() {
            // It may end by itself meanwhile; if it does not, the wait says so.
            let _ = self.signal("KILL");
        }
        self.wait(START)?;
        Ok(())
    }

    /// Waits for its end and returns the exit status; `None` after a signal.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<i32>> {
        let status = until(&format!("{} ends", self.name), limit, || Ok(self.entered.try_wait()?))?;
        Ok(status.code())
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.entered.try_wait()?.is_none())
    }

    /// Everything it has printed so far.
    pub fn output(&self) -> Result<String> {
        let text = fs::read(&self.log)?;
        Ok(String::from_utf8_lossy(text.get(self.begin..).unwrap_or_default()).into_owned())
    }

    /// Lets it run on when this handle goes: for a stage that is kept.
    pub fn keep(self) {
        std::mem::forget(self);
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until its output holds `text`.
    pub fn until_says(&mut self, text: &str, limit: Duration) -> Result<()> {
        let name = self.name.clone();
        until(&format!("{name} says {text:?}"), limit, || {
            if self.output()?.contains(text) {
                return Ok(Some(()));
            }
            if !self.is_running()? {
                bail!("it ended: {}", self.output()?);
            }
            Ok(None)
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.entered.try_wait(), Ok(None)) {
            let _ = self.signal("KILL");
            let _ = self.wait(START);
        }
    }
}

/// A shell that writes one file, or a kill: milliseconds, unless the machine compiles at the same time.
const START: Duration = Duration::from_secs(10);
