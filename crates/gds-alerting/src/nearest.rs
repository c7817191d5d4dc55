//! The name that somebody may have meant.

/// The known name nearest to one that is not, if one is near.
pub(crate) fn nearest<'known>(name: &str, known: &[&'known str]) -> Option<&'known str> {
    let allowed = (name.chars().count() / 3).max(1);
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}
