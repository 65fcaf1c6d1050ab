//! What must hold of every file that is cut or damaged.

use cardio_core::recording::{Recording, Waveform};
use cardio_formats::FormatError;

/// An error says what, and where: the format, its field, and the place in the file. A file that
/// begins like no format has none, and one that lies beside and is absent has no place.
pub(crate) fn assert_explained(error: &FormatError, what: &str) {
    assert!(error.code().starts_with("format."), "{what}: {error}");
    if matches!(error, FormatError::Open { .. }) {
        return;
    }
    let known = error.format().is_some() || matches!(error, FormatError::Unrecognised { .. });
    let placed = error.field().is_some() && error.offset().is_some();
    assert!(known && placed, "{what}: {error}");
}

/// A part of a file holds samples of the whole at their own places, and no others. What a row is
/// called may itself be cut.
pub(crate) fn assert_nothing_invented(whole: &Recording, part: &Recording, what: &str) {
    for row in &part.waveforms {
        let known = whole.waveforms.iter().any(|twin| is_part_of(row, twin));
        assert!(known, "{what}: {} holds what the whole does not", row.label);
    }
}

fn is_part_of(row: &Waveform, whole: &Waveform) -> bool {
    row.runs.iter().all(|run| {
        let first = run.first.0;
        run.samples.is_empty()
            || whole.runs.iter().any(|of| {
                let late = first.checked_sub(of.first.0);
                let late = late.and_then(|late| usize::try_from(late).ok());
                let until = |late: usize| late.saturating_add(run.samples.len());
                late.and_then(|late| of.samples.as_slice().part(late..until(late)))
                    .is_some_and(|twin| twin.iter().eq(&run.samples))
            })
    })
}
