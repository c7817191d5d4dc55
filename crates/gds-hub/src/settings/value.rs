//! Values as a program gives them, and the shapes that settings ask of them.

use std::fmt;

use crate::error::{Error, Result};

/// A value as it was given, before it is known what it is for.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Nothing: as if the key had not been given, except that the key must exist.
    None,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number, infinity included.
    Float(f64),
    /// Text; paths too.
    Text(String),
    /// Several texts.
    List(Vec<String>),
    /// Something else, by the name of its type. No setting takes it, but some say what to give instead.
    Other(String),
}

/// Names the type only: whether a value is secret depends on the key, which is not known here.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Bool(_) => "Bool(..)",
            Self::Int(_) => "Int(..)",
            Self::Float(_) => "Float(..)",
            Self::Text(_) => "Text(..)",
            Self::List(_) => "List(..)",
            Self::Other(_) => "Other(..)",
        })
    }
}

impl Value {
    /// As a message shows it. Not for secrets.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::None => "None".to_owned(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => format!("{text:?}"),
            Self::List(texts) => format!("{texts:?}"),
            Self::Other(kind) => format!("an object of type {kind}"),
        }
    }

    /// As librdkafka reads it.
    pub(super) fn plain(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) | Self::Other(text) => text.clone(),
            Self::List(texts) => texts.join(","),
        }
    }
}

/// What a setting asks of its value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Flag,
    Whole(i64, i64),
    /// A whole number, where infinity stands for the highest.
    Endless(i64, i64),
    Seconds,
    /// One of these words, in any case; the listed spelling is kept.
    Choice(&'static [&'static str]),
    Text,
    Secret,
    /// One text or several.
    Texts,
    /// 0, 1, -1 or "all", which is -1.
    Acks,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("True or False"),
            Self::Whole(least, i64::MAX) => write!(f, "a whole number from {least}"),
            Self::Whole(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::Endless(least, most) => write!(f, "a whole number from {least} to {most}, or infinity"),
            Self::Seconds => f.write_str("a number of seconds, 0 or more"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::Text | Self::Secret => f.write_str("text"),
            Self::Texts => f.write_str("text or a list of texts"),
            Self::Acks => f.write_str("0, 1, -1 or \"all\""),
        }
    }
}

impl Shape {
    /// `value` in the one form of this shape; else an error that shows the value, unless it is a secret.
    pub(super) fn take(self, name: &str, value: &Value) -> Result<Value> {
        self.fitting(value).ok_or_else(|| {
            let shown = match self {
                Self::Secret => "the value given (not shown: it is a secret)".to_owned(),
                _ => value.shown(),
            };
            Error::Config(format!("{name}: {shown} is no valid value: expected {self}").into())
        })
    }

    fn fitting(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Self::Flag, Value::Bool(_)) | (Self::Acks, Value::Int(-1..=1)) => Some(value.clone()),
            (Self::Acks, Value::Text(text)) => (text == "all").then_some(Value::Int(-1)),
            (Self::Whole(least, most) | Self::Endless(least, most), Value::Int(number)) => {
                (least..=most).contains(number).then(|| value.clone())
            }
            (Self::Endless(_, most), Value::Float(f64::INFINITY)) => Some(Value::Int(most)),
            // kafka-python takes floats where it counts milliseconds.
            (Self::Whole(least, most) | Self::Endless(least, most), Value::Float(number)) => {
                let whole = number.fract() == 0.0 && number.abs() < 9e15;
                #[allow(clippy::cast_possible_truncation)] // whole and small enough, just checked
                let number = *number as i64;
                (whole && (least..=most).contains(&number)).then_some(Value::Int(number))
            }
            (Self::Seconds, Value::Int(number)) => {
                (0..=1_000_000_000).contains(number).then_some(Value::Float(*number as f64))
            }
            (Self::Seconds, Value::Float(number)) => (0.0..=1e9).contains(number).then(|| value.clone()),
            (Self::Choice(words), Value::Text(text)) => {
                words.iter().find(|word| word.eq_ignore_ascii_case(text)).map(|word| Value::Text((*word).to_owned()))
            }
            // A NUL cannot be said to librdkafka or to the file system.
            (Self::Text | Self::Secret, Value::Text(text)) => (!text.contains('\0')).then(|| value.clone()),
            (Self::Texts, Value::Text(text)) => Some(Value::List(text.split(',').map(str::to_owned).collect())),
            (Self::Texts, Value::List(texts)) => (!texts.is_empty()).then(|| value.clone()),
            _ => None,
        }
    }
}
