//! How chest leads foretell limb leads, and what the evidence for a swap weighs.

use std::fmt::Write;
use std::path::Path;

use cardio_signal::limbs::{CHEST, EVIDENCE, LimbModel, LimbSwap, WAYS};

use crate::data::Data;
use crate::swaps::{self, Person};

/// Share of people without a swap on purpose who may be suspected of each. Some strips of
/// the Challenge were recorded with the arms swapped, so the first one is larger.
const FALSE_SHARE: [f64; WAYS.len() - 1] = [0.02, 0.006, 0.006];
const TURNS: usize = 4_000;
const STEP: f64 = 0.5;
const RIDGE: f64 = 1e-3;

type Evidence = [[f64; EVIDENCE]; WAYS.len()];

/// Learns from people with even places, and prints what the reviewed file says of the others.
pub(crate) fn learn(data: &Data, path: Option<&Path>) {
    let people = swaps::people(data);
    let even: Vec<&Person> = people.iter().step_by(2).collect();
    let (i, ii) = foretelling(&even);
    let mut model = LimbModel {
        i,
        ii,
        ..LimbModel::default()
    };
    let mut seen: Vec<(usize, Evidence)> = Vec::new();
    for person in &even {
        for (truth, way) in WAYS.iter().enumerate() {
            let beats = person.swapped(*way);
            seen.extend(beats.and_then(|beats| Some((truth, beats.evidence(&model)?))));
        }
    }
    for (place, swap) in model.swaps.iter_mut().enumerate() {
        *swap = weigh(&seen, place + 1);
    }
    println!(
        "{} people, {} strips with and without swaps",
        even.len(),
        seen.len()
    );
    crate::keep(path, &text(&model, even.len()));
    swaps::report(&people);
}

fn text(model: &LimbModel, people: usize) -> String {
    let mut text = String::from(
        "# limb-swap: I and II from V1 to V6; for each swap the weights of the evidence in the\n\
         # order of limbs::EVIDENCE, and by how much it must outweigh none\n\
         # learnt by examples/train from acceptable strips of the PhysioNet Challenge 2011 and\n\
         # from the Lobachevsky University Electrocardiography Database, people with even\n\
         # places, electrodes swapped on purpose; ODC-By 1.0\n",
    );
    let _ = writeln!(text, "# {people} people");
    let mut line = |name: &str, numbers: &[f64]| {
        let words: Vec<String> = numbers.iter().map(|x| format!("{x:.4}")).collect();
        let _ = writeln!(text, "{name} {}", words.join(" "));
    };
    line("i", &model.i);
    line("ii", &model.ii);
    for (way, swap) in WAYS.iter().skip(1).zip(&model.swaps) {
        line(way.map_or("none", LimbSwap::name), swap);
    }
    text
}

/// Least squares over QRS and T of everybody, each person weighing the same.
fn foretelling(people: &[&Person]) -> (Vec<f64>, Vec<f64>) {
    const N: usize = CHEST.len();
    let mut normal = [[0.0; N]; N];
    let mut right = [[0.0; N]; 2];
    for person in people {
        let Some(beats) = person.swapped(None) else {
            continue;
        };
        let rows = beats.rows();
        let size: f64 = rows
            .iter()
            .map(|([i, ii], _)| i * i + ii * ii)
            .sum::<f64>()
            .max(1e-9);
        for (own, chest) in rows.iter().filter(|(_, chest)| chest.len() == N) {
            for (at, x) in chest.iter().enumerate() {
                for (other, y) in chest.iter().enumerate() {
                    normal[at][other] += x * y / size;
                }
                for (lead, own) in own.iter().enumerate() {
                    right[lead][at] += x * own / size;
                }
            }
        }
    }
    for (at, row) in normal.iter_mut().enumerate() {
        row[at] += RIDGE;
    }
    (solve(normal, right[0]), solve(normal, right[1]))
}

/// Gauss, without pivots: the matrix is positive definite.
fn solve<const N: usize>(mut a: [[f64; N]; N], mut b: [f64; N]) -> Vec<f64> {
    for at in 0..N {
        for row in at + 1..N {
            let factor = a[row][at] / a[at][at];
            let above = a[at];
            for (value, over) in a[row].iter_mut().zip(above).skip(at) {
                *value -= factor * over;
            }
            b[row] -= factor * b[at];
        }
    }
    let mut x = vec![0.0; N];
    for at in (0..N).rev() {
        let known: f64 = (at + 1..N).map(|other| a[at][other] * x[other]).sum();
        x[at] = (b[at] - known) / a[at][at];
    }
    x
}

/// Weights under which a swap outweighs none where it was made, and none outweighs it where
/// nothing was; then the limit that few people without a swap are above.
fn weigh(seen: &[(usize, Evidence)], place: usize) -> Vec<f64> {
    let apart = |evidence: &Evidence| -> Vec<f64> {
        let pairs = evidence[place].iter().zip(&evidence[0]);
        pairs.map(|(swap, none)| swap - none).collect()
    };
    let rows: Vec<(f64, Vec<f64>)> = seen
        .iter()
        .filter(|(truth, _)| *truth == 0 || *truth == place)
        .map(|(truth, evidence)| (f64::from(u8::from(*truth == place)), apart(evidence)))
        .collect();
    let score = |weights: &[f64], row: &[f64]| -> f64 {
        row.iter().zip(weights).map(|(x, weight)| x * weight).sum()
    };
    let mut weights = vec![0.0; EVIDENCE];
    for _ in 0..TURNS {
        let mut slope = vec![0.0; EVIDENCE];
        for (is, row) in &rows {
            let told = 1.0 / (1.0 + (-score(&weights, row)).exp());
            for (slope, x) in slope.iter_mut().zip(row) {
                *slope += (is - told) * x;
            }
        }
        for (weight, slope) in weights.iter_mut().zip(slope) {
            *weight += STEP * (slope / rows.len().max(1) as f64 - RIDGE * *weight);
        }
    }
    let none = rows.iter().filter(|(is, _)| *is == 0.0);
    let mut over: Vec<f64> = none.map(|(_, row)| score(&weights, row)).collect();
    over.sort_by(f64::total_cmp);
    let limit = ((1.0 - FALSE_SHARE[place - 1]) * over.len() as f64) as usize;
    weights.push(over.get(limit).copied().unwrap_or(0.0).max(0.0));
    weights
}
