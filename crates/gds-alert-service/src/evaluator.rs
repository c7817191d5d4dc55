//! The thread that evaluates: messages in, a transaction, and only then deliveries and the hub's own note of the place.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use gds_alerting::effect::{Effect, Notification, NotificationKind, State, Transition};
use gds_alerting::engine::Engine;
use gds_alerting::event::Event;
use gds_alerting::replay::Input;
use gds_alerting::rules::Rules;
use gds_hub::producer::dead_letter;
use gds_hub::{Batch, Change, Message, OffsetSpec, Position, Subscriber, TopicPartition};
use tokio::runtime::Handle;

use crate::delivery::{Channels, Dispatcher, Heartbeat};
use crate::error::Result;
use crate::intake;
use crate::now_ms;
use crate::store::{Act, Item, Restored, Round, Store};
use crate::{Said, Say};

/// Messages of one round.
const AT_ONCE: usize = 1000;
/// How long a round waits for messages; also how long somebody who asks may wait.
const PATIENCE: Duration = Duration::from_millis(100);
/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often it is asked how far the hub has come: more often where nothing comes.
const LOOK_QUIET: Duration = Duration::from_secs(1);
const LOOK_BUSY: Duration = Duration::from_secs(5);
/// How often it reports on itself, to rules about it.
const SELF: Duration = Duration::from_secs(5);
/// How long the hub may take to say so.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// What changed nothing that people see is kept this often.
const KEEP_QUIET: Duration = Duration::from_secs(10);
/// Events in the journal before the state is written as a whole; more where there are more series.
const JOURNAL: usize = 20_000;
/// After something failed that may mend itself.
const PAUSE: Duration = Duration::from_millis(500);

/// Done by the evaluating thread, between two rounds.
pub(crate) type Ask = Box<dyn FnOnce(&mut Evaluator) + Send>;

/// What evaluates, and all that it needs.
pub(crate) struct Evaluator {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<Store>,
    subscriber: Box<dyn Subscriber>,
    /// None between two sets of channels.
    dispatcher: Option<Dispatcher>,
    /// Where the rules file has one.
    heartbeat: Option<Heartbeat>,
    /// The group of rules.
    group: String,
    /// The rules file that is in use.
    text: String,
    partitions: BTreeMap<(String, i32), i32>,
    round: Round,
    effects: Vec<Effect>,
    /// Something of this round has to be kept before it goes on.
    matters: bool,
    kept: Instant,
    journal: usize,
    dead_letters: u64,
    /// Why the hub could not be read, the last time.
    hub_trouble: Option<String>,
    /// Why it did not say how far it is. One that is away gives no messages either, which is no error.
    unanswered: Option<String>,
    /// Whether there are partitions that it reads, by the hub's own word: without any, nothing is asked of the hub.
    reads: bool,
    /// Messages that were not read yet, when it was last looked.
    lag: u64,
    /// What was refused since somebody looked.
    refused: Option<String>,
    /// What was said of templates, once each.
    said: BTreeSet<(String, String)>,
    say: Arc<Say>,
    runtime: Handle,
}

impl Evaluator {
    pub(crate) fn new(
        subscriber: Box<dyn Subscriber>,
        store: Arc<Store>,
        restored: Restored,
        (group, text): (String, String),
        channels: Channels,
        (say, runtime): (Arc<Say>, Handle),
    ) -> Result<Self> {
        // From here on the journal is of these rules.
        store.snapshot(&restored.engine, &text)?;
        let heartbeat = heartbeat(restored.engine.rules(), &channels, &group);
        let dispatcher = Dispatcher::start(channels, &store, &say, &runtime)?;
        Ok(Self {
            heartbeat,
            engine: restored.engine,
            store,
            subscriber,
            dispatcher: Some(dispatcher),
            group,
            text,
            partitions: restored.partitions,
            round: Round::default(),
            effects: Vec::new(),
            matters: false,
            kept: Instant::now(),
            journal: 0,
            dead_letters: 0,
            hub_trouble: None,
            unanswered: None,
            reads: false,
            lag: 0,
            refused: None,
            said: BTreeSet::new(),
            say,
            runtime,
        })
    }

