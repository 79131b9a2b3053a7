//! Routers on all hosts of a stage, in one cluster.
//!
//! Decides the order an operator would go in: init, router, token, join, router.

use anyhow::{Context as _, Result};

use crate::{
    host::Host,
    router::{JoinBy, Router},
    stage::Stage,
};

/// The routers of a stage, in the order of its hosts.
#[derive(Debug)]
pub struct Cluster {
    routers: Vec<Router>,
}

impl Cluster {
    /// Forms a cluster of all hosts by join tokens and waits until everyone is connected to everyone.
    pub fn form(stage: &Stage) -> Result<Self> {
        Self::form_by(stage, JoinBy::Token, &[])
    }

    /// A cluster of the first host alone; others may join later.
    pub fn form_alone(stage: &Stage) -> Result<Self> {
        let first = stage.host(1)?;
        first.raddle(&["init"])?.ok()?;
        Ok(Self { routers: vec![Router::start(first, &[])?] })
    }

    /// A cluster whose first router was founded before; others may join.
    pub fn of_one(first: &Host) -> Result<Self> {
        Ok(Self { routers: vec![Router::start(first, &[])?] })
    }

    /// Forms a cluster; `init` are more words for `raddle init` (a pool).
    pub fn form_by(stage: &Stage, join: JoinBy, init: &[&str]) -> Result<Self> {
        let (first, others) = stage.hosts().split_first().context("a cluster needs a host")?;
        let mut cluster = match join {
            JoinBy::Token => {
                first.raddle(&[&["init"], init].concat())?.ok()?;
                Self { routers: vec![Router::start(first, &[])?] }
            }
            JoinBy::Password => {
                let file = password_file(first, PASSWORD)?;
                Self { routers: vec![Router::start(first, &["--password-file", &file])?] }
            }
        };
        for host in others {
            match join {
                JoinBy::Token => cluster.join(host)?,
                JoinBy::Password => cluster.join_by_password(host)?,
            }
        }
        cluster.until_whole()?;
        Ok(cluster)
    }

    /// Lets one more host join by a fresh token and starts its router.
    pub fn join(&mut self, host: &Host) -> Result<()> {
        let first = self.routers.first().context("no router to join")?;
        let token = first.token(&[])?;
        host.raddle(&["join", &token, &peer(first.host())])?.ok()?;
        self.routers.push(Router::start(host, &[])?);
        Ok(())
    }

    /// Starts one more host's router with the password and the first router's address: no other command.
    pub fn join_by_password(&mut self, host: &Host) -> Result<()> {
        let first = self.routers.first().context("no router to join")?;
        let (file, entrance) = (password_file(host, PASSWORD)?, peer(first.host()));
        self.routers.push(Router::start(host, &["--password-file", &file, &entrance])?);
        Ok(())
    }

    /// Waits until every router is connected to every other.
    pub fn until_whole(&self) -> Result<()> {
        let others = u64::try_from(self.routers.len())?.saturating_sub(1);
        self.routers.iter().try_for_each(|router| router.until_connected(others))
    }

    /// The routers.
    #[must_use]
    pub fn routers(&self) -> &[Router] {
        &self.routers
    }

    /// The routers, to be killed and started.
    pub fn routers_mut(&mut self) -> &mut [Router] {
        &mut self.routers
    }

    /// The router of the host with this number.
    pub fn router(&self, number: usize) -> Result<&Router> {
        number.checked_sub(1).and_then(|at| self.routers.get(at)).with_context(|| format!("no router {number}"))
    }

    /// The router of the host with this number, to be killed and started.
    pub fn router_mut(&mut self, number: usize) -> Result<&mut Router> {
        number.checked_sub(1).and_then(|at| self.routers.get_mut(at)).with_context(|| format!("no router {number}"))
    }

    /// Gives the routers away, to be let go.
    #[must_use]
    pub fn into_routers(self) -> Vec<Router> {
        self.routers
    }
}

/// How other hosts name this one on a command line.
#[must_use]
pub fn peer(host: &Host) -> String {
    format!("{}:{PORT}", host.underlay())
}

/// Writes a password file as an operator must: readable by its owner alone.
pub fn password_file(host: &Host, password: &str) -> Result<String> {
    let file = host.home().join("password").display().to_string();
    host.run_with(&["sh", "-c", "umask 077 && cat > \"$0\"", &file], password.as_bytes())?.ok()?;
    Ok(file)
}

/// The documented port of the underlay.
pub const PORT: u16 = 6783;
/// Long enough not to be refused as guessable.
pub const PASSWORD: &str = "correct horse battery staple";
