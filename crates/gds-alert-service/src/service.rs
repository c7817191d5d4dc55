//! A running system: started, asked, given other rules, ended.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use gds_alerting::event::Event;
use gds_alerting::rules::Rules;
use gds_events::topic::{HEARTBEATS_PATTERN, METRICS_PATTERN};
use gds_hub::{Hub, Start, Subscription};
use gds_net::{Auth, Server, ServerOptions};
use gds_process::fork;
use gds_process::sync::Mutex;
use tokio::runtime::Handle;

use crate::api::{Api, LIMITS};
use crate::asking::Asking;
use crate::credentials::Credentials;
use crate::delivery::Channels;
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::now_ms;
use crate::store::Store;
use crate::{Said, Say};

/// What is run, and where its state is.
#[derive(Debug)]
pub struct Options {
    /// The rules file, as text.
    pub rules: String,
    /// The group of rules: members of `gds-alerting-{group}` share its partitions.
    pub group: String,
    /// The file with the state.
    pub state: PathBuf,
    /// Names of topics to read; one that begins with `^` is a pattern. All topics of metrics, and
    /// that of heartbeats of collectors, where there are none.
    pub topics: Vec<String>,
    /// What the hub is called in it: state of another hub is refused.
    pub hub_name: String,
    /// How long the group may wait for a member: `max.poll.interval.ms` of the hub's settings.
    pub max_poll_interval: Duration,
    /// Credentials of channels.
    pub credentials: Credentials,
}

/// Alerts that are watched for until it is stopped or dropped.
#[derive(Debug)]
pub struct Service {
    hub: Arc<dyn Hub>,
    credentials: Credentials,
    asking: Asking,
    store: Arc<Store>,
    runtime: Handle,
    stop: Arc<AtomicBool>,
    ended: Mutex<Receiver<Result<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    say: SayTo,
    generation: u32,
}

/// Whom to tell; it has nothing to show of itself.
#[derive(Clone)]
struct SayTo(Arc<Say>);

impl std::fmt::Debug for SayTo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SayTo")
    }
}

impl Service {
    /// Restores the state, begins to read, and delivers what was left; what is to be said goes to `say`, and deliveries
    /// run on `runtime`.
    ///
    /// The errors are all that is wrong: with the rules, or with each of the channels.
    pub fn start(hub: Arc<dyn Hub>, options: Options, say: Arc<Say>, runtime: &Handle) -> Result<Self, Vec<Error>> {
        fork::watch();
        let one = |error: Error| vec![error];
        let rules = Arc::new(Rules::parse(&options.rules).map_err(|problems| one(problems.into()))?);
        let channels = Channels::open(&rules, &options.credentials, &*hub, &say)?;
        let begun = Self::begin(&hub, &options, &rules, channels, (Arc::clone(&say), runtime.clone()));
        let evaluator = begun.map_err(one)?;
        let (asking, asked) = Asking::new();
        let store = Arc::clone(&evaluator.store);
        let (tell_end, ended) = mpsc::sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("gds-alert".to_owned()).spawn(move || {
            gds_process::leave_signals();
            // Who has dropped the service does not want to know.
            let _ = tell_end.send(evaluator.run(&asked, &stopped));
        });
        let thread = thread.map_err(|error| one(Error::Store(format!("no thread to evaluate: {error}"))))?;
        Ok(Self {
            hub,
            credentials: options.credentials,
            asking,
            store,
            runtime: runtime.clone(),
            stop,
            ended: Mutex::new(ended),
            thread: Mutex::new(Some(thread)),
            say: SayTo(say),
            generation: fork::generation(),
        })
    }

    fn begin(
        hub: &Arc<dyn Hub>,
        options: &Options,
        rules: &Arc<Rules>,
        channels: Channels,
        (say, runtime): (Arc<Say>, Handle),
    ) -> Result<Evaluator> {
        let store = Arc::new(Store::open(&options.state, &options.hub_name, now_ms())?);
        let restored = store.restore(&options.rules, rules)?;
        if restored.replayed > 0 {
            say(Said::Note(&format!("{} events were replayed: the last run was cut off", restored.replayed)));
        }
        let topics = if options.topics.is_empty() {
            [METRICS_PATTERN, HEARTBEATS_PATTERN].map(str::to_owned).to_vec()
        } else {
            options.topics.clone()
        };
        let subscription = Subscription {
            topics,
            group: Some(format!("gds-alerting-{}", options.group)),
            // Also of topics that come later: with what was published since the first run.
            start: Start::At(restored.began_ms),
            max_poll_interval: options.max_poll_interval,
        };
        let subscriber = hub.subscribe(&subscription)?;
        Evaluator::new(
            subscriber,
            store,
            restored,
            (options.group.clone(), options.rules.clone()),
            channels,
            (say, runtime),
        )
    }

    /// Waits for the end, for at most `timeout`: none if it goes on.
    pub fn wait(&self, timeout: Duration) -> Option<Result<()>> {
        match self.ended.lock().recv_timeout(timeout) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(Error::Ended)),
        }
    }

    /// Asks for the end, which [`wait`](Self::wait) waits for: state is kept, and what is under way gets three seconds.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Takes another rules file into use. What is wrong with it leaves the one before in use.
    pub fn reload(&self, text: &str) -> Result<(), Vec<Error>> {
        let rules = Arc::new(Rules::parse(text).map_err(|problems| vec![problems.into()])?);
        let channels = Channels::open(&rules, &self.credentials, &*self.hub, &self.say.0)?;
        let text = text.to_owned();
        let done = self.asking.ask(move |evaluator| evaluator.reload(text, &rules, channels));
        done.and_then(|outcome| outcome).map_err(|error| vec![error])
    }

    /// Tells the engine what somebody does.
    pub fn tell(&self, event: Event) -> Result<()> {
        self.asking.ask(move |evaluator| evaluator.tell(event, now_ms()))
    }

    /// What was counted, by name.
    pub fn counts(&self) -> Result<BTreeMap<String, u64>> {
        self.asking.ask(|evaluator| evaluator.counts())
    }

    /// Answers the [API](Api) on a port until the server is dropped, for those whom `auth` lets in.
    pub fn serve(&self, options: ServerOptions, auth: Auth) -> gds_net::Result<Server> {
        let api = Api::new(self.asking.clone(), Arc::clone(&self.store), auth);
        Server::start(ServerOptions { limits: LIMITS, ..options }, Arc::new(api), &self.runtime)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // In a forked child there is no such thread to wait for.
        if self.generation != fork::generation() {
            return;
        }
        self.stop();
        if let Some(thread) = self.thread.lock().take() {
            // One that panicked was told by the panic hook.
            let _ = thread.join();
        }
    }
}
