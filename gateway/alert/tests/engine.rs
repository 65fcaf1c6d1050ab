//! The engine told a recording, window by window.

#![expect(
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests; positions in lists are small"
)]

use cardio_alert::engine::{Again, StandingState};
use cardio_alert::{
    Alert, AlertEvent, Algorithm, EndReason, Ended, Engine, EngineState, Fact, Language, Quantity,
    Reading, Rhythm, RuleSet,
};
use cardio_core::acquisition::Attendance;
use cardio_core::clock::UtcMicros;
use cardio_core::electrode::Electrode;
use cardio_core::ids::AcquisitionId;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::quality::{QualityCause, QualityVerdict};
use cardio_core::rate::SamplingRate;
use proptest::prelude::*;

const SECOND: i64 = 1_000_000;
const HZ: u64 = 250;

fn rules() -> RuleSet {
    RuleSet::from_toml(
        r#"
        schema = "rules/1"
        extends = "default"
        [[patient]]
        subject = "p1"
        set_by = "PractitionerRole/cardio1"
        version = 1
        [patient.rule.tachycardia]
        enabled = true
        limit = "120/min"
        for = "10 s"
        [patient.rule.tachycardia-severe]
        enabled = true
        for = "5 s"
        [patient.rule.asystole]
        enabled = true
        [patient.rule.pause]
        enabled = true
        [patient.rule.af-suspected]
        enabled = true
        "#,
    )
    .unwrap()
}

/// The window of 10 s that ends at a second of a recording.
fn window(acquisition: u8, second: u64) -> Fact {
    let len = second.min(10);
    Fact {
        acquisition: AcquisitionId([acquisition; 16]),
        first: SampleIndex((second - len) * HZ),
        len: SampleCount(len * HZ),
        rate: SamplingRate::hz(250).unwrap(),
        at: UtcMicros(i64::try_from(second).unwrap() * SECOND),
        attendance: Attendance::Attended,
        verdict: QualityVerdict::Good,
        causes: Vec::new(),
        suspect_electrode: None,
        bpm: Some(70.0),
        beats: None,
        rhythm: None,
        algorithms: vec![Algorithm {
            name: "qrs-test".to_owned(),
            version: 2,
        }],
    }
}

/// Fibrillation for the last half minute.
fn fibrillating(second: u64) -> Option<Rhythm> {
    Some(Rhythm {
        fibrillation_since: Some(SampleIndex(second.saturating_sub(30) * HZ)),
        algorithm: Algorithm {
            name: "rhythm-test".to_owned(),
            version: 7,
        },
    })
}

fn rate(acquisition: u8, second: u64, bpm: f64) -> Fact {
    Fact {
        bpm: Some(bpm),
        ..window(acquisition, second)
    }
}

fn bad(acquisition: u8, second: u64) -> Fact {
    Fact {
        verdict: QualityVerdict::Insufficient,
        bpm: None,
        ..window(acquisition, second)
    }
}

fn tell(engine: &mut Engine, facts: &[Fact]) -> Vec<AlertEvent> {
    facts
        .iter()
        .flat_map(|fact| engine.step("p1", fact, UtcMicros(fact.at.0 + SECOND)))
        .collect()
}

fn raised(events: &[AlertEvent]) -> Vec<&Alert> {
    events
        .iter()
        .filter_map(|event| match event {
            AlertEvent::Raised(alert) => Some(alert.as_ref()),
            AlertEvent::Ended(_) => None,
        })
        .collect()
}

fn ended(events: &[AlertEvent]) -> Vec<&Ended> {
    events
        .iter()
        .filter_map(|event| match event {
            AlertEvent::Ended(ended) => Some(ended),
            AlertEvent::Raised(_) => None,
        })
        .collect()
}

