//! What survives the process: state, outbox and how far the hub was read, committed together in one file.
//!
//! State is a snapshot of the engine and a journal of what it was told since: the engine is a function, so the same events
//! in the same order make the same state. An outbox holds what is to be delivered until it is; what cannot be is put with
//! the dead. Each call of [`Store`] that writes is one transaction that is on disk when it returns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::engine::general_purpose::STANDARD;
use gds_alerting::effect::{Notification, Transition};
use gds_alerting::engine::{Engine, Snapshot};
use gds_alerting::replay::Input;
use gds_alerting::rules::Rules;
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const PARTITIONS: TableDefinition<'_, &str, i32> = TableDefinition::new("partitions");
const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
const OUTBOX: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("outbox");
const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead");
const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");
const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");

/// Of the form of the file.
const VERSION: &[u8] = b"1";
/// Lines of the history, and dead notifications, that are kept.
const KEPT: u64 = 100_000;

/// A message that cannot be used, on its way to the topic of dead letters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Where it was read.
    pub topic: String,
    /// The partition it was in.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// Of the message, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// What counters call the fault.
    pub reason: String,
    /// What was wrong, without anything of the message.
    pub error: String,
    /// As it was.
    #[serde(with = "bytes")]
    pub key: Option<Vec<u8>>,
    /// As it was.
    #[serde(with = "bytes")]
    pub value: Option<Vec<u8>>,
    /// As they were.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What is to be delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// Somebody is to be told.
    Notification(Box<Notification>),
    /// Somebody has taken an alert on, and a receiver that knows of it is to know that too.
    Acknowledged(Box<Notification>),
    /// A message that cannot be used.
    DeadLetter(Box<DeadLetter>),
}

impl Item {
    /// The channel of a notification; none for what goes to the hub's dead letters.
    pub fn channel(&self) -> Option<&str> {
        match self {
            Self::Notification(said) | Self::Acknowledged(said) => Some(&said.channel),
            Self::DeadLetter(_) => None,
        }
    }
}

/// An item that was given up, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dead {
    /// What was to be delivered.
    pub item: Item,
    /// Why it was not.
    pub reason: String,
    /// When it was given up, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What a person did, or wanted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who.
    pub by: String,
    /// What: `acknowledge`, `resolve`, `silence`, `unsilence`.
    pub action: String,
    /// The key of an alert, or the id of a silence.
    pub about: String,
    /// What they said of it.
    pub detail: String,
    /// Why it was not done, if it was not.
    pub refused: Option<String>,
}

/// What one round of the engine leaves behind.
#[derive(Debug, Default)]
pub struct Round {
    /// What it was told, in order.
    pub inputs: Vec<Input>,
    /// What is to be delivered, in order.
    pub items: Vec<Item>,
    /// Lines of the history, in order.
    pub transitions: Vec<Transition>,
    /// What people did, in order.
    pub acts: Vec<Act>,
    /// Partitions that have a number now: topic, partition, number.
    pub partitions: Vec<(String, i32, i32)>,
}

impl Round {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.items.is_empty() && self.partitions.is_empty() && self.acts.is_empty()
    }
}

/// What a store had to say when it was opened.
#[derive(Debug)]
pub struct Restored {
    /// State, under the rules that were asked for.
    pub engine: Engine,
    /// The number that the engine knows a partition by.
    pub partitions: BTreeMap<(String, i32), i32>,
    /// When the first process began, in milliseconds since 1970.
    pub began_ms: i64,
    /// Events that were replayed.
    pub replayed: usize,
}

/// State in a file. One process at a time has it.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    database: Database,
}

