//! A mapping of the rules file, read key by key; what is wrong goes to the sink with its place.

use crate::decimal::Number;
use crate::duration::{self, Millis};
use crate::expression::ExpressionError;
use crate::nearest::nearest;
use crate::problem::Sink;
use crate::template::Template;
use crate::yaml::{Mark, Node, NodeKind};

pub(crate) struct Fields<'a> {
    pub(crate) sink: &'a Sink,
    pub(crate) path: String,
    pub(crate) mark: Mark,
    entries: &'a [(Node, Node)],
}

impl<'a> Fields<'a> {
    /// Opens a mapping; a key that is not known is a problem that names the nearest.
    pub(crate) fn open(sink: &'a Sink, path: &str, node: &'a Node, known: &[&str]) -> Option<Self> {
        let entries = entries(sink, path, node)?;
        for (key, _) in entries {
            let name = key.scalar().unwrap_or_default();
            if !known.contains(&name) {
                let remedy = nearest(name, known).map_or_else(
                    || format!("expected one of {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                sink.put(key.mark, &join(path, name), format!("unknown key `{name}`; {remedy}"));
            }
        }
        Some(Self { sink, path: path.to_owned(), mark: node.mark, entries })
    }

    /// The value of a key; nothing where it is left out or empty.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(name, _)| name.scalar() == Some(key)).map(|(_, node)| node).filter(|n| !n.is_null())
    }

    pub(crate) fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    pub(crate) fn put(&self, key: &str, node: &Node, message: impl Into<String>) {
        self.sink.put(node.mark, &self.key(key), message);
    }

    /// Says that a key is missing.
    pub(crate) fn missing(&self, key: &str, expected: &str) {
        self.sink.put(self.mark, &self.key(key), format!("missing; expected {expected}"));
    }

    fn wrong(&self, key: &str, node: &Node, expected: &str) {
        self.put(key, node, format!("{} is wrong here; expected {expected}", node.name()));
    }

    pub(crate) fn read<T>(&self, key: &str, expected: &str, read: impl Fn(&Node) -> Option<T>) -> Option<T> {
        let node = self.get(key)?;
        let found = read(node);
        if found.is_none() {
            self.wrong(key, node, expected);
        }
        found
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.read(key, "text", |node| node.scalar().map(str::to_owned))
    }

    pub(crate) fn required(&self, key: &str, expected: &str) -> Option<String> {
        if self.get(key).is_none() {
            self.missing(key, expected);
        }
        self.text(key)
    }

    pub(crate) fn boolean(&self, key: &str, default: bool) -> bool {
        self.read(key, "true or false", |node| match node.scalar()? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
        .unwrap_or(default)
    }

    pub(crate) fn duration(&self, key: &str) -> Option<Millis> {
        self.read(key, "a duration such as 30s, 5m or 1h30m", |node| duration::parse(node.scalar()?))
    }

    pub(crate) fn number(&self, key: &str) -> Option<Number> {
        self.read(key, "a number", |node| Number::parse(node.scalar()?))
    }

    pub(crate) fn required_number(&self, key: &str) -> Option<Number> {
        if self.get(key).is_none() {
            self.missing(key, "a number");
        }
        self.number(key)
    }

    pub(crate) fn count(&self, key: &str, least: u32, most: u32) -> Option<u32> {
        let expected = format!("a whole number from {least} to {most}");
        self.read(key, &expected, |node| node.scalar()?.parse().ok().filter(|count| (least..=most).contains(count)))
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", words.join(", "));
        self.read(key, &expected, |node| {
            let word = node.scalar()?;
            choices.iter().find(|(choice, _)| *choice == word).map(|(_, value)| *value)
        })
    }

    /// A text, or a list of texts.
    pub(crate) fn texts(&self, key: &str) -> Option<Vec<String>> {
        self.read(key, "text or a list of texts", texts)
    }

    /// The members of a list with their paths.
    pub(crate) fn list(&self, key: &str) -> Vec<(String, &'a Node)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let NodeKind::List(members) = &node.kind else {
            self.wrong(key, node, "a list");
            return Vec::new();
        };
        members.iter().enumerate().map(|(index, member)| (format!("{}[{index}]", self.key(key)), member)).collect()
    }

    /// The entries of a mapping of free keys, with their paths.
    pub(crate) fn map(&self, key: &str) -> Vec<(&'a Node, String, &'a Node)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let entries = entries(self.sink, &self.key(key), node).unwrap_or_default();
        let path = |name: &Node| join(&self.key(key), name.scalar().unwrap_or_default());
        entries.iter().map(|(name, value)| (name, path(name), value)).collect()
    }

    pub(crate) fn template(&self, key: &str) -> Option<Template> {
        let node = self.get(key)?;
        self::template(self.sink, &self.key(key), node)
    }

    pub(crate) fn expression<T>(&self, key: &str, compile: impl Fn(&str) -> Result<T, ExpressionError>) -> Option<T> {
        let node = self.get(key)?;
        let Some(text) = node.scalar() else {
            self.wrong(key, node, "an expression");
            return None;
        };
        compile(text).map_err(|error| self.sink.put(within(node, text, &error), &self.key(key), error.message)).ok()
    }
}

/// Where an error is in the file: exactly, where the expression stands in one line.
fn within(node: &Node, text: &str, error: &ExpressionError) -> Mark {
    let quote = usize::from(matches!(node.kind, NodeKind::Scalar { plain: false, .. }));
    let before = &text[..error.start.min(text.len())];
    if text.contains('\n') {
        return node.mark;
    }
    Mark { line: node.mark.line, column: node.mark.column + quote + before.chars().count() }
}

pub(crate) fn template(sink: &Sink, path: &str, node: &Node) -> Option<Template> {
    let Some(text) = node.scalar() else {
        sink.put(node.mark, path, format!("{} is no template; expected text", node.name()));
        return None;
    };
    Template::new(text).map_err(|message| sink.put(node.mark, path, message)).ok()
}

pub(crate) fn texts(node: &Node) -> Option<Vec<String>> {
    match &node.kind {
        NodeKind::List(members) => members.iter().map(|member| member.scalar().map(str::to_owned)).collect(),
        _ => Some(vec![node.scalar()?.to_owned()]),
    }
}

pub(crate) fn entries<'a>(sink: &Sink, path: &str, node: &'a Node) -> Option<&'a [(Node, Node)]> {
    if let NodeKind::Map(entries) = &node.kind {
        return Some(entries);
    }
    sink.put(node.mark, path, format!("{} is wrong here; expected a mapping", node.name()));
    None
}

pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