#[test]
fn a_rate_above_its_limit_for_its_time_raises_one_alert_that_explains_itself() {
    let mut engine = Engine::new(rules());
    let facts: Vec<Fact> = (10..60).map(|second| rate(1, second, 141.0)).collect();
    let events = tell(&mut engine, &facts);
    let [alert] = raised(&events)[..] else {
        panic!("{events:?}");
    };
    assert_eq!(alert.rule, "tachycardia");
    assert_eq!((alert.value, alert.limit), (Some(141.0), Some(120.0)));
    assert_eq!((alert.held_s, alert.needed_s), (10.0, 10.0));
    assert_eq!(alert.began, UtcMicros(10 * SECOND));
    assert_eq!(alert.at, UtcMicros(20 * SECOND));
    assert_eq!(alert.raised, UtcMicros(21 * SECOND));
    assert_eq!(alert.evidence.seconds(), 20.0);
    assert_eq!(alert.algorithms[0].name, "qrs-test");
    assert_eq!(alert.prescription.as_ref().unwrap().version, 1);
    let why: Vec<String> = alert
        .conditions()
        .iter()
        .map(|part| format!("{}: {} ({})", part.what, part.found, part.against))
        .collect();
    assert_eq!(
        why,
        [
            "heart-rate-high: 141.0 /min (above 120 /min)",
            "held: 10.0 s (at least 10 s)",
            "quality: good (at least acceptable)",
        ]
    );
    assert_eq!(
        alert.text(Language::French),
        "Fréquence cardiaque 141/min, au-dessus de 120/min depuis 10\u{a0}s. À confirmer par un médecin."
    );
    assert_eq!(
        alert.text(Language::English),
        "Heart rate 141/min, above 120/min for 10 s. To be confirmed by a physician."
    );
}

#[test]
fn a_clinical_rule_is_silent_for_a_patient_that_nobody_set_it_for() {
    let mut engine = Engine::new(rules());
    for second in 10..300 {
        assert_eq!(engine.step("p2", &rate(1, second, 200.0), UtcMicros(0)), []);
    }
}

#[test]
fn a_rate_that_wavers_around_its_limit_gives_one_alert_and_one_end() {
    let mut engine = Engine::new(rules());
    let mut facts: Vec<Fact> = (10..100)
        .map(|second| rate(1, second, if second % 2 == 0 { 121.0 } else { 119.0 }))
        .collect();
    // 119 is below the limit: the run never holds for 10 s, and nothing is raised.
    assert_eq!(tell(&mut engine, &facts), []);
    facts = (100..120).map(|second| rate(1, second, 125.0)).collect();
    facts.extend(
        (120..200).map(|second| rate(1, second, if second % 2 == 0 { 121.0 } else { 119.0 })),
    );
    let events = tell(&mut engine, &facts);
    assert_eq!((raised(&events).len(), ended(&events).len()), (1, 0));
    let calm: Vec<Fact> = (200..300).map(|second| rate(1, second, 115.0)).collect();
    let events = tell(&mut engine, &calm);
    let [end] = ended(&events)[..] else {
        panic!("{events:?}");
    };
    assert_eq!(end.reason, EndReason::BackWithinLimits);
    assert_eq!(end.at, UtcMicros(260 * SECOND));
}

#[test]
fn what_cannot_be_analysed_neither_starts_nor_ends_anything() {
    let mut engine = Engine::new(rules());
    let poor: Vec<Fact> = (10..60)
        .map(|second| Fact {
            bpm: Some(200.0),
            ..bad(1, second)
        })
        .collect();
    let events = tell(&mut engine, &poor);
    assert!(
        raised(&events)
            .iter()
            .all(|alert| alert.rule == "quality-insufficient")
    );
    let standing = engine.standing("p1");
    let tachycardia = standing
        .iter()
        .find(|one| one.rule == "tachycardia")
        .unwrap();
    assert_eq!(tachycardia.state, StandingState::CouldNotAnalyse);
    let fast: Vec<Fact> = (60..80).map(|second| rate(1, second, 150.0)).collect();
    let poor: Vec<Fact> = (80..200).map(|second| bad(1, second)).collect();
    let first = tell(&mut engine, &fast);
    let after = tell(&mut engine, &poor);
    assert!(
        raised(&first)
            .iter()
            .any(|alert| alert.rule == "tachycardia")
    );
    assert!(ended(&after).iter().all(|end| end.rule != "tachycardia"));
}