impl Store {
    /// Opens a file, or makes it; `hub` says what it belongs to, and has to be the same each time.
    pub fn open(path: &Path, hub: &str, now_ms: i64) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| Error::store(folder, "cannot be made", error))?;
        }
        let database = Database::create(path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => {
                Error::store(path, "is in use by another process", "end that one, or give another --group or --state")
            }
            error => Error::store(path, "cannot be opened", error),
        })?;
        let store = Self { path: path.to_owned(), database };
        store.write(|transaction| {
            for table in [JOURNAL, OUTBOX, DEAD, HISTORY, AUDIT] {
                transaction.open_table(table)?;
            }
            transaction.open_table(PARTITIONS)?;
            let mut meta = transaction.open_table(META)?;
            if meta.get("version")?.is_none() {
                meta.insert("version", VERSION)?;
                meta.insert("hub", hub.as_bytes())?;
                meta.insert("began", now_ms.to_string().as_bytes())?;
            }
            Ok(())
        })?;
        if store.meta("version")?.as_deref() != Some(VERSION) {
            return Err(Error::store(path, "is of another version", "use the program that has written it"));
        }
        let of = store.meta("hub")?.unwrap_or_default();
        if of != hub.as_bytes() {
            let of = String::from_utf8_lossy(&of).into_owned();
            return Err(Error::store(path, &format!("holds the state for {of}, not {hub}"), "give another --state"));
        }
        Ok(store)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state that was kept, under these rules. What was evaluated under others is replayed under those first.
    pub fn restore(&self, text: &str, rules: &Arc<Rules>) -> Result<Restored> {
        let kept_text = self.meta("rules")?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let before = match kept_text.as_deref().filter(|kept| *kept != text) {
            // Rules that an older version took and this one does not are replayed under the new ones.
            Some(kept) => Rules::parse(kept).map_or_else(|_| Arc::clone(rules), Arc::new),
            None => Arc::clone(rules),
        };
        let mut engine = match self.meta("snapshot")? {
            Some(bytes) => Engine::restore(&before, self.parse::<Snapshot>(&bytes, "snapshot")?),
            None => Engine::new(Arc::clone(&before)),
        };
        let mut effects = Vec::new();
        let mut replayed = 0;
        self.each(JOURNAL, |_, bytes| {
            let input: Input = self.parse(bytes, "journal")?;
            engine.step(&input.event, input.now_ms, &mut effects);
            effects.clear(); // what came of it is in the outbox, or was delivered
            replayed += 1;
            Ok(())
        })?;
        if !Arc::ptr_eq(&before, rules) {
            engine.reload(rules);
        }
        let mut partitions = BTreeMap::new();
        let transaction = self.read()?;
        let table = self.of(transaction.open_table(PARTITIONS))?;
        for entry in self.of(table.iter())? {
            let (name, number) = self.of(entry)?;
            if let Some((partition, topic)) = name.value().split_once('/') {
                partitions.insert((topic.to_owned(), partition.parse().unwrap_or(0)), number.value());
            }
        }
        let began = self.meta("began")?.unwrap_or_default();
        let began_ms = String::from_utf8_lossy(&began).parse().unwrap_or(0);
        Ok(Restored { engine, partitions, began_ms, replayed })
    }

    /// Keeps a round as a whole. The numbers that its items have in the outbox, in order.
    pub fn commit(&self, round: &Round) -> Result<Vec<u64>> {
        let mut numbers = Vec::with_capacity(round.items.len());
        self.write(|transaction| {
            append(&mut transaction.open_table(JOURNAL)?, &round.inputs)?;
            let mut outbox = transaction.open_table(OUTBOX)?;
            // Never a number that was used before: it may be that of a delivery which is being settled.
            let mut next = next_number(&transaction.open_table(META)?, &outbox)?;
            for item in &round.items {
                outbox.insert(next, json(item).as_slice())?;
                numbers.push(next);
                next += 1;
            }
            transaction.open_table(META)?.insert("next", next.to_string().as_bytes())?;
            let mut history = transaction.open_table(HISTORY)?;
            append(&mut history, &round.transitions)?;
            trim(&mut history)?;
            let mut audit = transaction.open_table(AUDIT)?;
            append(&mut audit, &round.acts)?;
            trim(&mut audit)?;
            let mut partitions = transaction.open_table(PARTITIONS)?;
            for (topic, partition, number) in &round.partitions {
                partitions.insert(format!("{partition}/{topic}").as_str(), *number)?;
            }
            Ok(())
        })?;
        Ok(numbers)
    }

    /// Keeps the whole state, and empties the journal.
    pub fn snapshot(&self, engine: &Engine, text: &str) -> Result<()> {
        let snapshot = json(&engine.snapshot());
        self.write(|transaction| {
            let mut meta = transaction.open_table(META)?;
            meta.insert("snapshot", snapshot.as_slice())?;
            meta.insert("rules", text.as_bytes())?;
            transaction.delete_table(JOURNAL)?;
            transaction.open_table(JOURNAL)?;
            Ok(())
        })
    }

    /// What is to be delivered, in order.
    pub fn outbox(&self) -> Result<Vec<(u64, Item)>> {
        let mut found = Vec::new();
        self.each(OUTBOX, |number, bytes| {
            found.push((number, self.parse(bytes, "outbox")?));
            Ok(())
        })?;
        Ok(found)
    }

    /// Takes items out of the outbox: delivered, or dead for a reason.
    pub fn settle(&self, settled: &[(u64, Option<String>)], now_ms: i64) -> Result<()> {
        self.write(|transaction| {
            let mut outbox = transaction.open_table(OUTBOX)?;
            let mut dead = transaction.open_table(DEAD)?;
            for (number, reason) in settled {
                let Some(item) = outbox.remove(number)? else { continue };
                if let (Some(reason), Ok(item)) = (reason, serde_json::from_slice(item.value())) {
                    append(&mut dead, &[Dead { item, reason: reason.clone(), at_ms: now_ms }])?;
                }
            }
            trim(&mut dead)
        })
    }

    /// What was given up, the oldest first.
    pub fn dead(&self) -> Result<Vec<Dead>> {
        self.all(DEAD, "dead")
    }

    /// Transitions, the oldest first.
    pub fn history(&self) -> Result<Vec<Transition>> {
        self.all(HISTORY, "history")
    }

    /// What people did, the oldest first.
    pub fn audit(&self) -> Result<Vec<Act>> {
        self.all(AUDIT, "audit")
    }

    /// How many events are in the journal.
    pub fn journal_len(&self) -> Result<u64> {
        let transaction = self.read()?;
        self.of(self.of(transaction.open_table(JOURNAL))?.len())
    }

    fn all<T: for<'a> Deserialize<'a>>(&self, table: TableDefinition<'_, u64, &[u8]>, what: &str) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.each(table, |_, bytes| {
            found.push(self.parse(bytes, what)?);
            Ok(())
        })?;
        Ok(found)
    }

    fn each(
        &self,
        table: TableDefinition<'_, u64, &[u8]>,
        mut with: impl FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let transaction = self.read()?;
        let table = self.of(transaction.open_table(table))?;
        for entry in self.of(table.iter())? {
            let (number, bytes) = self.of(entry)?;
            with(number.value(), bytes.value())?;
        }
        Ok(())
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let transaction = self.read()?;
        let table = self.of(transaction.open_table(META))?;
        let found = self.of(table.get(key))?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn parse<T: for<'a> Deserialize<'a>>(&self, bytes: &[u8], what: &str) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|error| Error::store(&self.path, &format!("{what} is damaged"), error))
    }

    fn read(&self) -> Result<redb::ReadTransaction> {
        self.of(self.database.begin_read())
    }

    fn write(&self, with: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<()> {
        let transaction = self.of(self.database.begin_write())?;
        with(&transaction).map_err(|error| Error::store(&self.path, "cannot be written", error))?;
        self.of(transaction.commit())
    }

    fn of<T, E: std::fmt::Display>(&self, result: Result<T, E>) -> Result<T> {
        result.map_err(|error| Error::store(&self.path, "cannot be used", error))
    }
}

