use std::sync::Arc;

use gds_alerting::effect::Effect;
use gds_alerting::engine::Engine;
use gds_alerting::event::Event;
use gds_alerting::replay::Input;
use gds_alerting::rules::Rules;
use gds_alerting::sample::Sample;

use super::*;

const RULES: &str = r#"
version: 1
routing: {default_channel: log, channels: {log: {type: log}}}
rules: [{id: high, metric: m, threshold: {op: ">", value: 85, for: 2m}}]
"#;

fn rules() -> Arc<Rules> {
    Arc::new(Rules::parse(RULES).expect("rules"))
}

fn input(minute: i64, value: f64) -> Input {
    let sample = Sample {
        metric: "m".to_owned(),
        instance_id: "a".to_owned(),
        value,
        time_ms: Some(minute * 60_000),
        offset: Some(minute),
        ..Sample::default()
    };
    Input { now_ms: minute * 60_000, event: Event::Sample(sample) }
}

/// What an engine makes of it, and the round that is kept.
fn round(engine: &mut Engine, inputs: &[Input]) -> Round {
    let mut effects = Vec::new();
    for input in inputs {
        engine.step(&input.event, input.now_ms, &mut effects);
    }
    let mut round = Round { inputs: inputs.to_vec(), ..Round::default() };
    for effect in effects {
        match effect {
            Effect::Notify(said) => round.items.push(Item::Notification(Box::new(said))),
            Effect::Transition(transition) => round.transitions.push(transition),
            other => panic!("{other:?}"),
        }
    }
    round
}

fn state(engine: &Engine) -> String {
    serde_json::to_string(&engine.snapshot()).expect("JSON")
}

#[test]
fn what_was_committed_is_there_after_any_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made/state.redb");
    let rules = rules();
    let mut live = {
        let store = Store::open(&path, "embedded:hub", 5).expect("a store");
        let restored = store.restore(RULES, &rules).expect("nothing");
        assert_eq!((restored.began_ms, restored.replayed), (5, 0));
        store.snapshot(&restored.engine, RULES).expect("kept");
        let mut engine = restored.engine;
        let first = round(&mut engine, &[input(1, 90.0), input(2, f64::INFINITY)]);
        assert_eq!(store.commit(&first).expect("kept"), Vec::<u64>::new());
        let mut second = round(&mut engine, &[input(3, 91.0)]);
        second.partitions.push(("t/x".to_owned(), 3, 0));
        assert_eq!((second.items.len(), store.commit(&second).expect("kept")), (1, vec![0]));
        engine
    };
    let store = Store::open(&path, "embedded:hub", 9).expect("a store");
    let restored = store.restore(RULES, &rules).expect("state");
    assert_eq!((restored.began_ms, restored.replayed), (5, 3));
    assert_eq!(state(&restored.engine), state(&live));
    assert_eq!(restored.engine.next_offset(0), Some(4));
    assert_eq!(restored.partitions, [(("t/x".to_owned(), 3), 0)].into());
    assert_eq!(store.history().expect("lines").len(), 2, "pending and firing");
    let [(0, Item::Notification(said))] = &store.outbox().expect("an outbox")[..] else { panic!("one notification") };
    assert_eq!(said.channel, "log");

    // What was evaluated is not evaluated again, and state written as a whole is the same.
    let mut engine = restored.engine;
    store.snapshot(&engine, RULES).expect("kept");
    assert_eq!(store.journal_len().expect("a journal"), 0);
    assert!(round(&mut engine, &[input(3, 91.0)]).items.is_empty());
    let mut effects = Vec::new();
    live.step(&input(3, 91.0).event, 180_000, &mut effects);
    assert_eq!(state(&engine), state(&live));
}

#[test]
fn numbers_in_the_outbox_are_used_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let store = Store::open(&path, "h", 0).expect("a store");
    let mut engine = Engine::new(rules());
    let items = round(&mut engine, &[input(1, 90.0), input(3, 90.0)]);
    assert_eq!(store.commit(&items).expect("kept"), [0]);
    store.settle(&[(0, None)], 1).expect("settled");
    assert_eq!(store.commit(&items).expect("kept"), [1]);
    store.settle(&[(1, Some("status 422".to_owned())), (7, None)], 2).expect("settled");
    assert!(store.outbox().expect("an outbox").is_empty());
    let dead = store.dead().expect("one");
    assert_eq!((dead.len(), dead[0].reason.as_str(), dead[0].at_ms), (1, "status 422", 2));
    assert_eq!(dead[0].item, items.items[0]);
    drop(store);
    let store = Store::open(&path, "h", 0).expect("a store");
    assert_eq!(store.commit(&items).expect("kept"), [2]);
}

#[test]
fn one_process_at_a_time_and_one_hub() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let store = Store::open(&path, "embedded:a", 0).expect("a store");
    let taken = Store::open(&path, "embedded:a", 0).expect_err("taken").to_string();
    assert!(taken.contains("another process"), "{taken}");
    drop(store);
    let other = Store::open(&path, "embedded:b", 0).expect_err("another hub").to_string();
    assert!(other.contains("embedded:a") && other.contains("embedded:b"), "{other}");
    drop(Store::open(&path, "embedded:a", 0).expect("a store"));
    std::fs::write(&path, "no store").expect("written");
    assert!(Store::open(&path, "embedded:a", 0).is_err());
}

#[test]
fn a_journal_is_replayed_under_the_rules_that_it_was_written_under() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let store = Store::open(&path, "h", 0).expect("a store");
    let mut engine = store.restore(RULES, &rules()).expect("nothing").engine;
    store.snapshot(&engine, RULES).expect("kept");
    store.commit(&round(&mut engine, &[input(1, 90.0), input(3, 90.0)])).expect("kept");
    // Under these it would never have fired; what is open stays open.
    let text = RULES.replace("85", "99");
    let other = Arc::new(Rules::parse(&text).expect("rules"));
    let restored = store.restore(&text, &other).expect("state");
    assert_eq!(restored.engine.alerts().count(), 1);
    assert!(Arc::ptr_eq(restored.engine.rules(), &other));
}

#[test]
fn dead_letters_are_kept_to_the_byte() {
    let letter = DeadLetter {
        topic: "t".to_owned(),
        partition: 1,
        offset: 2,
        timestamp_ms: 3,
        reason: "malformed".to_owned(),
        error: "no JSON".to_owned(),
        key: None,
        value: Some(vec![0, 255, 10]),
        headers: vec![("h".to_owned(), Some(vec![1])), ("n".to_owned(), None)],
    };
    let item = Item::DeadLetter(Box::new(letter));
    let read: Item = serde_json::from_slice(&json(&item)).expect("an item");
    assert_eq!(read, item);
    assert_eq!(read.channel(), None);
}
