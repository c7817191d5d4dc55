//! A channel of the rules file with what it needs to deliver.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gds_alerting::effect::Notification;
use gds_alerting::rules::{self, Rules};
use gds_events::topic::ALERTS;
use gds_hub::Hub;
use reqwest::header::HeaderMap;

use super::bus::Bus;
use super::gds_notification::GdsNotification;
use super::http::{Endpoint, bearer};
use super::mail::Mail;
use super::outcome::Outcome;
use super::pace::Pace;
use super::pagerduty::{self, PagerDuty};
use super::settings::Settings;
use super::slack::{self, Slack};
use super::text;
use super::webhook::Webhook;
use crate::credentials::{Credentials, Of};
use crate::error::{Error, Result};
use crate::store::Item;
use crate::{Said, Say};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a message is tried.
const RETRY_FOR: Duration = Duration::from_secs(24 * 3600);
/// Messages under way at a time, where a receiver knows one it has seen before.
const WORKERS: u32 = 4;

/// Where the messages of a channel go.
enum Receiver {
    Log,
    Hub { bus: Arc<Bus>, topic: String },
    DeadLetters(Arc<Bus>),
    GdsNotification(GdsNotification),
    Webhook(Webhook),
    Slack(Slack),
    PagerDuty(PagerDuty),
    Mail(Box<Mail>),
}

/// A channel, ready to deliver.
pub(crate) struct Channel {
    pub(crate) name: String,
    pub(crate) pace: Pace,
    /// Each has its share of the alerts, in order.
    pub(crate) workers: u32,
    pub(crate) retry_for: Duration,
    /// Longer than any attempt by itself takes.
    pub(crate) deadline: Duration,
    receiver: Receiver,
    /// In no reason that is given.
    secrets: Vec<String>,
    say: Arc<Say>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Channel {
    /// Tries once.
    pub(crate) async fn send(&self, item: &Item, now_ms: i64) -> Outcome {
        let outcome = match item {
            Item::DeadLetter(letter) => match &self.receiver {
                Receiver::DeadLetters(bus) => bus.dead_letter(letter, now_ms).await,
                _ => Outcome::Refused("is no topic of dead letters".to_owned()),
            },
            Item::Notification(said) => self.tell(said, false, now_ms).await,
            Item::Acknowledged(said) => self.tell(said, true, now_ms).await,
        };
        self.without_secrets(outcome)
    }

    fn without_secrets(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Refused(reason) => Outcome::Refused(self.scrubbed(reason)),
            Outcome::Retry { reason, after } => Outcome::Retry { reason: self.scrubbed(reason), after },
            Outcome::Delivered => outcome,
        }
    }

    /// Tells that all is well, as [`Heartbeat`](super::Heartbeat) has it; the next is due after `every`.
    pub(super) async fn beat(&self, said: &Notification, every: Duration, now_ms: i64) -> Outcome {
        let outcome = match &self.receiver {
            Receiver::Webhook(to) => to.send(said).await,
            Receiver::Hub { bus, .. } => bus.heartbeat(said, every, now_ms).await,
            _ => Outcome::Refused("takes no heartbeats".to_owned()),
        };
        self.without_secrets(outcome)
    }

    async fn tell(&self, said: &Notification, acknowledged: bool, now_ms: i64) -> Outcome {
        match &self.receiver {
            Receiver::Log => {
                (self.say)(Said::Notification(&text::terminal(said)));
                Outcome::Delivered
            }
            Receiver::Hub { bus, topic } => bus.event(topic, said, now_ms).await,
            Receiver::DeadLetters(_) => Outcome::Refused("takes no notifications".to_owned()),
            Receiver::GdsNotification(to) => to.send(said).await,
            Receiver::Webhook(to) => to.send(said).await,
            Receiver::Slack(to) => to.send(said).await,
            Receiver::PagerDuty(to) => to.send(said, acknowledged).await,
            Receiver::Mail(to) => to.send(said).await,
        }
    }

    fn scrubbed(&self, mut reason: String) -> String {
        for secret in &self.secrets {
            reason = reason.replace(secret, "***");
        }
        reason
    }
}

