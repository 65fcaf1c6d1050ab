//! Alert rules tried on a recorded file: what they would have raised, and when.
//!
//! The file is shown second by second to the same assessor that a box runs, and its windows to
//! the same engine as those of a box. Deliberately absent: the record; a trial files nothing and
//! calls nobody.

use std::collections::BTreeMap;

use cardio_alert::engine::StandingState;
use cardio_alert::{Alert, AlertEvent, Algorithm, Engine, Fact, Family, Language, RuleSet};
use cardio_core::acquisition::Attendance;
use cardio_core::clock::UtcMicros;
use cardio_core::ids::AcquisitionId;
use cardio_core::rate::SamplingRate;
use cardio_core::recording::Recording;
use cardio_signal::analyse::Unanalysed;
use cardio_signal::assess::{Assessed, AssessedLeads, assess};
use cardio_signal::rhythm::RATE_ALGORITHM;
use serde::Serialize;

use super::rhythm::Windows;

/// What rules would have said of a recording (`rules-tested/1`). Times are seconds from its
/// beginning.
#[derive(Debug, Serialize)]
pub struct Trial {
    schema: &'static str,
    verdict: Verdict,
    subject: String,
    attended: bool,
    seconds: f64,
    leads: Vec<String>,
    left_out: Vec<String>,
    alerts: Vec<Raised>,
    rules: Vec<Tried>,
    not_tried: Vec<String>,
    algorithms: Vec<Algorithm>,
}

/// The whole of it in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No alert, and every rule about the patient analysed some of the signal.
    Nothing,
    /// At least one alert.
    Raised,
    /// No alert, and a rule about the patient could analyse none of the signal.
    CouldNotAnalyse,
}

/// An alert that would have been raised.
#[derive(Debug, Serialize)]
pub struct Raised {
    /// When it would have been raised.
    pub at_s: f64,
    /// When its condition ended, if it did.
    pub ended_s: Option<f64>,
    /// Why it ended.
    pub ended_by: Option<&'static str>,
    /// The alert, with everything that explains it.
    #[serde(flatten)]
    pub alert: Alert,
    /// Its text in French.
    pub text_fr: String,
    /// Its text in English.
    pub text_en: String,
    /// Each condition with its limit and its value.
    pub conditions: Vec<cardio_alert::alert::ConditionPart>,
    /// Firings of the rule or of its group while it was open.
    pub repeats: u64,
}

/// How often a rule could look, and how it stood.
#[derive(Debug, Serialize)]
pub struct Tried {
    /// The rule.
    pub rule: String,
    /// Its version.
    pub version: u32,
    /// Windows that it saw, one a second.
    pub windows: u64,
    /// Those of them that it could not analyse.
    pub could_not_analyse: u64,
    /// Those at which its condition had held long enough.
    pub held: u64,
    #[serde(skip)]
    judges_patient: bool,
}

/// For whom rules are tried.
#[derive(Clone, Debug)]
pub struct As {
    /// The patient whose rules hold; any other name for those of everybody.
    pub subject: String,
    /// Whether a person attends.
    pub attendance: Attendance,
}

impl Trial {
    /// Tries rules on a recording.
    ///
    /// # Errors
    /// Why nothing of the recording can be assessed.
    pub fn of(recording: &Recording, rules: &RuleSet, of: &As) -> Result<Self, Vec<Unanalysed>> {
        let mut course = Course::new(rules, of);
        let leads = assess(recording, |rate, found| course.take(rate, &found))?;
        Ok(course.end(leads))
    }

    /// The whole of it in a word.
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What would have been raised, in order of time.
    pub fn alerts(&self) -> &[Raised] {
        &self.alerts
    }

    /// The rules that are on and look at signal.
    pub fn rules(&self) -> &[Tried] {
        &self.rules
    }

    /// Seconds of the recording that were shown, gaps included.
    pub const fn seconds(&self) -> f64 {
        self.seconds
    }

    /// What was left out of the recording, and why.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }
}

/// A trial while it goes on.
struct Course<'a> {
    rules: &'a RuleSet,
    of: &'a As,
    engine: Engine,
    /// The last windows, if a rule asks what they say of the rhythm.
    rhythm: Option<Windows>,
    at: UtcMicros,
    alerts: Vec<Raised>,
    tried: BTreeMap<String, Tried>,
    algorithms: Vec<Algorithm>,
}

/// The name of the acquisition of a trial.
const TRIED: AcquisitionId = AcquisitionId([0; 16]);

