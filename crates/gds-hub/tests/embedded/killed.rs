//! SIGKILL under load: what was acknowledged before is there afterwards.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use gds_hub::embedded::{Embedded, EmbeddedOptions};
use gds_hub::{Admin, Hub, Start};
use gds_process::sync::Mutex;

use crate::support::*;

/// Set in the process that is to be killed: the folder of its hub.
const VICTIM: &str = "GDS_HUB_TEST_VICTIM";
const PARTITIONS: i32 = 3;

/// Does something only when started by the test below: publishes, reads and commits until it is killed.
#[test]
fn victim() {
    let Some(path) = std::env::var_os(VICTIM) else { return };
    let options = EmbeddedOptions { segment_bytes: 50_000, ..EmbeddedOptions::default() };
    let hub = Embedded::open(path.as_ref(), options).expect("opened");
    if hub.topics(Some("orders"), TIMEOUT).is_err() {
        create(&hub, "orders", PARTITIONS);
    }
    let out = || std::fs::File::options().append(true).open("/dev/stderr").expect("a pipe");
    let publisher = hub.publisher(Arc::new(Aloud(Mutex::new(out())))).expect("a publisher");
    std::thread::spawn(move || {
        let mut reader = subscribe(&hub, &["orders"], Some("g"), Start::Earliest);
        let mut out = out();
        loop {
            for (topic, partition, offset, _) in poll(&mut *reader, 7, TIMEOUT) {
                reader.commit(&[position(&topic, partition, offset + 1)], true).expect("committed");
                out.write_all(format!("committed {partition} {}\n", offset + 1).as_bytes()).expect("told");
            }
        }
    });
    for id in 0.. {
        publisher.publish(id, &record("orders", format!("{id} {}", "x".repeat(200)).as_bytes())).expect("taken");
    }
}

#[test]
fn kill_9_loses_no_acknowledged_message_and_no_commit() {
    let dir = folder();
    let mut committed = [0; PARTITIONS as usize];
    let mut sent: Vec<(i32, i64, u64)> = Vec::new();
    for life in 1..=8 {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["killed::victim", "--exact", "--nocapture"]).env(VICTIM, dir.path());
        let mut victim =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started");
        let mut told = BufReader::new(victim.stderr.take().expect("a pipe")).lines();
        // Killed after so many lines, while it goes on; what it said until it was dead counts too.
        let mut lines: Vec<String> = Vec::new();
        while lines.len() < 300 * life || !lines.iter().any(|line| line.starts_with("committed")) {
            lines.push(told.next().expect("it goes on").expect("text"));
        }
        victim.kill().expect("killed");
        lines.extend(told.map_while(Result::ok));
        victim.wait().expect("gone");
        for line in lines {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["sent", id, partition, offset] => sent.push((
                    partition.parse().expect("a number"),
                    offset.parse().expect("a number"),
                    id.parse().expect("a number"),
                )),
                ["committed", partition, offset] => {
                    committed[partition.parse::<usize>().expect("a number")] = offset.parse().expect("a number");
                }
                _ => panic!("unexpected: {line}"),
            }
        }

        let hub = open(dir.path());
        let mut reader = subscribe(&hub, &["orders"], None, Start::Earliest);
        let mut held = std::collections::BTreeMap::new();
        for (_, partition, offset, value) in drain(&mut *reader) {
            let id = String::from_utf8(value).expect("text").split(' ').next().expect("an id").to_owned();
            assert!(held.insert((partition, offset), id).is_none());
        }
        for (partition, offset, id) in &sent {
            assert_eq!(held.get(&(*partition, *offset)), Some(&id.to_string()), "life {life}");
        }
        // One that was written and not told yet may be there for each life, and no more.
        assert!(held.len() <= sent.len() + life, "{} held, {} sent", held.len(), sent.len());
        let lags = Admin::lag(&hub, "g", TIMEOUT).expect("known");
        for lag in lags {
            let number = usize::try_from(lag.partition).expect("a number");
            let position = lag.position.expect("committed");
            // It was killed between the commit and the word about it, at worst.
            assert!((committed[number]..=committed[number] + 1).contains(&position), "life {life}: {lag:?}");
            committed[number] = position;
        }
        // Goes on where it has committed.
        let mut member = subscribe(&hub, &["orders"], Some("g"), Start::Latest);
        let mut firsts = std::collections::BTreeMap::new();
        for (_, partition, offset, _) in drain(&mut *member) {
            firsts.entry(partition).or_insert(offset);
        }
        for (partition, first) in firsts {
            assert_eq!(first, committed[usize::try_from(partition).expect("a number")]);
        }
        member.close().expect("closed");
    }
}
