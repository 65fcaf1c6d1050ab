//! When a recording began, as far as its file and the file system say.

use cardio_core::clock::UtcMicros;
use cardio_formats::parts::lasts_us;
use cardio_formats::survey::Survey;

/// When a recording began: as it states, in the zone of this box where it states none; else
/// so long before the file was last written as it lasts.
pub(super) fn start(survey: &Survey, modified_us: i64) -> UtcMicros {
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
    let lasts = i64::try_from(lasts_us(survey)).unwrap_or(i64::MAX);
    UtcMicros(stated.unwrap_or(modified_us.saturating_sub(lasts)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cardio_core::clock::UtcMicros;
    use cardio_core::recording::StatedStart;
    use cardio_formats::ReadOptions;
    use cardio_formats::read::open;
    use cardio_formats::source::MemorySource;
    use cardio_formats::survey::survey;

    use super::start;

    #[test]
    fn the_stated_offset_or_the_end_of_writing_places_the_start() {
        let text = "# rate_hz: 1\nI,II\n1,1\n2,2\n";
        let source = Arc::new(MemorySource::new().with("a.csv", text.as_bytes().to_vec()));
        let reader = open(source, "a.csv", ReadOptions::default()).unwrap();
        let mut found = survey(reader, &mut |_| {}).unwrap();
        assert_eq!(start(&found, 5_000_000), UtcMicros(3_000_000));
        found.recording.start = Some(StatedStart {
            local: "1970-01-01T01:00:01".to_owned(),
            utc_offset_minutes: Some(60),
        });
        assert_eq!(start(&found, 5), UtcMicros(1_000_000));
    }
}
