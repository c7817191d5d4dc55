//! Texts of labels by number, each text once.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

/// Texts that are in use, and how often.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    texts: Vec<(Arc<str>, u32)>,
    numbers: HashMap<Arc<str>, u32, FixedState>,
    free: Vec<u32>,
}

impl Symbols {
    /// The number of a text, which is in use once more.
    pub(crate) fn take(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            self.texts[*number as usize].1 += 1;
            return *number;
        }
        let shared: Arc<str> = Arc::from(text);
        let number = if let Some(number) = self.free.pop() {
            self.texts[number as usize] = (Arc::clone(&shared), 1);
            number
        } else {
            self.texts.push((Arc::clone(&shared), 1));
            u32::try_from(self.texts.len() - 1).unwrap_or(u32::MAX)
        };
        self.numbers.insert(shared, number);
        number
    }

    /// A text is in use once less.
    pub(crate) fn release(&mut self, number: u32) {
        let (text, uses) = &mut self.texts[number as usize];
        *uses -= 1;
        if *uses == 0 {
            self.numbers.remove(text);
            *text = Arc::from("");
            self.free.push(number);
        }
    }

    /// The text of a number.
    pub(crate) fn text(&self, number: u32) -> &Arc<str> {
        &self.texts[number as usize].0
    }

    /// The number of a text, where it is in use.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }
}
