//! A list of texts as one text, so that what one of them says of the next is seen.

use std::ops::Range;

/// `['a', 'b']`, and where in it the texts are.
pub(crate) struct List {
    pub(crate) text: String,
    pub(crate) places: Vec<Range<usize>>,
}

impl List {
    pub(crate) fn of(texts: &[&str]) -> Self {
        let mut list = Self { text: "[".to_owned(), places: Vec::with_capacity(texts.len()) };
        for text in texts {
            if list.text.len() > 1 {
                list.text.push_str(", ");
            }
            // A quote that is not in it needs no escape, which would move what is behind it.
            let quote = ['\'', '"', '`'].into_iter().find(|quote| !text.contains(*quote)).unwrap_or('\'');
            list.text.push(quote);
            let start = list.text.len();
            list.text.push_str(text);
            list.places.push(start..list.text.len());
            list.text.push(quote);
        }
        list.text.push(']');
        list
    }
}

/// What of a text at this place is secret.
pub(crate) fn within(place: &Range<usize>, secrets: &[Range<usize>]) -> Vec<Range<usize>> {
    let found = secrets.iter().map(|secret| secret.start.max(place.start)..secret.end.min(place.end));
    found
        .filter(|secret| secret.start < secret.end)
        .map(|secret| secret.start - place.start..secret.end - place.start)
        .collect()
}
