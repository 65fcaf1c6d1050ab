//! Moves the limits of delineation, one at a time, to where marks lie nearest to those of
//! cardiologists on the odd records of LUDB and of the QT database; the even ones are left
//! to be measured on.

use cardio_signal::delineation::Limits;

use crate::data::Data;
use crate::delineation::{Row, errors, ludb, qtdb};

/// Errors above this, in milliseconds, count as this: one wild mark is one wild mark.
const WILD_MS: f64 = 60.0;

/// Root mean square over the marks of both sets, the sets weighing the same; a mark that is
/// not found counts as wild.
fn cost(limits: &Limits, sets: &[Vec<&Row>]) -> f64 {
    let mut sum = 0.0;
    for rows in sets {
        let told = errors(limits, rows.iter().copied());
        for (mark, ms) in told.ms.iter().enumerate() {
            let own = ms.iter().map(|e| e.abs().min(WILD_MS).powi(2));
            let missed = told.missed[mark] as f64 * WILD_MS * WILD_MS;
            let count = (ms.len() + told.missed[mark]).max(1) as f64;
            sum += ((own.sum::<f64>() + missed) / count).sqrt();
        }
    }
    sum
}

/// One limit, by name.
type Part = (&'static str, fn(&mut Limits) -> &mut f64);

const PARTS: [Part; 11] = [
    ("qrs_before", |limits| &mut limits.qrs_before),
    ("qrs_after", |limits| &mut limits.qrs_after),
    ("qrs_on", |limits| &mut limits.qrs_on),
    ("qrs_off", |limits| &mut limits.qrs_off),
    ("qrs_apart_ms", |limits| &mut limits.qrs_apart_ms),
    ("t_part", |limits| &mut limits.t_part),
    ("t_off", |limits| &mut limits.t_off),
    ("t_least", |limits| &mut limits.t_least),
    ("p_on", |limits| &mut limits.p_on),
    ("p_off", |limits| &mut limits.p_off),
    ("p_least", |limits| &mut limits.p_least),
];

/// Prints the limits that cost least.
pub(crate) fn learn(data: &Data) {
    let (ludb, qtdb) = (ludb(data), qtdb(data));
    let odd = |rows: &'_ [Row]| -> Vec<usize> {
        (0..rows.len())
            .filter(|at| rows[*at].record % 2 == 1)
            .collect()
    };
    let sets = [
        odd(&ludb).iter().map(|at| &ludb[*at]).collect::<Vec<_>>(),
        odd(&qtdb).iter().map(|at| &qtdb[*at]).collect(),
    ];
    let mut best = Limits::default();
    let mut least = cost(&best, &sets);
    println!("cost {least:.2}");
    for factor in [1.4, 1.2, 1.1] {
        for (name, part) in PARTS {
            for factor in [factor, 1.0 / factor] {
                loop {
                    let mut tried = best;
                    *part(&mut tried) *= factor;
                    let told = cost(&tried, &sets);
                    if told >= least {
                        break;
                    }
                    (best, least) = (tried, told);
                    println!("cost {least:.2}  {name} {:.4}", *part(&mut tried));
                }
            }
        }
    }
    println!("{best:#?}");
}
