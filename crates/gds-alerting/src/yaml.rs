//! YAML as a tree in which each node knows its line and column.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// A place in a text, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Line.
    pub(crate) line: usize,
    /// Column.
    pub(crate) column: usize,
}

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) kind: NodeKind,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    /// Text; `plain` where it has no quotes and so may be a number, a boolean or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// What it is, for messages.
    pub(crate) fn name(&self) -> String {
        match &self.kind {
            NodeKind::Scalar { .. } if self.is_null() => "nothing".to_owned(),
            NodeKind::Scalar { text, plain: true } => text.clone(),
            NodeKind::Scalar { text, .. } => format!("{text:?}"),
            NodeKind::List(_) => "a list".to_owned(),
            NodeKind::Map(_) => "a mapping".to_owned(),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    pub(crate) fn scalar(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }
}

const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 500_000;

/// Reads the one document of a text; an error is a place and what is wrong there.
pub(crate) fn read(text: &str) -> Result<Node, (Mark, String)> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let at = error.marker();
            (Mark { line: at.line(), column: at.col() + 1 }, format!("no YAML: {}", error.info()))
        })?;
        builder.take(event, &span)?;
    }
    builder.root.ok_or_else(|| (Mark { line: 1, column: 1 }, "the file is empty".to_owned()))
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    documents: usize,
}

struct Open {
    mark: Mark,
    anchor: usize,
    map: bool,
    children: Vec<Node>,
    nodes_before: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), (Mark, String)> {
        let mark = Mark { line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err((mark, "a second document; one file holds one".to_owned()));
                }
            }
            Event::Scalar(text, style, anchor, _) => {
                let kind = NodeKind::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.nodes += 1;
                self.put(Node { mark, kind }, anchor, 1)?;
            }
            Event::SequenceStart(anchor, _) => self.begin(mark, anchor, false)?,
            Event::MappingStart(anchor, _) => self.begin(mark, anchor, true)?,
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let kind = if open.map { NodeKind::Map(pairs(open.children)?) } else { NodeKind::List(open.children) };
                self.put(Node { mark: open.mark, kind }, open.anchor, self.nodes - open.nodes_before)?;
            }
            Event::Alias(anchor) => {
                let Some((node, nodes)) = self.anchors.get(&anchor) else {
                    return Err((mark, "an alias of what is not complete yet".to_owned()));
                };
                let (node, nodes) = (node.clone(), *nodes);
                self.nodes += nodes;
                self.put(node, 0, nodes)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        if self.nodes > MAX_NODES {
            return Err((mark, format!("more than {MAX_NODES} values, aliases counted each time")));
        }
        Ok(())
    }

    fn begin(&mut self, mark: Mark, anchor: usize, map: bool) -> Result<(), (Mark, String)> {
        if self.open.len() >= MAX_DEPTH {
            return Err((mark, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.open.push(Open { mark, anchor, map, children: Vec::new(), nodes_before: self.nodes });
        self.nodes += 1;
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), (Mark, String)> {
        if anchor != 0 {
            // Aliases multiply: what they may hold together is bounded before anything is copied.
            if nodes > MAX_NODES / 100 {
                return Err((node.mark, format!("an anchor on more than {} values", MAX_NODES / 100)));
            }
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

fn pairs(children: Vec<Node>) -> Result<Vec<(Node, Node)>, (Mark, String)> {
    let mut pairs: Vec<(Node, Node)> = Vec::with_capacity(children.len() / 2);
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut children = children.into_iter();
    while let (Some(key), Some(value)) = (children.next(), children.next()) {
        let Some(name) = key.scalar() else {
            return Err((key.mark, format!("{} is no key; a key is text", key.name())));
        };
        if let Some(line) = seen.insert(name.to_owned(), key.mark.line) {
            return Err((key.mark, format!("`{name}` is there twice, first in line {line}")));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_places() {
        let NodeKind::Map(root) = read("a: 1\nb:\n  - x\n  - {c: 'd'}\n").expect("YAML").kind else {
            panic!("a mapping")
        };
        assert_eq!(root[0].1.mark, Mark { line: 1, column: 4 });
        let NodeKind::List(list) = &root[1].1.kind else { panic!("a list") };
        assert_eq!(list[0].mark, Mark { line: 3, column: 5 });
        let NodeKind::Map(inner) = &list[1].kind else { panic!("a mapping") };
        assert_eq!(inner[0].1.mark, Mark { line: 4, column: 9 });
    }

    #[test]
    fn what_is_no_tree_is_refused_with_its_place() {
        for (text, line, said) in [
            ("a: 1\na: 2\n", 2, "`a` is there twice, first in line 1"),
            ("a: [1, 2\n", 2, "no YAML"),
            ("", 1, "empty"),
            ("a: 1\n---\nb: 2\n", 2, "second document"),
            ("[x]: 1\n", 1, "no key"),
        ] {
            let (mark, message) = read(text).expect_err(text);
            assert!(message.contains(said), "{text:?}: {message}");
            assert_eq!(mark.line, line, "{text:?}: {message}");
        }
        for (depth, said) in [(100, "64 deep"), (100_000, "recursion limit")] {
            let (_, message) = read(&"[".repeat(depth)).expect_err("deep");
            assert!(message.contains(said), "{message}");
        }
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let before = format!("*a{}", level - 1);
            let ten = vec![before; 10].join(", ");
            bomb.extend([format!("a{level}: &a{level} [{ten}]\n")]);
        }
        assert!(read(&bomb).expect_err("a bomb").1.contains("an anchor on more than"));
    }
}