impl<'a> Course<'a> {
    fn new(rules: &'a RuleSet, of: &'a As) -> Self {
        let mut on = rules.rules_for(&of.subject).iter();
        let asks = on.any(|rule| rule.enabled && rule.kind.rests_on_rhythm());
        Self {
            rules,
            of,
            engine: Engine::new(rules.clone()),
            rhythm: asks.then(Windows::default),
            at: UtcMicros(0),
            alerts: Vec::new(),
            tried: BTreeMap::new(),
            algorithms: Vec::new(),
        }
    }

    fn take(&mut self, rate: SamplingRate, found: &Assessed) {
        let mut fact = self.fact(rate, found);
        fact.rhythm = self.rhythm.as_mut().and_then(|rhythm| rhythm.push(&fact));
        self.at = fact.at;
        self.algorithms.clone_from(&fact.algorithms);
        let events = self.engine.step(&self.of.subject, &fact, fact.at);
        self.note(events);
        for standing in self.engine.standing(&self.of.subject) {
            let rules = self.rules.rules_for(&self.of.subject);
            let Some(rule) = rules.iter().find(|rule| rule.name == standing.rule) else {
                continue;
            };
            let tried = self.tried.entry(standing.rule).or_insert_with(|| Tried {
                rule: rule.name.clone(),
                version: rule.version,
                windows: 0,
                could_not_analyse: 0,
                held: 0,
                judges_patient: rule.kind.judges_signal(),
            });
            tried.windows += 1;
            tried.could_not_analyse += u64::from(standing.state == StandingState::CouldNotAnalyse);
            tried.held += u64::from(standing.state == StandingState::Holds);
        }
    }

    fn fact(&self, rate: SamplingRate, found: &Assessed) -> Fact {
        let quality = &found.quality;
        let end = rate.micros_at(quality.first.after(quality.len));
        let algorithm = |of: cardio_core::quality::AlgorithmId| Algorithm {
            name: of.name.to_owned(),
            version: of.version,
        };
        Fact {
            acquisition: TRIED,
            first: quality.first,
            len: quality.len,
            rate,
            at: UtcMicros(i64::try_from(end).unwrap_or(i64::MAX)),
            attendance: self.of.attendance,
            verdict: quality.overall.verdict,
            causes: quality.overall.causes.clone(),
            suspect_electrode: found.suspect_electrode,
            bpm: found.heart_rate.as_ref().ok().map(|rate| rate.bpm),
            beats: Some(found.beats.clone()),
            rhythm: None,
            algorithms: vec![algorithm(quality.algorithm), algorithm(RATE_ALGORITHM)],
        }
    }

    fn note(&mut self, events: Vec<AlertEvent>) {
        for event in events {
            match event {
                AlertEvent::Raised(alert) => self.alerts.push(Raised {
                    at_s: seconds(alert.at),
                    ended_s: None,
                    ended_by: None,
                    text_fr: alert.text(Language::French),
                    text_en: alert.text(Language::English),
                    conditions: alert.conditions(),
                    alert: *alert,
                    repeats: 0,
                }),
                AlertEvent::Ended(ended) => {
                    let mut alerts = self.alerts.iter_mut().rev();
                    if let Some(raised) = alerts.find(|one| one.alert.id == ended.id) {
                        raised.ended_s = Some(seconds(ended.at));
                        raised.ended_by = Some(ended.reason.name());
                        raised.repeats = ended.repeats;
                    }
                }
            }
        }
    }

    fn end(mut self, leads: AssessedLeads) -> Trial {
        let subject = &self.of.subject;
        let events = self.engine.acquisition_ended(subject, TRIED, self.at);
        self.note(events);
        let rules: Vec<Tried> = self.tried.into_values().collect();
        let on = self.rules.rules_for(subject).iter();
        let on = on.filter(|rule| rule.enabled && rule.kind.family() == Family::Technical);
        let not_tried = on
            .map(|rule| rule.name.clone())
            .filter(|name| !rules.iter().any(|tried| tried.rule == *name));
        let is_blind = |rule: &Tried| rule.judges_patient && rule.could_not_analyse == rule.windows;
        Trial {
            schema: "rules-tested/1",
            verdict: match (self.alerts.is_empty(), rules.iter().any(is_blind)) {
                (false, _) => Verdict::Raised,
                (true, true) => Verdict::CouldNotAnalyse,
                (true, false) => Verdict::Nothing,
            },
            subject: subject.clone(),
            attended: self.of.attendance == Attendance::Attended,
            seconds: seconds(self.at),
            leads: leads.labels,
            left_out: leads.left_out.iter().map(ToString::to_string).collect(),
            alerts: self.alerts,
            not_tried: not_tried.collect(),
            rules,
            algorithms: self.algorithms,
        }
    }
}

