//! A client's way to the process that has the hub, which may come to be its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::EmbeddedOptions;
use super::owner::{self, Owner};
use super::protocol::{ConnectError, Reply, Request, Wire};
use crate::error::{Error, Failure, Result};

/// How long what is asked without a time of its own waits for an answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may take until whoever has the folder serves it, or has let go of it.
const OPENING: Duration = Duration::from_secs(5);
/// Between two looks whether somebody serves.
const PAUSE: Duration = Duration::from_millis(2);

/// Finds the process that has the hub, and takes the hub over when there is none.
#[derive(Debug)]
pub(super) struct Link {
    path: PathBuf,
    options: EmbeddedOptions,
    made_dirs: Vec<PathBuf>,
    /// Let go before the hub that may be at its other end.
    wire: Option<Wire>,
    /// Kept when this process has the hub.
    owner: Option<Arc<Owner>>,
}

impl Link {
    /// One that is not connected yet.
    pub(super) fn new(path: PathBuf, options: EmbeddedOptions) -> Self {
        Self { path, options, made_dirs: Vec::new(), wire: None, owner: None }
    }

    /// One to a hub that is there or is made here.
    pub(super) fn open(path: PathBuf, options: EmbeddedOptions, made_dirs: Vec<PathBuf>) -> Result<Self> {
        let mut link = Self { made_dirs, ..Self::new(path, options) };
        let late = Instant::now() + TIMEOUT;
        loop {
            match link.find(Instant::now().checked_add(OPENING), true) {
                Ok(true) => return Ok(link),
                Ok(false) => break,
                // Its logs are long.
                Err(error) if matches!(error, Error::Timeout(_)) && Instant::now() < late => {}
                Err(error) => return Err(error),
            }
        }
        let (path, owner) = (link.path.display(), owner::holder(&link.path));
        let message = format!(
            "embedded hub {path} belongs to {owner}, which does not serve it to others: end that one, or name another \
             folder"
        );
        Err(Error::Connection(Failure::new(message).retriable()))
    }

    /// The hub, if this process has it.
    pub(super) fn owner(&mut self) -> Option<Arc<Owner>> {
        if self.owner.is_none() {
            self.owner = owner::here(&self.path);
        }
        self.owner.clone()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.wire.is_some()
    }

    /// Connects to whoever has the hub, this process too; looks at least once.
    pub(super) fn connect(&mut self, deadline: Option<Instant>) -> Result<()> {
        if self.find(deadline, false)? { Ok(()) } else { Err(self.unanswered()) }
    }

    fn find(&mut self, deadline: Option<Instant>, here_will_do: bool) -> Result<bool> {
        while self.wire.is_none() {
            self.owner = owner::enter(&self.path, self.options, &mut self.made_dirs)?;
            if here_will_do && self.owner.is_some() {
                break;
            }
            // When it is about to let go of it, whom it still serves would have to come again.
            let here_ends = self.owner.is_none() && owner::ends_here(&self.path);
            let wire = if here_ends { Err(ConnectError::Away) } else { Wire::connect(&self.path) };
            let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            match wire {
                Ok(wire) => self.wire = Some(wire),
                Err(ConnectError::Refused(error)) => return Err(error),
                Err(ConnectError::Silent) if is_late => return Err(self.unanswered()),
                Err(ConnectError::Away) if is_late => return Ok(false),
                Err(_) => thread::sleep(PAUSE),
            }
        }
        Ok(true)
    }

    /// The stream, if it is connected.
    pub(super) fn wire(&mut self) -> Option<&mut Wire> {
        self.wire.as_mut()
    }

    /// What was asked is not waited for any longer, or nobody is there any more.
    pub(super) fn disconnect(&mut self) {
        self.wire = None;
    }

    /// As [`disconnect`](Self::disconnect), and lets go of the hub.
    pub(super) fn leave(&mut self) {
        self.wire = None;
        self.owner = None;
    }

    /// The answer to a question; none if the other side went away before it gave one.
    pub(super) fn ask<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Option<Reply<T>>> {
        let Some(wire) = &mut self.wire else { return Ok(None) };
        let received = wire.send(request, &[]).and_then(|()| wire.receive(deadline));
        let reply = match received {
            Ok(true) => wire.decode().ok(),
            Ok(false) => {
                let error = self.unanswered();
                self.wire = None; // the answer would be taken for that to the next question
                return Err(error);
            }
            Err(_) => None,
        };
        if reply.is_none() {
            self.lose(deadline)?;
        }
        Ok(reply)
    }

    /// The other side went away; an error if there is no time to look for another one.
    pub(super) fn lose(&mut self, deadline: Option<Instant>) -> Result<()> {
        self.wire = None;
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) { Err(self.unanswered()) } else { Ok(()) }
    }

    /// The answer to a question of a client that is neither a publisher nor a subscriber; or the hub, if this process
    /// has come to have it.
    pub(super) fn ask_hub<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Result<T, Arc<Owner>>> {
        loop {
            if !self.find(deadline, true)? {
                return Err(self.unanswered());
            }
            if let (None, Some(owner)) = (&self.wire, &self.owner) {
                return Ok(Err(owner.clone()));
            }
            if let Some(reply) = self.ask(request, deadline)? {
                return reply.outcome.map(Ok);
            }
        }
    }

    /// The error for who waited in vain.
    pub(super) fn unanswered(&self) -> Error {
        let (path, owner) = (self.path.display(), owner::holder(&self.path));
        let message = format!("{owner}, which has embedded hub {path}, does not answer; see what it does, or end it");
        Error::Timeout(Failure::new(message).retriable())
    }
}