    /// Evaluates until `stop`, or until the hub is of no more use.
    pub(crate) fn run(mut self, asks: &mpsc::Receiver<Ask>, stop: &AtomicBool) -> Result<()> {
        let outcome = self.rounds(asks, stop);
        // A restart need not replay what was evaluated by now.
        let kept = self.keep(stop).and_then(|()| self.store.snapshot(&self.engine, &self.text));
        self.heartbeat = None;
        if let Some(dispatcher) = self.dispatcher.take() {
            dispatcher.stop();
        }
        let left = self.subscriber.close();
        outcome.and(kept).and(left.map_err(Into::into))
    }

    fn rounds(&mut self, asks: &mpsc::Receiver<Ask>, stop: &AtomicBool) -> Result<()> {
        let mut batch = Batch::default();
        let mut ticked: Option<Instant> = None;
        let mut looked: Option<Instant> = None;
        let mut reported: Option<Instant> = None;
        let due = |last: Option<Instant>, every: Duration| last.is_none_or(|last| last.elapsed() >= every);
        while !stop.load(Ordering::Relaxed) {
            // A reader may have partitions before its first poll.
            self.follow_partitions()?;
            batch.clear();
            let polled = self.subscriber.poll(&mut batch, AT_ONCE, PATIENCE);
            self.follow_partitions()?;
            for warning in self.subscriber.warnings() {
                (self.say)(Said::Warning(&warning));
            }
            let positions = self.take(&batch);
            while let Ok(ask) = asks.try_recv() {
                ask(self);
            }
            if due(ticked, TICK) {
                ticked = Some(Instant::now());
                self.tell(Event::Tick, now_ms());
            }
            if polled.is_ok() && due(looked, if batch.is_empty() { LOOK_QUIET } else { LOOK_BUSY }) {
                looked = Some(Instant::now());
                self.look_for_ends();
            }
            if due(reported, SELF) {
                reported = Some(Instant::now());
                self.report_itself(now_ms());
            }
            if self.matters || self.round.inputs.len() >= AT_ONCE || self.kept.elapsed() >= KEEP_QUIET {
                self.keep(stop)?;
            }
            self.note_places(&positions);
            if !batch.is_empty() {
                self.unanswered = None;
                self.reads = true;
            }
            let trouble = polled.as_ref().err().map(|error| error.message().to_owned());
            self.hub_trouble = trouble.or_else(|| self.unanswered.clone());
            // Read and kept: only then somebody watches.
            if let (None, true, Some(heartbeat)) = (&self.hub_trouble, self.reads, &mut self.heartbeat) {
                heartbeat.beat(&self.say, &self.runtime);
            }
            if let Err(error) = polled {
                if !error.retriable() {
                    return Err(error.into());
                }
                (self.say)(Said::Warning(&format!("the hub cannot be read: {}; it is tried again", error.message())));
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Evaluates what was read. How far that is.
    fn take(&mut self, batch: &Batch) -> Vec<Position> {
        let mut read: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        let mut last: Option<(&Arc<str>, i32, i32)> = None;
        for message in batch.iter() {
            let now_ms = now_ms();
            let known = last
                .filter(|(topic, partition, _)| Arc::ptr_eq(topic, message.topic) && *partition == message.partition);
            let number = known.map_or_else(|| self.number(message.topic, message.partition), |(.., number)| number);
            last = Some((message.topic, message.partition, number));
            read.insert((Arc::clone(message.topic), message.partition), message.offset + 1);
            // The pattern of topics of metrics matches their dead letters too.
            if message.topic.ends_with(dead_letter::SUFFIX) {
                continue;
            }
            match intake::sample(&message, number, now_ms) {
                Ok(sample) => self.step(Event::Sample(sample), now_ms, Some(&message)),
                Err(letter) => self.bury(Item::DeadLetter(letter)),
            }
            self.matters = true;
        }
        let position = |((topic, partition), offset)| Position { topic, partition, offset };
        read.into_iter().map(position).collect()
    }

    fn bury(&mut self, letter: Item) {
        self.dead_letters += 1;
        self.round.items.push(letter);
        self.matters = true;
    }

    /// Tells the engine what happened.
    pub(crate) fn tell(&mut self, event: Event, now_ms: i64) {
        self.step(event, now_ms, None);
    }

    /// Does what a person wants, and keeps that it was done before it is answered; why it was not, if it was not.
    pub(crate) fn act(&mut self, event: Event, act: Act) -> Result<Option<String>> {
        self.refused = None;
        self.tell(event, now_ms());
        let refused = self.refused.take();
        self.round.acts.push(Act { refused: refused.clone(), ..act });
        // One try: who asks is told, and what was done is kept with the next round.
        self.keep(&AtomicBool::new(true))?;
        Ok(refused)
    }

    fn step(&mut self, event: Event, now_ms: i64, message: Option<&Message<'_>>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.engine.step(&event, now_ms, &mut effects);
        self.matters |= !effects.is_empty() || !matches!(event, Event::Tick | Event::CaughtUp { .. });
        self.round.inputs.push(Input { now_ms, event });
        for effect in effects.drain(..) {
            match effect {
                Effect::Notify(said) => self.notify(said),
                Effect::Transition(transition) => {
                    if transition.to == State::Acknowledged {
                        self.acknowledged(&transition, now_ms);
                    }
                    self.round.transitions.push(transition);
                }
                Effect::Rejected { reason, .. } => {
                    if let Some(message) = message {
                        self.bury(Item::DeadLetter(Box::new(intake::dead_letter(message, "rejected", &reason))));
                    }
                }
                Effect::TemplateFailed { rule, template, reason } => {
                    let text =
                        format!("template {template} of rule {rule} failed: {reason}; the alert is told without");
                    if self.said.insert((rule, template)) {
                        (self.say)(Said::Warning(&text));
                    }
                }
                Effect::Refused { key, reason } => {
                    (self.say)(Said::Note(&format!("{key}: what was asked for was not done: {reason}")));
                    self.refused = Some(reason);
                }
            }
        }
        self.effects = effects;
    }

    fn notify(&mut self, said: Notification) {
        let Some(dispatcher) = &self.dispatcher else { return };
        let messages = dispatcher.channels().messages(said);
        self.round.items.extend(messages.into_iter().map(|message| Item::Notification(Box::new(message))));
    }

    /// Receivers that have acknowledgements of their own, and know of the alert, are told.
    fn acknowledged(&mut self, transition: &Transition, now_ms: i64) {
        let Some(dispatcher) = &self.dispatcher else { return };
        let told = self.engine.told(&transition.key);
        let wanting: Vec<String> =
            told.into_iter().filter(|channel| dispatcher.channels().wants_acknowledgements(channel)).collect();
        if wanting.is_empty() {
            return;
        }
        let Some(alert) = self.engine.alerts().find(|alert| alert.key == transition.key) else { return };
        let said = |channel| Notification {
            id: transition.id.clone(),
            channel,
            kind: NotificationKind::Firing,
            group: alert.key.clone(),
            group_labels: alert.labels.clone(),
            at_ms: now_ms,
            alerts: vec![alert.clone()],
            news: 1,
        };
        self.round.items.extend(wanting.into_iter().map(|channel| Item::Acknowledged(Box::new(said(channel)))));
    }

    /// The number by which the engine knows a partition.
    fn number(&mut self, topic: &str, partition: i32) -> i32 {
        if let Some(number) = self.partitions.get(&(topic.to_owned(), partition)) {
            return *number;
        }
        self.number_anew(topic, partition)
    }

    fn number_anew(&mut self, topic: &str, partition: i32) -> i32 {
        let number = self.partitions.values().max().map_or(0, |last| last + 1);
        self.partitions.insert((topic.to_owned(), partition), number);
        self.round.partitions.push((topic.to_owned(), partition, number));
        number
    }

    /// Goes on, in partitions that came, where the state is.
    fn follow_partitions(&mut self) -> Result<()> {
        for change in self.subscriber.changes() {
            match change {
                Change::Assigned(places) => {
                    for place in &places {
                        self.begin(place);
                    }
                }
                Change::Revoking(_) => self.subscriber.give_up()?,
                Change::Revoked(places) => {
                    let names: Vec<String> =
                        places.iter().map(|(topic, number)| format!("{topic}[{number}]")).collect();
                    (self.say)(Said::Note(&format!("no longer reads {}", names.join(", "))));
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, place: &TopicPartition) {
        let (topic, partition) = (&place.0, place.1);
        let number = self.number(topic, partition);
        let Some(next) = self.engine.next_offset(number).filter(|next| *next > 0) else { return };
        let end = |which| {
            let found = self.subscriber.offsets(std::slice::from_ref(place), which, LOOK_TIMEOUT);
            found.ok().and_then(|found| found.first().map(|(_, offset)| *offset))
        };
        let (first, last) = (end(OffsetSpec::Earliest), end(OffsetSpec::Latest));
        let mut to = next;
        if last.is_some_and(|last| next > last) {
            let text = format!(
                "{topic}[{partition}] ends before {next}, which was evaluated: it was made anew, and is read from its beginning"
            );
            (self.say)(Said::Warning(&text));
            self.number_anew(topic, partition);
            to = first.unwrap_or(0);
        } else if let Some(first) = first.filter(|first| next < *first) {
            let text = format!(
                "{topic}[{partition}] begins with {first}: {} records were removed before they were evaluated; keep them \
                 for longer than this may be away (retention.ms)",
                first - next
            );
            (self.say)(Said::Warning(&text));
            to = first;
        }
        if let Err(error) = self.subscriber.seek(&Position { topic: Arc::clone(topic), partition, offset: to }) {
            // What is read again is known to have been evaluated.
            (self.say)(Said::Warning(&format!("{topic}[{partition}]: {}", error.message())));
        }
    }

    /// Tells of partitions that were read to their end.
    fn look_for_ends(&mut self) {
        let before_ms = now_ms();
        let lags = match self.subscriber.lag(LOOK_TIMEOUT) {
            Ok(lags) => lags,
            // Without an answer nothing is known, and nobody absent.
            Err(error) => {
                self.unanswered = Some(error.message().to_owned());
                self.reads = false;
                return;
            }
        };
        self.unanswered = None;
        self.reads = !lags.is_empty();
        self.lag = lags.iter().map(|lag| u64::try_from(lag.lag).unwrap_or(0)).sum();
        for lag in lags.iter().filter(|lag| lag.lag == 0) {
            let partition = self.number(&lag.topic, lag.partition);
            self.tell(Event::CaughtUp { partition }, before_ms);
        }
    }

    /// Keeps the round, and hands over what is to be delivered.
    fn keep(&mut self, stop: &AtomicBool) -> Result<()> {
        self.kept = Instant::now();
        self.matters = false;
        if self.round.is_empty() {
            return Ok(());
        }
        let mut said = false;
        let numbers = loop {
            match self.store.commit(&self.round) {
                Ok(numbers) => break numbers,
                // Nothing more is read meanwhile: the hub keeps it.
                Err(error) if !stop.load(Ordering::Relaxed) => {
                    if !said {
                        (self.say)(Said::Warning(&format!("{error}; nothing is evaluated until it can be written")));
                        said = true;
                    }
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        };
        self.journal += self.round.inputs.len();
        let Round { items, .. } = std::mem::take(&mut self.round);
        if let Some(dispatcher) = &self.dispatcher {
            for (number, item) in numbers.into_iter().zip(items) {
                dispatcher.hand_over(number, item);
            }
        }
        if self.journal > JOURNAL.max(2 * self.engine.size().0) {
            self.store.snapshot(&self.engine, &self.text)?;
            self.journal = 0;
        }
        Ok(())
    }

    /// For those who ask the hub how far this is: the state itself knows it better.
    fn note_places(&mut self, positions: &[Position]) {
        if !positions.is_empty() {
            // What was not noted is read again and known to have been evaluated.
            let _ = self.subscriber.commit(positions, false);
        }
    }

    /// Takes other rules and channels into use.
    pub(crate) fn reload(&mut self, text: String, rules: &Arc<Rules>, channels: Channels) -> Result<()> {
        self.keep(&AtomicBool::new(true))?;
        self.engine.reload(rules);
        self.store.snapshot(&self.engine, &text)?;
        (self.text, self.journal) = (text, 0);
        self.heartbeat = heartbeat(rules, &channels, &self.group);
        if let Some(dispatcher) = self.dispatcher.take() {
            dispatcher.stop();
        }
        self.dispatcher = Some(Dispatcher::start(channels, &self.store, &self.say, &self.runtime)?);
        Ok(())
    }

    /// The rules file that is in use.
    pub(crate) fn rules_text(&self) -> &str {
        &self.text
    }
}

fn heartbeat(rules: &Rules, channels: &Channels, group: &str) -> Option<Heartbeat> {
    Heartbeat::new(rules.routing.heartbeat.as_ref()?, channels, group)
}
