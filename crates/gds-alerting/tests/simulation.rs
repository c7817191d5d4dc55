//! Seeded histories with duplicates, reordering, late samples and restarts, beside a model of a few lines.
//!
//! `GDS_ALERTING_SEEDS=10000` runs more of them; `GDS_ALERTING_SEED=17` one.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::sync::Arc;

use gds_alerting::effect::{Effect, NotificationKind, State, Transition};
use gds_alerting::engine::{Engine, Snapshot};
use gds_alerting::event::Event;
use gds_alerting::replay::Input;
use gds_alerting::rules::Rules;
use gds_alerting::sample::Sample;

const FOR_MS: i64 = 180_000;

/// SplitMix64: a seed is a history.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.roll(times) == 0
    }
}

fn rules() -> Arc<Rules> {
    let text = r#"
version: 1
routing:
  default_channel: mail
  channels: {mail: {type: email, to: dba@example.com}}
policy: {lateness: 2m, max_ahead: 1h}
rules:
  - {id: high, metric: m, threshold: {op: ">", value: 85, clear: 75, for: 3m}}
  - {id: quiet, metric: m, absence: {no_data_after: 5m}}
  - {id: burn, metric: m, evaluate: value / 1000, slo: {objective: 92, burn_rate: {factor: 1, short_window: 5m, long_window: 1h}}}
"#;
    Arc::new(Rules::parse(text).expect("rules"))
}

/// Samples of three instances on two partitions, in the order in which they arrive.
fn history(dice: &mut Dice) -> Vec<Input> {
    let mut arrivals = Vec::new();
    for (number, instance) in ["a", "b", "c"].into_iter().enumerate() {
        let mut at_ms = 0;
        for _ in 0..60 {
            at_ms += if dice.once_in(15) { 600_000 } else { 60_000 };
            let value = if dice.once_in(3) { 70 + dice.roll(20) } else { 86 + dice.roll(5) };
            let delay = if dice.once_in(6) { dice.roll(400_000).cast_signed() } else { 0 };
            let sample = Sample {
                metric: "m".to_owned(),
                instance_id: instance.to_owned(),
                value: value as f64,
                time_ms: Some(at_ms),
                partition: i32::from(number == 2),
                ..Sample::default()
            };
            arrivals.push((at_ms + delay, sample));
        }
    }
    arrivals.sort_by_key(|(now_ms, _)| *now_ms);
    let mut offsets = BTreeMap::new();
    let mut history: Vec<Input> = Vec::new();
    for (now_ms, mut sample) in arrivals {
        let next: &mut i64 = offsets.entry(sample.partition).or_default();
        sample.offset = Some(*next);
        *next += 1;
        history.push(Input { now_ms, event: Event::Sample(sample) });
        // Read once more, as after a rebalance.
        if dice.once_in(10) {
            let back = usize::try_from(dice.roll(history.len() as u64)).expect("a place in the history");
            history.push(Input { now_ms, ..history[back].clone() });
        }
        if dice.once_in(4) {
            history.push(Input { now_ms, event: Event::Tick });
        }
    }
    let end_ms = history.last().map_or(0, |input| input.now_ms) + 1;
    history.push(Input { now_ms: end_ms, event: Event::Tick });
    history
}

fn run(history: &[Input], mut restart: impl FnMut() -> bool) -> Vec<Effect> {
    let mut engine = Engine::new(rules());
    let mut effects = Vec::new();
    for input in history {
        if restart() {
            let kept = serde_json::to_vec(&engine.snapshot()).expect("JSON");
            let kept: Snapshot = serde_json::from_slice(&kept).expect("JSON");
            engine = Engine::restore(&rules(), kept);
        }
        engine.step(&input.event, input.now_ms, &mut effects);
    }
    effects
}

