//! The known word that is nearest to a misspelt one.

/// The candidate that differs from `word` in the fewest letters, if it is near enough to be
/// what was meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = word.chars().count() / 3 + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance: insertions, deletions, replacements and swaps of neighbours (optimal
/// string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().map(|c| c.to_ascii_lowercase()).collect();
    let b: Vec<char> = b.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (row, in_a) in a.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, in_b) in b.iter().enumerate() {
            let at = |line: &[usize], place: usize| line.get(place).copied().unwrap_or(usize::MAX);
            let mut best = (at(&last, column) + usize::from(in_a != in_b))
                .min(at(&last, column + 1) + 1)
                .min(at(&current, column) + 1);
            let swapped = row > 0
                && column > 0
                && a.get(row - 1) == Some(in_b)
                && b.get(column - 1) == Some(in_a);
            if swapped {
                best = best.min(at(&before_last, column - 1) + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_misspelt_key_finds_the_right_one() {
        let keys = ["enrolment", "state", "resume_within"];
        assert_eq!(nearest("enrollment", keys), Some("enrolment"));
        assert_eq!(nearest("sttae", keys), Some("state"));
        assert_eq!(nearest("resume-within", keys), Some("resume_within"));
    }

    #[test]
    fn a_word_far_from_all_finds_nothing() {
        assert_eq!(nearest("colour", ["enrolment", "state"]), None);
    }
}