/// The channels of a rules file.
#[derive(Debug)]
pub struct Channels {
    pub(crate) by_name: BTreeMap<String, Arc<Channel>>,
    /// Where messages go that cannot be used.
    pub(crate) dead_letters: Arc<Channel>,
    /// Which of them want a message for each alert.
    singly: Vec<String>,
    /// Which of them want to know that an alert is acknowledged.
    acknowledged: Vec<String>,
    pub(crate) bus: Arc<Bus>,
}

impl Channels {
    /// Those of `rules`; the errors are all that is wrong with them.
    pub fn open(rules: &Rules, credentials: &Credentials, hub: &dyn Hub, say: &Arc<Say>) -> Result<Self, Vec<Error>> {
        let bus = Arc::new(Bus::open(hub, say).map_err(|error| vec![error.into()])?);
        let mut errors = Vec::new();
        let mut found = BTreeMap::new();
        for (name, channel) in &rules.routing.channels {
            match open(name, channel, credentials, &bus, say) {
                Ok(opened) => drop(found.insert(name.clone(), Arc::new(opened))),
                Err(message) => errors.push(Error::Channel { channel: name.clone(), message }),
            }
        }
        if !errors.is_empty() {
            bus.close();
            return Err(errors);
        }
        let of = |kinds: &[&str]| {
            let channels = rules.routing.channels.iter();
            channels
                .filter(|(_, channel)| kinds.contains(&channel.kind.as_str()))
                .map(|(name, _)| name.clone())
                .collect()
        };
        let dead_letters = plain("dead letters", Receiver::DeadLetters(Arc::clone(&bus)), say);
        Ok(Self {
            by_name: found,
            dead_letters: Arc::new(dead_letters),
            singly: of(&["gds_notification", "pagerduty", "hub"]),
            acknowledged: of(&["pagerduty"]),
            bus,
        })
    }

    /// Whether a channel wants to know that an alert is acknowledged.
    pub(crate) fn wants_acknowledgements(&self, channel: &str) -> bool {
        self.acknowledged.iter().any(|name| name == channel)
    }

    /// The messages that a notification is for its receiver: one, or one for each alert that is new.
    pub(crate) fn messages(&self, said: Notification) -> Vec<Notification> {
        if !self.singly.contains(&said.channel) {
            return vec![said];
        }
        let single = |alert: &gds_alerting::effect::AlertView| Notification {
            alerts: vec![alert.clone()],
            news: 1,
            channel: said.channel.clone(),
            id: said.id.clone(),
            group: said.group.clone(),
            group_labels: said.group_labels.clone(),
            ..said
        };
        said.alerts.iter().take(said.news).map(single).collect()
    }
}

fn plain(name: &str, receiver: Receiver, say: &Arc<Say>) -> Channel {
    Channel {
        name: name.to_owned(),
        pace: Pace::new(None),
        workers: 1,
        retry_for: Duration::MAX, // what was read is not given up
        deadline: TIMEOUT * 2,
        receiver,
        secrets: Vec::new(),
        say: Arc::clone(say),
    }
}

fn open(
    name: &str,
    channel: &rules::Channel,
    credentials: &Credentials,
    bus: &Arc<Bus>,
    say: &Arc<Say>,
) -> Result<Channel, String> {
    let of = Of { credentials, channel: name, kind: &channel.kind };
    let mut settings = Settings::new(&channel.settings);
    let timeout = settings.duration("timeout")?.unwrap_or(TIMEOUT);
    let retry_for = settings.duration("retry_for")?.unwrap_or(RETRY_FOR);
    let per_minute = settings.count("max_per_minute", 60_000)?;
    let mut secrets = Vec::new();
    let (receiver, workers) = match channel.kind.as_str() {
        "log" => (Receiver::Log, 1),
        "hub" => {
            let topic = settings.text("topic")?.unwrap_or(ALERTS).to_owned();
            (Receiver::Hub { bus: Arc::clone(bus), topic }, 1)
        }
        "email" => (Receiver::Mail(Box::new(Mail::new(&mut settings, &of, timeout, &mut secrets)?)), 1),
        kind @ ("gds_notification" | "webhook" | "pagerduty" | "slack") => {
            let mut http = Http { settings: &mut settings, of: &of, timeout, secrets: &mut secrets };
            match kind {
                "gds_notification" => (Receiver::GdsNotification(http.gds_notification()?), WORKERS),
                "webhook" => (Receiver::Webhook(http.webhook()?), WORKERS),
                "pagerduty" => (Receiver::PagerDuty(http.pagerduty()?), WORKERS),
                _ => (Receiver::Slack(http.slack()?), 1),
            }
        }
        kind => return Err(format!("type {kind} is not known here")),
    };
    settings.finish()?;
    // Short texts are in too many words to be looked for, and are no credentials.
    secrets.retain(|secret| secret.len() >= 4);
    let say = Arc::clone(say);
    let deadline = timeout + Duration::from_secs(5);
    Ok(Channel {
        name: name.to_owned(),
        pace: Pace::new(per_minute),
        workers,
        retry_for,
        deadline,
        receiver,
        secrets,
        say,
    })
}