fn seconds(at: UtcMicros) -> f64 {
    let micros = u64::try_from(at.0).unwrap_or_default();
    std::time::Duration::from_micros(micros).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use cardio_core::acquisition::WaveformKind;
    use cardio_core::calibration::Calibration;
    use cardio_core::index::SampleIndex;
    use cardio_core::lead::Lead;
    use cardio_core::recording::{Run, Waveform};
    use cardio_signal::synth::{EcgSynth, RateChange, SynthConfig, to_adu};

    use super::*;

    /// Lead II for 100 s, at 150 beats per minute from the twentieth second on.
    fn fast() -> Recording {
        let rate = SamplingRate::hz(250).unwrap();
        let calibration = Calibration::millivolts(200.0, 0.0).unwrap();
        let mut synth = EcgSynth::new(SynthConfig {
            rate_changes: vec![RateChange {
                from_s: 20.0,
                bpm: 150.0,
            }],
            ..SynthConfig::calm(11, rate)
        });
        let sample = |row: [f64; 8]| to_adu(row[1], &calibration, (-32_768, 32_767));
        let samples: Vec<i32> = (0..25_000).map(|_| sample(synth.next_measured())).collect();
        Recording {
            format: "test",
            waveforms: vec![Waveform {
                label: "II".to_owned(),
                kind: WaveformKind::Ecg(Lead::II),
                rate,
                calibration,
                runs: vec![Run {
                    first: SampleIndex(0),
                    samples: samples.into(),
                }],
            }],
            ..Recording::default()
        }
    }

    fn of(subject: &str) -> As {
        As {
            subject: subject.to_owned(),
            attendance: Attendance::Attended,
        }
    }

    fn for_p1(settings: &str) -> RuleSet {
        RuleSet::from_toml(&format!(
            "schema = \"rules/1\"\nextends = \"default\"\n[[patient]]\nsubject = \"p1\"\n\
             set_by = \"Practitioner/dr-1\"\nversion = 4\n{settings}"
        ))
        .unwrap()
    }

    #[test]
    fn a_rule_says_when_it_would_have_called_and_with_which_value() {
        let rules = for_p1("[patient.rule.tachycardia]\nenabled = true\nfor = \"30 s\"");
        let trial = Trial::of(&fast(), &rules, &of("p1")).unwrap();
        assert_eq!(trial.verdict(), Verdict::Raised);
        let [raised] = trial.alerts() else {
            panic!("{:?}", trial.alerts())
        };
        assert!((50.0..70.0).contains(&raised.at_s), "{}", raised.at_s);
        // The worst of windows of ten seconds: a little above the mean of 150.
        let value = raised.alert.value.unwrap();
        assert!((145.0..170.0).contains(&value), "{value}");
        assert_eq!(raised.ended_by, Some("recording-ended"));
        assert_eq!(raised.alert.prescription.as_ref().unwrap().version, 4);
        // The rules of everybody are off: nothing is said of another patient.
        let trial = Trial::of(&fast(), &rules, &of("p2")).unwrap();
        assert_eq!(trial.verdict(), Verdict::Nothing);
    }

    #[test]
    fn a_rule_that_never_found_its_quality_says_so_instead_of_nothing() {
        let rules = for_p1("[patient.rule.asystole]\nenabled = true");
        let mut loose = fast();
        for run in &mut loose.waveforms[0].runs {
            run.samples = vec![0; 25_000].into();
        }
        let trial = Trial::of(&loose, &rules, &of("p1")).unwrap();
        let blind = trial.rules().iter().find(|rule| rule.rule == "asystole");
        let blind = blind.unwrap();
        assert_eq!(blind.could_not_analyse, blind.windows);
        assert_ne!(trial.verdict(), Verdict::Nothing);
    }

    #[test]
    fn a_trial_of_all_rules_leaves_out_those_that_look_at_no_signal() {
        let trial = Trial::of(&fast(), &RuleSet::standard().unwrap().all_on(), &of("")).unwrap();
        assert!(trial.not_tried.contains(&"box-silent".to_owned()));
        assert!(trial.rules().iter().any(|rule| rule.rule == "bradycardia"));
        assert!(!trial.alerts().is_empty());
        assert!(
            Trial::of(
                &Recording::default(),
                &RuleSet::standard().unwrap(),
                &of("")
            )
            .is_err()
        );
    }
}