#[test]
fn nothing_counts_across_a_hole_in_the_signal() {
    let mut engine = Engine::new(rules());
    let before: Vec<Fact> = (10..18).map(|second| rate(1, second, 141.0)).collect();
    let after: Vec<Fact> = (40..48).map(|second| rate(1, second, 141.0)).collect();
    assert_eq!(tell(&mut engine, &before), []);
    assert_eq!(tell(&mut engine, &after), []);
    let rest: Vec<Fact> = (48..52).map(|second| rate(1, second, 141.0)).collect();
    assert_eq!(raised(&tell(&mut engine, &rest)).len(), 1);
}

#[test]
fn a_clock_that_is_set_while_a_recording_runs_changes_no_alert() {
    let told = |shift: i64| {
        let mut engine = Engine::new(rules());
        let facts: Vec<Fact> = (10..40)
            .map(|second| Fact {
                at: UtcMicros(window(1, second).at.0 + if second > 15 { shift } else { 0 }),
                ..rate(1, second, 141.0)
            })
            .collect();
        let events = tell(&mut engine, &facts);
        raised(&events)
            .iter()
            .map(|alert| alert.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(told(0).len(), 1);
    assert_eq!(told(-3_600 * SECOND), told(0));
    assert_eq!(told(86_400 * SECOND), told(0));
}

#[test]
fn the_more_urgent_rule_of_a_group_speaks_for_the_others() {
    let mut engine = Engine::new(rules());
    let facts: Vec<Fact> = (10..60).map(|second| rate(1, second, 190.0)).collect();
    let events = tell(&mut engine, &facts);
    let names: Vec<&str> = raised(&events)
        .iter()
        .map(|alert| alert.rule.as_str())
        .collect();
    assert_eq!(names, ["tachycardia-severe"]);
}

#[test]
fn a_rule_holds_off_after_an_alert_and_says_what_it_held_back() {
    let mut engine = Engine::new(rules());
    let mut facts = Vec::new();
    // 20 s fast, 100 s calm, again and again: 15 minutes of hold-off pass every eighth time.
    for second in 10..3_000_u64 {
        let fast = second % 120 < 20;
        facts.push(rate(1, second, if fast { 150.0 } else { 80.0 }));
    }
    let events = tell(&mut engine, &facts);
    let alerts = raised(&events);
    let held: Vec<u64> = alerts.iter().map(|alert| alert.held_back).collect();
    assert_eq!(held, [0, 7, 7]);
    let starts: Vec<i64> = alerts.iter().map(|alert| alert.at.0 / SECOND).collect();
    assert!(
        starts.windows(2).all(|pair| pair[1] - pair[0] >= 900),
        "{starts:?}"
    );
}

#[test]
fn a_condition_that_holds_to_the_end_ends_with_the_recording() {
    let mut engine = Engine::new(rules());
    let facts: Vec<Fact> = (10..40).map(|second| rate(1, second, 141.0)).collect();
    let id = raised(&tell(&mut engine, &facts))[0].id.clone();
    assert_eq!(engine.state().open().count(), 1);
    let at = UtcMicros(41 * SECOND);
    let events = engine.acquisition_ended("p1", AcquisitionId([1; 16]), at);
    let [end] = ended(&events)[..] else {
        panic!("{events:?}");
    };
    assert_eq!(
        (end.id.as_str(), end.reason),
        (id.as_str(), EndReason::RecordingEnded)
    );
    assert_eq!(
        engine.acquisition_ended("p1", AcquisitionId([1; 16]), at),
        []
    );
    assert_eq!(
        tell(&mut engine, &facts),
        [],
        "a replay after the end changes nothing"
    );
}

#[test]
fn two_recordings_of_one_patient_share_one_alert() {
    let mut engine = Engine::new(rules());
    let mut events = Vec::new();
    for second in 10..60 {
        events.extend(tell(
            &mut engine,
            &[rate(1, second, 141.0), rate(2, second, 142.0)],
        ));
    }
    assert_eq!(raised(&events).len(), 1);
    assert_eq!(
        engine.acquisition_ended("p1", AcquisitionId([1; 16]), UtcMicros(0)),
        []
    );
    let events = engine.acquisition_ended("p1", AcquisitionId([2; 16]), UtcMicros(0));
    assert_eq!(ended(&events)[0].repeats, 1);
}

#[test]
fn no_beat_while_the_signal_is_good_is_told_at_once() {
    let mut engine = Engine::new(rules());
    let beats = |second: u64, until: u64| {
        let first = second - 10;
        (first..second)
            .filter(|s| *s < until)
            .map(|s| SampleIndex(s * HZ + 1))
            .collect::<Vec<_>>()
    };
    let facts: Vec<Fact> = (10..40)
        .map(|second| Fact {
            beats: Some(beats(second, 20)),
            bpm: None,
            ..window(1, second)
        })
        .collect();
    let events = tell(&mut engine, &facts);
    let alerts = raised(&events);
    assert_eq!(alerts[0].rule, "asystole");
    assert_eq!(alerts[0].at, UtcMicros(24 * SECOND));
    assert_eq!(alerts.len(), 1);
}

#[test]
fn an_electrode_is_named_and_speaks_for_the_quality_that_it_spoils() {
    let mut engine = Engine::new(rules());
    let facts: Vec<Fact> = (10..100)
        .map(|second| Fact {
            causes: vec![QualityCause::LeadOff],
            suspect_electrode: Some(Electrode::C2),
            ..bad(1, second)
        })
        .collect();
    let events = tell(&mut engine, &facts);
    let [alert] = raised(&events)[..] else {
        panic!("{events:?}");
    };
    assert_eq!(alert.text(Language::English), "Electrode C2 off for 5 s.");
    assert_eq!(
        alert.text(Language::French),
        "Électrode C2 décollée depuis 5\u{a0}s."
    );
}

#[test]
fn silence_of_a_box_is_an_alert_and_its_return_ends_it() {
    let mut engine = Engine::new(rules());
    let silence = |at: i64, value: f64, attendance| Reading {
        about: "box:07".to_owned(),
        quantity: Quantity::BoxSilence,
        at: UtcMicros(at * SECOND),
        value,
        attendance,
    };
    let idle = silence(1, 1_000.0, Attendance::Unattended);
    assert_eq!(engine.reading(&idle, UtcMicros(0)), []);
    let recording = silence(2, 1_000.0, Attendance::Attended);
    let events = engine.reading(&recording, UtcMicros(0));
    assert_eq!(raised(&events)[0].rule, "box-silent");
    assert_eq!(engine.reading(&recording, UtcMicros(0)), [], "told twice");
    assert_eq!(
        engine.reading(&silence(3, 1.0, Attendance::Attended), UtcMicros(0)),
        []
    );
    let events = engine.reading(&silence(14, 2.0, Attendance::Attended), UtcMicros(0));
    assert_eq!(ended(&events)[0].reason, EndReason::BackWithinLimits);
}

#[test]
fn a_rule_that_is_switched_off_ends_its_alert() {
    let mut engine = Engine::new(rules());
    let facts: Vec<Fact> = (10..40).map(|second| rate(1, second, 141.0)).collect();
    tell(&mut engine, &facts);
    engine.set_rules(RuleSet::standard().unwrap());
    let events = tell(&mut engine, &[rate(1, 40, 141.0)]);
    assert_eq!(ended(&events)[0].reason, EndReason::RuleOff);
}

/// Facts of a recording that goes through all that can happen.
fn story() -> impl Strategy<Value = Vec<Fact>> {
    let stretch = (1_u64..40, 0_u8..6, 1_u8..3);
    proptest::collection::vec(stretch, 1..20).prop_map(|stretches| {
        let mut second = [10_u64; 3];
        let mut facts = Vec::new();
        for (len, what, acquisition) in stretches {
            let clock = &mut second[usize::from(acquisition)];
            for _ in 0..len {
                *clock += 1;
                facts.push(match what {
                    0 => rate(acquisition, *clock, 150.0),
                    1 => rate(acquisition, *clock, 200.0),
                    2 => bad(acquisition, *clock),
                    3 => Fact {
                        causes: vec![QualityCause::LeadOff],
                        suspect_electrode: Some(Electrode::C2),
                        ..bad(acquisition, *clock)
                    },
                    4 => Fact {
                        rhythm: fibrillating(*clock),
                        beats: Some(Vec::new()),
                        ..window(acquisition, *clock)
                    },
                    _ => rate(acquisition, *clock, 80.0),
                });
            }
            if what == 5 {
                *clock += 30;
            }
        }
        facts
    })
}

proptest! {
    #[test]
    fn replaying_any_prefix_gives_the_same_alerts(facts in story(), at in 0.0_f64..1.0, from in 0.0_f64..1.0) {
        let mut once = Engine::new(rules());
        let want = tell(&mut once, &facts);
        let place = |part: f64, len: usize| ((part * len as f64) as usize).min(len);
        let (cut, again) = (place(at, facts.len()), place(from, place(at, facts.len())));
        let mut twice = Engine::new(rules());
        let mut got = tell(&mut twice, &facts[..cut]);
        // The connection breaks, and what was not acknowledged comes again.
        prop_assert_eq!(tell(&mut twice, &facts[again..cut]), vec![]);
        got.extend(tell(&mut twice, &facts[again..]));
        prop_assert_eq!(got, want);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_restart_between_any_two_facts_changes_nothing(facts in story()) {
        let mut straight = Engine::new(rules());
        let mut restarted = Engine::new(rules());
        for fact in &facts {
            let text = serde_json::to_string(restarted.state()).unwrap();
            let state: EngineState = serde_json::from_str(&text).unwrap();
            restarted = Engine::with_state(rules(), state);
            prop_assert_eq!(
                straight.step("p1", fact, fact.at),
                restarted.step("p1", fact, fact.at)
            );
        }
        prop_assert_eq!(straight.state(), restarted.state());
    }

    #[test]
    fn every_end_follows_its_alert_and_no_alert_is_raised_twice(facts in story()) {
        let mut engine = Engine::new(rules());
        let mut open = std::collections::BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        for event in tell(&mut engine, &facts) {
            match event {
                AlertEvent::Raised(alert) => {
                    prop_assert!(seen.insert(alert.id.clone()));
                    prop_assert!(open.insert(alert.rule.clone(), alert.id).is_none());
                }
                AlertEvent::Ended(end) => prop_assert_eq!(open.remove(&end.rule), Some(end.id)),
            }
        }
        prop_assert_eq!(engine.state().open().count(), open.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn a_storm_of_facts_never_gives_more_alerts_than_the_hold_off_allows(seed in proptest::collection::vec(0_u8..5, 500)) {
        let mut engine = Engine::new(rules());
        let mut count = std::collections::BTreeMap::<String, u64>::new();
        let mut last = 0;
        for (turn, what) in seed.iter().cycle().take(10_000).enumerate() {
            let second = 10 + turn as u64;
            last = second;
            let fact = match what {
                0 => bad(1, second),
                1 => rate(1, second, 200.0),
                2 => Fact { rhythm: fibrillating(second), ..window(1, second) },
                3 => Fact { beats: Some(Vec::new()), bpm: None, ..window(1, second) },
                _ => rate(1, second, 60.0),
            };
            for event in engine.step("p1", &fact, fact.at) {
                if let AlertEvent::Raised(alert) = event {
                    *count.entry(alert.rule).or_default() += 1;
                }
            }
        }
        let set = rules();
        for (name, count) in count {
            let rule = set.rules_for("p1").iter().find(|rule| rule.name == name).unwrap();
            let bound = 1 + last * 1_000_000 / u64::try_from(rule.hold_off_us).unwrap();
            prop_assert!(count <= bound, "{} raised {} of {}", name, count, bound);
        }
    }
}

#[test]
fn an_alert_is_made_again_from_its_windows_and_the_rule_that_it_keeps() {
    let mut engine = Engine::new(rules());
    let windows: Vec<Fact> = (2..60)
        .map(|second| Fact {
            bpm: Some(if second < 20 { 90.0 } else { 150.0 }),
            ..window(1, second)
        })
        .collect();
    let mut raised = None;
    for fact in &windows {
        for event in engine.step("p1", fact, UtcMicros(7)) {
            if let AlertEvent::Raised(alert) = event {
                raised = raised.or(Some(alert));
            }
        }
    }
    let raised = raised.unwrap();
    let rule = raised.applied.clone().unwrap();
    let again = |windows: &[Fact]| {
        let mut again = Again::new(&rule, "p1", raised.raised);
        let until = raised.evidence.to_us;
        let within = windows.iter().filter(|fact| fact.end_us() <= until);
        within.for_each(|fact| again.push(fact));
        again.end()
    };
    assert_eq!(again(&windows), Some(*raised.clone()));
    let mut faster = windows.clone();
    faster[25].bpm = Some(151.0);
    assert_ne!(again(&faster).unwrap().value, raised.value);
    let mut calm = windows.clone();
    calm[25].bpm = Some(90.0);
    assert_eq!(again(&calm), None);
}

#[test]
fn a_window_that_ends_before_one_that_was_seen_is_late() {
    let mut engine = Engine::new(rules());
    assert!(!engine.is_late("p1", &window(1, 12)));
    engine.step("p1", &window(1, 12), UtcMicros(0));
    assert!(engine.is_late("p1", &window(1, 11)) && engine.is_late("p1", &window(1, 12)));
    assert!(!engine.is_late("p1", &window(1, 13)) && !engine.is_late("p1", &window(2, 11)));
}

#[test]
fn fibrillation_has_lasted_since_it_began_and_not_since_somebody_looked() {
    let mut engine = Engine::new(rules());
    let calm = Rhythm {
        fibrillation_since: None,
        ..fibrillating(0).unwrap()
    };
    let looks = |second, rhythm| Fact {
        rhythm,
        ..window(1, second)
    };
    let mut raised = Vec::new();
    for second in 40..=80 {
        let rhythm = match second {
            ..60 => Some(calm.clone()),
            // nothing can be said for a while, which neither starts nor ends anything
            70..75 => None,
            _ => fibrillating(second),
        };
        for event in engine.step("p1", &looks(second, rhythm), UtcMicros(0)) {
            raised.push((second, event));
        }
    }
    let [(60, AlertEvent::Raised(alert))] = raised.as_slice() else {
        panic!("{raised:?}");
    };
    assert_eq!((alert.rule.as_str(), alert.held_s), ("af-suspected", 30.0));
    assert_eq!(alert.began, UtcMicros(30 * SECOND));
    assert_eq!(
        (alert.evidence.from_us, alert.evidence.to_us),
        (30 * SECOND, 60 * SECOND)
    );
    let named: Vec<&str> = alert
        .algorithms
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(named, ["qrs-test", "rhythm-test"]);
}
