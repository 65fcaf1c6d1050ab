//! Limb electrodes swapped on purpose in recordings of real people.
//!
//! What the neutral electrode would have recorded is not in any recording: it is taken as
//! the left leg's potential with a few percent of lead I.

use cardio_core::lead::Lead;
use cardio_core::rate::SamplingRate;
use cardio_signal::delineation::BeatLead;
use cardio_signal::limbs::{LimbBeats, LimbSwap, suspect};
use cardio_signal::qrs::QrsDetector;

use crate::data::{Data, samples};
use crate::strips;

/// Twelve leads of one person, and where the R peaks of lead II are.
pub(crate) struct Person {
    pub(crate) set: &'static str,
    pub(crate) leads: Vec<BeatLead>,
    pub(crate) r: Vec<f64>,
    pub(crate) rate: SamplingRate,
}

impl Person {
    fn new(set: &'static str, rate: SamplingRate, rows: Vec<(Lead, Vec<f64>)>) -> Self {
        let mut detector = QrsDetector::new(rate, 1_000.0);
        let two = rows.iter().find(|(lead, _)| *lead == Lead::II);
        let counts: Vec<i32> = two.map_or_else(Vec::new, |(_, row)| {
            row.iter().map(|mv| (mv * 1_000.0) as i32).collect()
        });
        let mut peaks = detector.push(&counts);
        peaks.extend(detector.finish());
        Self {
            set,
            leads: rows
                .into_iter()
                .map(|(lead, mv)| BeatLead {
                    label: lead.name().to_owned(),
                    lead: Some(lead),
                    good: true,
                    mv,
                })
                .collect(),
            r: peaks.iter().map(|at| at.0 as f64).collect(),
            rate,
        }
    }

    /// The same with electrodes swapped.
    pub(crate) fn swapped(&self, swap: Option<LimbSwap>) -> Option<LimbBeats> {
        let mut leads = self.leads.clone();
        let row = |lead: Lead| self.leads.iter().find(|row| row.lead == Some(lead));
        let (i, ii) = (&row(Lead::I)?.mv, &row(Lead::II)?.mv);
        for lead in &mut leads {
            let Some(name) = lead.lead else { continue };
            for (at, value) in lead.mv.iter_mut().enumerate() {
                let (i, ii) = (i[at], ii[at]);
                let legs = 0.03 * i;
                let (new_i, new_ii, chest) = match swap {
                    None => (i, ii, 0.0),
                    Some(LimbSwap::Arms) => (-i, ii - i, 0.0),
                    Some(LimbSwap::RightArmLeftLeg) => (i - ii, -ii, 0.0),
                    Some(LimbSwap::LeftArmLeftLeg) => (ii, i, 0.0),
                    Some(LimbSwap::RightArmRightLeg) => (i - ii - legs, -legs, -ii / 3.0),
                    Some(LimbSwap::LeftArmRightLeg) => (ii + legs, ii, (i - ii) / 3.0),
                };
                *value = match name {
                    Lead::I => new_i,
                    Lead::II => new_ii,
                    Lead::III => new_ii - new_i,
                    Lead::Avr => -(new_i + new_ii) / 2.0,
                    Lead::Avl => new_i - new_ii / 2.0,
                    Lead::Avf => new_ii - new_i / 2.0,
                    _ => *value + chest,
                };
            }
        }
        LimbBeats::of(&leads, &self.r, self.rate)
    }
}

/// Everybody: the acceptable strips of the Challenge 2011, and LUDB when it is there.
pub(crate) fn people(data: &Data) -> Vec<Person> {
    let mut people = Vec::new();
    if let Ok(rate) = SamplingRate::hz(500) {
        let strips = strips::challenge_2011(data);
        for strip in strips.into_iter().filter(|strip| !strip.bad) {
            let rows = strips::LEADS
                .into_iter()
                .zip(strip.rows)
                .map(|(lead, row)| {
                    let mv = row.iter().map(|adu| f64::from(*adu) / 200.0).collect();
                    (lead, mv)
                });
            people.push(Person::new("2011", rate, rows.collect()));
        }
    }
    for record in 1..=200 {
        let path = format!("wfdb/ludb/{record}");
        if !data.0.join(format!("{path}.hea")).exists() {
            continue;
        }
        let Some(recording) = data.read(&path) else {
            continue;
        };
        let rows = recording.waveforms.iter().filter_map(|wave| {
            let row = samples(wave);
            let mv = row.iter().map(|adu| wave.calibration.value(*adu)).collect();
            Some((Lead::from_label(&wave.label)?, mv))
        });
        let rate = recording.waveforms[0].rate;
        people.push(Person::new("ludb", rate, rows.collect()));
    }
    people
}

/// What the reviewed model says of people that it did not learn from: those with odd places.
pub(crate) fn report(people: &[Person]) {
    for set in ["2011", "ludb"] {
        let unseen = || {
            let odd = people.iter().enumerate().filter(|(at, _)| at % 2 == 1);
            odd.filter(move |(_, person)| person.set == set)
        };
        for swap in [None].into_iter().chain(LimbSwap::ALL.map(Some)) {
            let told: Vec<Option<LimbSwap>> = unseen()
                .filter_map(|(_, person)| Some(suspect(&person.swapped(swap)?)))
                .collect();
            let suspected = told.iter().filter(|told| told.is_some()).count();
            let named = told.iter().filter(|told| **told == swap).count();
            let all = told.len().max(1) as f64;
            println!(
                "{set:<5} {:<6} suspected {:.3}  named right {:.3}  n {}",
                swap.map_or("none", LimbSwap::name),
                suspected as f64 / all,
                named as f64 / all,
                told.len()
            );
        }
    }
}