/// What is read of the settings of a receiver over HTTP.
struct Http<'a, 's> {
    settings: &'a mut Settings<'s>,
    of: &'a Of<'a>,
    timeout: Duration,
    secrets: &'a mut Vec<String>,
}

impl Http<'_, '_> {
    fn secret(&mut self, field: &str) -> Result<Option<String>, String> {
        let found = self.of.find(field)?;
        self.secrets.extend(found.clone());
        Ok(found)
    }

    /// The address: of the file, or as a credential, which it is where a key stands in it.
    fn url(&mut self, default: Option<&str>) -> Result<String, String> {
        let given = self.settings.text("url")?.map(str::to_owned);
        let secret = self.secret("URL")?;
        given.or(secret).or(default.map(str::to_owned)).ok_or_else(|| {
            let why = self.of.get("URL").err().unwrap_or_default().replace("no credential; ", "");
            format!("url: missing; give it here, or {why}")
        })
    }

    fn endpoint(&mut self, url: &str) -> Result<Endpoint, String> {
        let cafile = self.settings.text("cafile")?;
        Endpoint::new(url, self.timeout, cafile.map(Path::new))
    }

    fn token(&mut self) -> Result<HeaderMap, String> {
        self.secret("TOKEN")?.map_or_else(|| Ok(HeaderMap::new()), |token| bearer(&token))
    }

    fn gds_notification(&mut self) -> Result<GdsNotification, String> {
        let url = format!("{}/ingest", self.url(None)?.trim_end_matches('/'));
        let instances = self.settings.numbers("db_instance_ids")?;
        Ok(GdsNotification { endpoint: self.endpoint(&url)?, headers: self.token()?, instances })
    }

    fn webhook(&mut self) -> Result<Webhook, String> {
        let url = self.url(None)?;
        Ok(Webhook { endpoint: self.endpoint(&url)?, headers: self.token()? })
    }

    fn pagerduty(&mut self) -> Result<PagerDuty, String> {
        // For people: which service the key is of.
        self.settings.text("service")?;
        let routing_key = self.of.get("ROUTING_KEY")?;
        self.secrets.push(routing_key.clone());
        let url = self.url(Some(pagerduty::URL))?;
        Ok(PagerDuty { endpoint: self.endpoint(&url)?, routing_key })
    }

    fn slack(&mut self) -> Result<Slack, String> {
        let channel = self.settings.text("channel")?.map(str::to_owned);
        if let Some(url) = self.secret("WEBHOOK_URL")? {
            return Ok(Slack { endpoint: self.endpoint(&url)?, headers: HeaderMap::new(), channel: None });
        }
        let token = self.of.get("TOKEN").map_err(|why| format!("{why}; or set WEBHOOK_URL in its place"))?;
        self.secrets.push(token.clone());
        let channel = channel.ok_or("channel: missing; expected a form such as \"#dba-alerts\"")?;
        let url = self.url(Some(slack::URL))?;
        Ok(Slack { endpoint: self.endpoint(&url)?, headers: bearer(&token)?, channel: Some(channel) })
    }
}
