use super::{PlotError, escaped, svg};
use cardio_core::acquisition::WaveformKind;
use cardio_core::calibration::Calibration;
use cardio_core::index::SampleIndex;
use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::{Recording, Run, Waveform};
use cardio_signal::analyse::analyse;
use cardio_signal::synth::{EcgSynth, SynthConfig, to_adu, twelve};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

fn strip(seconds: usize) -> Recording {
    let rate = SamplingRate::hz(250).unwrap();
    let calibration = Calibration::millivolts(200.0, 0.0).unwrap();
    let mut synth = EcgSynth::new(SynthConfig::calm(5, rate));
    let mut rows = vec![Vec::new(); 12];
    for _ in 0..seconds * 250 {
        for (row, value) in rows.iter_mut().zip(twelve(&synth.next_measured())) {
            row.push(to_adu(value, &calibration, (-32_768, 32_767)));
        }
    }
    // One lead without contact in the second half.
    let half = rows[8].len() / 2;
    rows[8][half..].fill(0);
    Recording {
        format: "test",
        name: "a <strip> & more\u{1}".to_owned(),
        waveforms: Lead::ALL
            .into_iter()
            .zip(rows)
            .map(|(lead, samples)| Waveform {
                label: lead.name().to_owned(),
                kind: WaveformKind::Ecg(lead),
                rate,
                calibration: calibration.clone(),
                runs: vec![Run {
                    first: SampleIndex(0),
                    samples: samples.into(),
                }],
            })
            .collect(),
        ..Recording::default()
    }
}

/// Every element with its attributes, by an independent parser that checks that they match.
fn elements(text: &str) -> Vec<Vec<(String, String)>> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let attributes = |start: &BytesStart<'_>| {
        let name = start.name().as_ref().to_owned();
        let own = start.attributes().map(|attribute| {
            let attribute = attribute.unwrap();
            (
                attribute.key.as_ref().to_owned(),
                attribute.value.into_owned(),
            )
        });
        [("element".to_owned(), name)]
            .into_iter()
            .chain(own)
            .collect()
    };
    let mut found = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) | Event::Empty(start) => found.push(attributes(&start)),
            Event::Eof => return found,
            _ => {}
        }
    }
}

fn value<'a>(element: &'a [(String, String)], name: &str) -> &'a str {
    let found = element.iter().find(|(key, _)| key == name);
    found.map_or("", |(_, value)| value)
}

#[test]
fn marks_lie_where_the_beats_are_and_the_grid_is_to_scale() {
    let recording = strip(20);
    let analysis = analyse(&recording);
    let text = svg(&recording, &analysis, 3.0, 10.0).unwrap();
    let all = elements(&text);
    assert_eq!(value(&all[0], "width"), "277.00mm");
    assert_eq!(value(&all[0], "viewBox"), "0 0 277.00 390.00");
    let expected: Vec<(u64, f64)> = analysis
        .beats
        .as_ref()
        .unwrap()
        .beats
        .iter()
        .map(|beat| beat.at.0)
        .filter(|at| (750..=3_250).contains(at))
        .map(|at| {
            (
                at,
                22.0 + (f64::from(u32::try_from(at).unwrap()) / 250.0 - 3.0) * 25.0,
            )
        })
        .collect();
    let marks: Vec<usize> = (0..all.len())
        .filter(|place| value(&all[*place], "class") == "beat")
        .collect();
    assert!(expected.len() >= 10);
    assert_eq!(marks.len(), expected.len());
    for (place, (at, x)) in marks.into_iter().zip(expected) {
        assert_eq!(value(&all[place], "data-sample"), at.to_string());
        let told: f64 = value(&all[place + 1], "x1").parse().unwrap();
        assert!((told - x).abs() < 0.006, "{told} is not {x}");
    }
    let count = |class: &str| all.iter().filter(|e| value(e, "class") == class).count();
    assert_eq!(
        (count("trace"), count("calibration"), count("lead")),
        (12, 12, 12)
    );
    assert!(count("insufficient") >= 1);
    assert!(count("wave") >= 3);
    assert!(
        text.contains("a &lt;strip&gt; &amp; more") && text.contains("3.0 s to 13.0 s of 20.0 s")
    );
}

#[test]
fn a_long_recording_is_drawn_for_a_minute_at_most_and_a_gap_is_no_line() {
    let mut recording = strip(90);
    for wave in &mut recording.waveforms {
        let all = wave.runs[0].samples.as_slice().to_vec();
        wave.runs[0].samples = all[..5_000].into();
        wave.runs.push(Run {
            first: SampleIndex(6_000),
            samples: all[6_000..].into(),
        });
    }
    let analysis = analyse(&recording);
    let text = svg(&recording, &analysis, 0.0, 1e9).unwrap();
    assert!(text.len() < 6_000_000, "{} bytes", text.len());
    let all = elements(&text);
    let count = |class: &str| all.iter().filter(|e| value(e, "class") == class).count();
    assert_eq!((count("trace"), count("gap")), (24, 12));
    assert!(text.contains("0.0 s to 60.0 s of 90.0 s"));
}

#[test]
fn a_span_outside_of_the_recording_or_without_leads_is_refused() {
    let recording = strip(4);
    let analysis = analyse(&recording);
    for (from_s, seconds) in [
        (4.0, 10.0),
        (-1.0, 10.0),
        (f64::NAN, 1.0),
        (0.0, 0.0),
        (0.0, -5.0),
    ] {
        let refused = svg(&recording, &analysis, from_s, seconds);
        assert!(refused.is_err(), "{from_s} {seconds}");
    }
    let empty = Recording::default();
    assert_eq!(
        svg(&empty, &analyse(&empty), 0.0, 10.0),
        Err(PlotError::NoEcg)
    );
}

#[test]
fn words_of_a_file_cannot_become_markup() {
    assert_eq!(
        escaped("<a href=\"x\">&\u{0}\u{7}"),
        "&lt;a href=&quot;x&quot;&gt;&amp;"
    );
}
