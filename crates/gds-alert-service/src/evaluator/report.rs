//! What the evaluating thread says of itself: whether all is well, what was counted, and samples for rules about it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use gds_alerting::event::Event;
use gds_alerting::sample::Sample;
use serde::Serialize;

use super::Evaluator;
use crate::delivery::{Dispatcher, Heartbeat};

/// The partition of what it says of itself.
const ITSELF: i32 = -1;

/// Whether what the service needs is well.
#[derive(Debug, Serialize)]
pub(crate) struct Health {
    pub(crate) ready: bool,
    /// `ok`, or what is wrong.
    hub: String,
    /// The file with the state.
    state: String,
    /// Messages that were not read yet.
    lag: u64,
    /// Channels whose receivers do not answer.
    channels_away: Vec<String>,
}

impl Evaluator {
    /// What is wrong with itself is a sample as any other, where there is a rule about it.
    pub(super) fn report_itself(&mut self, now_ms: i64) {
        let undelivered = self.dispatcher.as_ref().map_or(0, Dispatcher::undelivered);
        let measured = [
            ("gds_alerting.dead_letters_total", self.dead_letters),
            ("gds_alerting.lag", self.lag),
            ("gds_alerting.undelivered", undelivered),
        ];
        for (metric, value) in measured {
            if self.engine.rules().of_metric(metric).is_empty() {
                continue;
            }
            let sample = Sample {
                metric: metric.to_owned(),
                instance_id: self.group.clone(),
                value: value as f64,
                time_ms: Some(now_ms),
                partition: ITSELF,
                ..Sample::default()
            };
            self.tell(Event::Sample(sample), now_ms);
        }
    }

    /// Whether what it needs is well.
    pub(crate) fn health(&self) -> Health {
        let channels = self.dispatcher.iter().flat_map(|dispatcher| dispatcher.channels().by_name.values());
        let away = channels.filter(|channel| channel.pace.is_open()).map(|channel| channel.name.clone());
        Health {
            // A receiver that is away is waited for; it is no reason to take the whole out of service.
            ready: self.hub_trouble.is_none(),
            hub: self.hub_trouble.clone().unwrap_or_else(|| "ok".to_owned()),
            state: self.store.path().display().to_string(),
            lag: self.lag,
            channels_away: away.collect(),
        }
    }

    /// What was counted, by name.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let counters = self.engine.counters();
        let mut counts: BTreeMap<String, u64> = [
            ("samples_total", counters.samples),
            ("repeated_total", counters.repeated),
            ("late_total", counters.late),
            ("rejected_total", counters.rejected),
            ("transitions_total", counters.transitions),
            ("notifications_total", counters.notifications),
            ("template_errors_total", counters.template_errors),
            ("dead_letters_total", self.dead_letters),
            ("series", self.engine.size().0 as u64),
            ("lag", self.lag),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect();
        if let Some((sent, failed)) = self.heartbeat.as_ref().map(Heartbeat::counts) {
            counts.insert("heartbeats_total".to_owned(), sent);
            counts.insert("heartbeats_failed_total".to_owned(), failed);
        }
        let channels = self.dispatcher.iter().flat_map(Dispatcher::counts);
        for (name, channel) in channels {
            for (what, count) in
                [("delivered", &channel.delivered), ("retried", &channel.retried), ("dead", &channel.dead)]
            {
                counts.insert(format!("{what}_total{{channel={name:?}}}"), count.load(Ordering::Relaxed));
            }
        }
        counts
    }
}
