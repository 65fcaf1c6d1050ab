//! What it costs to say a span of signal in FHIR. Run with `cargo bench -p cardio-fhir`.
#![expect(clippy::unwrap_used, reason = "the inputs are constants")]

use cardio_core::acquisition::{WaveformKind, WaveformSpec};
use cardio_core::calibration::Calibration;
use cardio_core::clock::UtcMicros;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_core::sample::SampleBlock;
use cardio_core::subject::SubjectRef;
use cardio_fhir::index::index_of;
use cardio_fhir::waveform::{Context, SpanFacts, ecg_observation};

fn main() {
    divan::main();
}

struct Span {
    context: Context,
    waveforms: Vec<WaveformSpec>,
    block: SampleBlock,
}

impl Span {
    /// Ten seconds at 500 Hz of the eight measured leads.
    fn new() -> Self {
        let calibration = Calibration::millivolts(400.0, 0.0).unwrap();
        let waveforms = Lead::MEASURED_EIGHT.map(|lead| WaveformSpec {
            kind: WaveformKind::Ecg(lead),
            calibration: calibration.clone(),
        });
        let row: Vec<i32> = (0..5_000).map(|n| (n * 37) % 4_001 - 2_000).collect();
        Self {
            context: Context {
                patient: Some(SubjectRef::new("p1").unwrap()),
                box_device: "box".to_owned(),
                sensor: "sensor".to_owned(),
                performer: None,
                simulated: true,
            },
            waveforms: waveforms.to_vec(),
            block: SampleBlock::new(SampleIndex(0), vec![row; 8]).unwrap(),
        }
    }

    fn facts(&self) -> SpanFacts<'_> {
        SpanFacts {
            id: "span".to_owned(),
            context: &self.context,
            waveforms: &self.waveforms,
            block: &self.block,
            rate: SamplingRate::hz(500).unwrap(),
            start: UtcMicros(0),
            time_is_vouched_for: true,
            verdict: None,
            clock: None,
            sensor_key: None,
        }
    }
}

/// Twelve leads, 10 s, 500 Hz. Budget: 5 ms of the 50 ms that filing an exam may take.
#[divan::bench]
fn span_of_12_leads_10_s(bencher: divan::Bencher<'_, '_>) {
    let span = Span::new();
    bencher.bench_local(|| ecg_observation(&span.facts()));
}

/// The same, as text. Budget: 5 ms.
#[divan::bench]
fn span_of_12_leads_10_s_as_text(bencher: divan::Bencher<'_, '_>) {
    let span = Span::new();
    bencher.bench_local(|| ecg_observation(&span.facts()).unwrap().to_string());
}

/// What it is searched by. Budget: 50 microseconds.
#[divan::bench]
fn index_of_a_span(bencher: divan::Bencher<'_, '_>) {
    let observation = ecg_observation(&Span::new().facts()).unwrap();
    bencher.bench_local(|| index_of(&observation));
}