/// Texts, numbers and maps of texts: writing those to memory cannot fail.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

type Rows<'a> = Table<'a, u64, &'static [u8]>;

fn next_number(meta: &impl ReadableTable<&'static str, &'static [u8]>, outbox: &Rows<'_>) -> Result<u64, redb::Error> {
    let kept = meta.get("next")?.and_then(|value| String::from_utf8_lossy(value.value()).parse().ok());
    let last = outbox.last()?.map_or(0, |(number, _)| number.value() + 1);
    Ok(last.max(kept.unwrap_or(0)))
}

fn append<T: Serialize>(table: &mut Rows<'_>, values: &[T]) -> Result<(), redb::Error> {
    let next = table.last()?.map_or(0, |(number, _)| number.value() + 1);
    for (number, value) in (next..).zip(values) {
        table.insert(number, json(value).as_slice())?;
    }
    Ok(())
}

/// Forgets the oldest beyond what is kept.
fn trim(table: &mut Rows<'_>) -> Result<(), redb::Error> {
    while table.len()? > KEPT {
        table.pop_first()?;
    }
    Ok(())
}

/// Bytes as base64.
mod bytes {
    use base64::Engine as _;

    use super::{Deserialize, Deserializer, STANDARD, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| STANDARD.decode(text).map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests;
