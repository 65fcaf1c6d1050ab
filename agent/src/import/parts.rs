//! A surveyed recording as acquisitions: rows of one rate whose samples and gaps lie at the
//! same places, and when they were taken as far as the file says.

use cardio_core::acquisition::{Acquisition, Attendance, WaveformSpec};
use cardio_core::clock::UtcMicros;
use cardio_core::device::IntegrityClass;
use cardio_core::gap::Gap;
use cardio_core::ids::AcquisitionId;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;
use cardio_formats::survey::{Extents, Survey};

use super::ImportPlan;

/// The longest segment, in seconds: what an unattended recording has.
const SEGMENT_S: u64 = 5;
/// The most samples in a segment over all rows, so that its frame stays below the limit
/// whatever the samples are.
const SEGMENT_SAMPLES_MAX: u64 = 48_000;

/// Rows that go together.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Their places in the recording.
    pub(super) rows: Vec<usize>,
    pub(super) rate: SamplingRate,
    extents: Extents,
}

/// One thing of a part's time line, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Samples {
        first: SampleIndex,
        len: SampleCount,
    },
    Gap(Gap),
}

impl Piece {
    pub(super) fn end(self) -> SampleIndex {
        match self {
            Self::Samples { first, len } => first.after(len),
            Self::Gap(gap) => gap.end(),
        }
    }
}

/// When the first sample was taken: wall time, which nobody vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start(pub(super) UtcMicros);

/// The parts of a recording; rows without a sample belong to none.
pub(super) fn of(survey: &Survey) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let rows = survey.recording.waveforms.iter().zip(&survey.rows);
    for (place, (waveform, extents)) in rows.enumerate() {
        if extents.samples().is_empty() {
            continue;
        }
        let fits = |part: &&mut Part| part.rate == waveform.rate && part.extents == *extents;
        match parts.iter_mut().find(fits) {
            Some(part) => part.rows.push(place),
            None => parts.push(Part {
                rows: vec![place],
                rate: waveform.rate,
                extents: extents.clone(),
            }),
        }
    }
    parts
}

/// When a recording began: as it states, in the zone of this box where it states none; else
/// so long before the file was last written as it lasts.
pub(super) fn start(survey: &Survey, modified_us: i64) -> Start {
    let stated = survey.recording.start.as_ref().and_then(|start| {
        let local: jiff::civil::DateTime = start.local.parse().ok()?;
        let zone = match start.utc_offset_minutes {
            Some(minutes) => {
                let seconds = minutes.checked_mul(60)?;
                jiff::tz::Offset::from_seconds(seconds).ok()?.to_time_zone()
            }
            None => jiff::tz::TimeZone::system(),
        };
        let at = local.to_zoned(zone).ok()?;
        Some(at.timestamp().as_microsecond())
    });
    let rows = survey.recording.waveforms.iter().zip(&survey.rows);
    let lasts = rows.map(|(waveform, extents)| waveform.rate.micros_at(extents.end()));
    let lasts = i64::try_from(lasts.max().unwrap_or(0)).unwrap_or(i64::MAX);
    Start(UtcMicros(
        stated.unwrap_or(modified_us.saturating_sub(lasts)),
    ))
}

impl Part {
    pub(super) fn samples(&self) -> u64 {
        let rows = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        self.extents.samples().0.saturating_mul(rows)
    }

    pub(super) fn end(&self) -> SampleIndex {
        self.extents.end()
    }

    /// The acquisition that the part becomes.
    pub(super) fn acquisition(
        &self,
        id: AcquisitionId,
        plan: &ImportPlan,
        recording: &Recording,
    ) -> Acquisition {
        let spec = |place: &usize| {
            let waveform = recording.waveforms.get(*place)?;
            Some(WaveformSpec {
                kind: waveform.kind.clone(),
                calibration: waveform.calibration.clone(),
            })
        };
        Acquisition {
            id,
            subject: plan.subject.clone(),
            source: plan.source.clone(),
            device: recording.device.clone(),
            integrity: IntegrityClass::File,
            rate: self.rate,
            waveforms: self.rows.iter().filter_map(spec).collect(),
            attendance: Attendance::Unattended,
        }
    }

    /// Segments and gaps in order. Segments end on multiples of one span, so that they are
    /// the same at every try.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        let span = self.span();
        let mut gaps = self.extents.gaps().into_iter().peekable();
        let mut pieces = Vec::new();
        for extent in self.extents.all() {
            if let Some(gap) = gaps.next_if(|gap| gap.end() == extent.first) {
                pieces.push(Piece::Gap(gap));
            }
            let mut at = extent.first;
            while at < extent.end() {
                let border = SampleIndex((at.0 / span).saturating_add(1).saturating_mul(span));
                let until = border.min(extent.end());
                let len = until.since(at).unwrap_or_default();
                pieces.push(Piece::Samples { first: at, len });
                at = until;
            }
        }
        pieces
    }

    fn span(&self) -> u64 {
        let rows = u64::try_from(self.rows.len()).unwrap_or(u64::MAX).max(1);
        let five_s = self.rate.count_in_micros(SEGMENT_S * 1_000_000).0;
        five_s.min(SEGMENT_SAMPLES_MAX / rows).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Piece, Start, UtcMicros, of, start};
    use cardio_core::recording::StatedStart;
    use cardio_formats::ReadOptions;
    use cardio_formats::read::open;
    use cardio_formats::source::MemorySource;
    use cardio_formats::survey::{Survey, survey};
    use std::sync::Arc;

    fn surveyed(text: &str) -> Survey {
        let source = Arc::new(MemorySource::new().with("a.csv", text.as_bytes().to_vec()));
        survey(
            open(source, "a.csv", ReadOptions::default()).unwrap(),
            &mut |_| {},
        )
        .unwrap()
    }

    #[test]
    fn rows_with_other_gaps_are_a_part_of_their_own() {
        let parts = of(&surveyed("# rate_hz: 1\nI,II,III\n1,2,\n2,3,\n3,4,5\n"));
        let rows: Vec<_> = parts.iter().map(|part| part.rows.clone()).collect();
        assert_eq!(rows, [vec![0, 1], vec![2]]);
        assert!(matches!(parts[1].pieces()[0], Piece::Gap(_)));
    }

    #[test]
    fn pieces_cover_the_time_line_and_end_on_multiples_of_the_span() {
        let rows: String = (0..23).map(|at| format!("{at},0\n")).collect();
        let parts = of(&surveyed(&format!("# rate_hz: 2\nI,II\n{rows}")));
        let ends: Vec<u64> = parts[0]
            .pieces()
            .iter()
            .map(|piece| piece.end().0)
            .collect();
        assert_eq!(ends, [10, 20, 23]);
    }

    #[test]
    fn the_stated_offset_or_the_end_of_writing_places_the_start() {
        let mut found = surveyed("# rate_hz: 1\nI,II\n1,1\n2,2\n");
        assert_eq!(start(&found, 5_000_000), Start(UtcMicros(3_000_000)));
        found.recording.start = Some(StatedStart {
            local: "1970-01-01T01:00:01".to_owned(),
            utc_offset_minutes: Some(60),
        });
        assert_eq!(start(&found, 5), Start(UtcMicros(1_000_000)));
    }
}