/// What `high` has to do: a fold over the samples that are newer than all before them.
fn model(history: &[Input]) -> Vec<(String, State, i64)> {
    #[derive(Default)]
    struct Series {
        last: Option<i64>,
        since: Option<i64>,
        firing: bool,
    }
    let mut read = BTreeSet::new();
    let mut all: BTreeMap<&str, Series> = BTreeMap::new();
    let mut found = Vec::new();
    for input in history {
        let Event::Sample(sample) = &input.event else { continue };
        let at = sample.time_ms.expect("a time");
        if !read.insert((sample.partition, sample.offset)) {
            continue;
        }
        let series = all.entry(&sample.instance_id).or_default();
        if series.last.is_some_and(|last| at <= last) {
            continue;
        }
        series.last = Some(at);
        let key = || format!("high:{}:m", sample.instance_id);
        if series.firing {
            if sample.value < 75.0 {
                (series.firing, series.since) = (false, None);
                found.push((key(), State::Resolved, at));
            }
        } else if sample.value > 85.0 {
            let since = *series.since.get_or_insert(at);
            if at - since >= FOR_MS {
                series.firing = true;
                found.push((key(), State::Firing, at));
            }
        } else {
            series.since = None;
        }
    }
    found
}

fn transitions(effects: &[Effect]) -> impl Iterator<Item = &Transition> {
    effects.iter().filter_map(|effect| match effect {
        Effect::Transition(transition) => Some(transition),
        _ => None,
    })
}

fn seeds() -> Vec<u64> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse().ok());
    number("GDS_ALERTING_SEED")
        .map_or_else(|| (0..number("GDS_ALERTING_SEEDS").unwrap_or(300)).collect(), |seed| vec![seed])
}

#[test]
fn histories_come_out_as_in_the_model() {
    let mut fired = 0;
    for seed in seeds() {
        let history = history(&mut Dice(seed));
        let effects = run(&history, || false);
        let found: Vec<_> = transitions(&effects)
            .filter(|one| one.rule == "high" && matches!(one.to, State::Firing | State::Resolved))
            .map(|one| (one.key.clone(), one.to, one.at_ms))
            .collect();
        let expected = model(&history);
        fired += expected.len();
        assert_eq!(found, expected, "GDS_ALERTING_SEED={seed}");
    }
    assert!(fired > 0, "nothing ever fired");
}

#[test]
fn restarts_leave_no_trace() {
    for seed in seeds() {
        let history = history(&mut Dice(seed));
        let steady = run(&history, || false);
        let mut dice = Dice(!seed);
        let restarted = run(&history, || dice.once_in(20));
        let first = steady.iter().zip(&restarted).position(|(one, other)| one != other);
        assert_eq!(first.map(|place| (&steady[place], &restarted[place])), None, "GDS_ALERTING_SEED={seed}");
        assert_eq!(steady.len(), restarted.len(), "GDS_ALERTING_SEED={seed}");
    }
}

#[test]
fn each_change_is_told_once_and_each_end_after_its_beginning() {
    for seed in seeds() {
        let effects = run(&history(&mut Dice(seed)), || false);
        let mut ids = BTreeSet::new();
        let mut last: BTreeMap<&str, (i64, u32, State, i64)> = BTreeMap::new();
        for one in transitions(&effects) {
            assert!(ids.insert(&one.id), "GDS_ALERTING_SEED={seed}: two transitions {}", one.id);
            let before = last.insert(&one.key, (one.episode, one.sequence, one.to, one.at_ms));
            let (episode, sequence, state, at_ms) = before.unwrap_or((i64::MIN, 0, State::Inactive, i64::MIN));
            let closed = matches!(state, State::Inactive | State::Resolved);
            let from = if closed { State::Inactive } else { state };
            assert_eq!(one.from, from, "GDS_ALERTING_SEED={seed}");
            assert!(one.at_ms >= at_ms, "GDS_ALERTING_SEED={seed}: time goes back");
            if closed {
                assert!(one.episode > episode && one.sequence == 1, "GDS_ALERTING_SEED={seed}");
            } else {
                assert_eq!((one.episode, one.sequence), (episode, sequence + 1), "GDS_ALERTING_SEED={seed}");
            }
        }
        let mut told: BTreeMap<&str, bool> = BTreeMap::new();
        let mut notified = BTreeSet::new();
        for effect in &effects {
            let Effect::Notify(said) = effect else { continue };
            assert!(notified.insert(&said.id), "GDS_ALERTING_SEED={seed}: told twice {said:?}");
            let open = said.kind != NotificationKind::Resolved;
            let known = told.insert(&said.alerts[0].key, open).unwrap_or(false);
            assert!(open || known, "GDS_ALERTING_SEED={seed}: an end of what nobody knew");
        }
    }
}
