//! A sign of life: who hears it no more knows that nobody watches.
//!
//! It tells of now, so it is never kept in the outbox, and one that was not taken is not tried again: the next one is due
//! soon. It is sent by the loop that evaluates, so one that hangs sends none.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gds_alerting::effect::{AlertView, Notification, NotificationKind, State};
use gds_alerting::rules;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::channel::{Channel, Channels};
use super::outcome::Outcome;
use crate::now_ms;
use crate::{Said, Say};

/// The `alertname` that people who know Prometheus have for it.
const NAME: &str = "Watchdog";

/// What became of signs of life.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    /// Not taken, or not sent since the one before was still under way.
    failed: AtomicU64,
    /// Whether the last one was not taken: said once.
    failing: AtomicBool,
}

/// Sends signs of life while it is asked to.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    channel: Arc<Channel>,
    group: String,
    every: Duration,
    began_ms: i64,
    last: Option<Instant>,
    under_way: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

impl Heartbeat {
    /// That of a rules file, through one of its channels.
    pub(crate) fn new(heartbeat: &rules::Heartbeat, channels: &Channels, group: &str) -> Option<Self> {
        Some(Self {
            channel: Arc::clone(channels.by_name.get(&heartbeat.channel)?),
            group: group.to_owned(),
            every: Duration::from_millis(u64::try_from(heartbeat.every_ms).unwrap_or(0)),
            began_ms: now_ms(),
            last: None,
            under_way: None,
            counts: Arc::default(),
        })
    }

    /// All is well at this moment: sends one where it is time.
    pub(crate) fn beat(&mut self, say: &Arc<Say>, runtime: &Handle) {
        if self.last.is_some_and(|last| last.elapsed() < self.every) {
            return;
        }
        self.last = Some(Instant::now());
        if self.under_way.as_ref().is_some_and(|task| !task.is_finished()) {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (channel, counts, say) = (Arc::clone(&self.channel), Arc::clone(&self.counts), Arc::clone(say));
        let (said, every) = (self.notification(now_ms()), self.every);
        self.under_way = Some(runtime.spawn(async move {
            let sent = tokio::time::timeout(channel.deadline, channel.beat(&said, every, said.at_ms)).await;
            let reason = match sent {
                Ok(Outcome::Delivered) => {
                    counts.sent.fetch_add(1, Ordering::Relaxed);
                    if counts.failing.swap(false, Ordering::Relaxed) {
                        say(Said::Note(&format!("channel {} takes heartbeats again", channel.name)));
                    }
                    return;
                }
                Ok(Outcome::Refused(reason) | Outcome::Retry { reason, .. }) => reason,
                Err(_) => format!("no end within {} s", channel.deadline.as_secs()),
            };
            counts.failed.fetch_add(1, Ordering::Relaxed);
            if !counts.failing.swap(true, Ordering::Relaxed) {
                let text = format!("channel {} has not taken a heartbeat ({reason}); the next is sent", channel.name);
                say(Said::Warning(&text));
            }
        }));
    }

    /// How many were taken, and how many were not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.counts.sent.load(Ordering::Relaxed), self.counts.failed.load(Ordering::Relaxed))
    }

    /// An alert that always fires.
    fn notification(&self, now_ms: i64) -> Notification {
        let labels = BTreeMap::from(
            [("alertname", NAME), ("severity", "none"), ("group", &self.group)]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let summary = format!("the alerts of group {} are watched for", self.group);
        let id = format!("{:016x}", BuildHasherDefault::<DefaultHasher>::default().hash_one((NAME, &self.group)));
        let alert = AlertView {
            key: format!("{NAME}:{}", self.group),
            rule: NAME.to_owned(),
            state: State::Firing,
            transition_id: format!("{id}-{now_ms}"),
            correlation_id: id.clone(),
            severity: "none".to_owned(),
            page: false,
            value: String::new(),
            started_at_ms: self.began_ms,
            since_ms: self.began_ms,
            labels: labels.clone(),
            annotations: BTreeMap::from([("summary".to_owned(), summary)]),
            routing_key: None,
            runbook_url: None,
            dashboard_url: None,
        };
        Notification {
            id: format!("{id}-{now_ms}"),
            channel: self.channel.name.clone(),
            kind: NotificationKind::Firing,
            group: format!("heartbeat/{}", self.group),
            group_labels: labels,
            at_ms: now_ms,
            alerts: vec![alert],
            news: 1,
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if let Some(task) = self.under_way.take() {
            task.abort();
        }
    }
}
