//! Names and texts, in the order of the names.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::text::Text;

/// What tells series of one name apart: each name once, in the order of the names.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// The text of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        Some(&self.0[found].1)
    }

    /// Name and text of each, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of a name that comes twice, the last text counts.
impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut all: Vec<(String, String)> = pairs.into_iter().map(|(name, text)| (name.into(), text.into())).collect();
        if !all.is_sorted_by(|before, after| before.0 < after.0) {
            all.sort_by(|one, other| one.0.cmp(&other.0));
            all.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                if same {
                    std::mem::swap(later, kept);
                }
                same
            });
        }
        Self(all)
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TagsVisitor)
    }
}

struct TagsVisitor;

impl<'de> Visitor<'de> for TagsVisitor {
    type Value = Tags;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of texts")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Tags, M::Error> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        while let Some((name, text)) = map.next_entry::<String, Text>()? {
            pairs.push((name, text.0));
        }
        Ok(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_in_order_and_the_last_text_of_a_name_counts() {
        let tags: Tags = [("b", "1"), ("a", "2"), ("b", "3"), ("a", "4"), ("b", "5")].into_iter().collect();
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("a", "4"), ("b", "5")]);
        assert_eq!((tags.get("a"), tags.get("b"), tags.get("c")), (Some("4"), Some("5"), None));
        assert_eq!((tags.len(), tags.is_empty()), (2, false));
    }

    #[test]
    fn what_is_no_text_is_read_as_its_text() {
        let tags: Tags = serde_json::from_str(r#"{"i":1,"f":0.5,"b":true,"n":null,"t":"x"}"#).unwrap();
        assert_eq!(serde_json::to_string(&tags).unwrap(), r#"{"b":"true","f":"0.5","i":"1","n":"","t":"x"}"#);
        assert!(serde_json::from_str::<Tags>(r#"{"a":{}}"#).is_err());
    }
}
