//! How long searches of a large record take, beside reading the very rows that they find by
//! their ids with plain SQLite, in the same run on the same file.
//!
//! ```text
//! cargo bench -p cardio-gateway --bench search -- [OBSERVATIONS]
//! ```
//!
//! Without a number, 100,000 observations of a hundredth as many patients are filed first, a
//! year of each. A budget of 50 ms holds for a patient's year among 1,000,000.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures, prints and stops at what it cannot do"
)]

use std::time::{Duration, Instant};

use cardio_core::clock::UtcMicros;
use cardio_core::ids::RecordId;
use cardio_core::quality::QualityVerdict;
use cardio_core::subject::SubjectRef;
use cardio_fhir::measure::{HeartRateFacts, heart_rate_observation};
use cardio_fhir::time::Effective;
use cardio_fhir::waveform::Context;
use cardio_gateway::db::{Connection, DbError, Place, Schema, Writer};
use cardio_gateway::record::{STEPS, Scope, parse, put, search};

/// Observations of each patient, spread over a year.
const OF_PATIENT: i64 = 100;
/// First instant of the year: 2026-01-01T00:00:00Z.
const YEAR_US: i64 = 1_767_225_600_000_000;
const HOUR_US: i64 = 3_600_000_000;
/// Observations written in one transaction.
const TOGETHER: i64 = 5_000;
/// How often each search is run, and for how long at most.
const ROUNDS: i64 = 200;
const LONGEST: Duration = Duration::from_secs(5);

fn main() {
    let count = std::env::args().find_map(|text| text.parse().ok());
    let count: i64 = count.unwrap_or(100_000);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("record.sqlite");
    let schema = Schema {
        place: Place::Sqlite(file.clone()),
        part: "record",
        steps: STEPS,
    };
    let writer = Writer::start(schema, 4).unwrap();
    let begun = Instant::now();
    fill(&writer, count);
    let filled = begun.elapsed();
    let bytes = std::fs::metadata(&file).unwrap().len();
    println!(
        "{count} observations filed in {:.1} s, {:.0} a second; {} MiB",
        filled.as_secs_f64(),
        f64::from(u32::try_from(count).unwrap()) / filled.as_secs_f64(),
        bytes >> 20
    );
    println!(
        "{:<95} {:>5} {:>9} {:>9} {:>9} {:>6}",
        "search", "rows", "p50", "p99", "plain", "ratio"
    );
    let year = "date=ge2026-01-01&date=lt2027-01-01";
    for ask in [
        format!("subject=Patient/pN&{year}&_sort=-date&_count=500"),
        format!("subject=Patient/pN&code=http://loinc.org|8867-4&{year}&_count=500"),
        "subject=Patient/pN&_sort=-date&_count=50".to_owned(),
        "subject=Patient/pN&category=vital-signs&status=final&_count=50".to_owned(),
        "date=ge2026-03-03&date=lt2026-03-04&_count=50".to_owned(),
        "code=http://loinc.org|8867-4&_count=50".to_owned(),
        "_id=o-N-7".to_owned(),
    ] {
        measure(&writer, &ask, count / OF_PATIENT);
    }
}

fn fill(writer: &Writer, count: i64) {
    for from in (0..count).step_by(usize::try_from(TOGETHER).unwrap()) {
        let to = (from + TOGETHER).min(count);
        let work = move |tx: &Connection| {
            (from..to).try_for_each(|n| {
                let at = UtcMicros(YEAR_US + (n % OF_PATIENT) * 87 * HOUR_US);
                put(tx, &observation(n, at), at).map(|_| ())
            })
        };
        writer.write_blocking(work).unwrap();
    }
}

fn observation(n: i64, at: UtcMicros) -> serde_json::Value {
    let patient = n / OF_PATIENT;
    let context = Context {
        patient: Some(SubjectRef::new(&format!("p{patient}")).unwrap()),
        box_device: "box".to_owned(),
        sensor: "sensor".to_owned(),
        performer: None,
        simulated: true,
    };
    heart_rate_observation(&HeartRateFacts {
        id: format!("o-{patient}-{}", n % OF_PATIENT),
        record: RecordId(i128::from(n).to_be_bytes()),
        context: &context,
        effective: Effective::Over {
            start: at,
            end: UtcMicros(at.0 + 10_000_000),
        },
        bpm: Some(72.0),
        undetermined: None,
        verdict: QualityVerdict::Good,
        algorithm: ("beats", 3),
        interpretation: None,
        sensor_key: None,
    })
}

/// Runs a search for one patient after the other, and reads what it found by its ids.
fn measure(writer: &Writer, ask: &str, patients: i64) {
    let (mut searched, mut plain, mut rows) = (Vec::new(), Vec::new(), 0);
    let begun = Instant::now();
    for round in (0..ROUNDS).take_while(|_| begun.elapsed() < LONGEST) {
        let patient = (round * 7_919) % patients;
        let pairs: Vec<(String, String)> = ask
            .replace('N', &patient.to_string())
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let query = parse("Observation", &pairs, 50, 500).unwrap();
        let work = |c: &Connection| {
            let begun = Instant::now();
            let page = search(c, &query, &Scope::Everything)?;
            let took = begun.elapsed();
            let ids: Vec<String> = page
                .found
                .iter()
                .map(|one| one.resource.get("id").unwrap().as_str().unwrap().to_owned())
                .collect();
            let begun = Instant::now();
            read_plainly(c, &ids)?;
            Ok((took, begun.elapsed(), ids.len()))
        };
        let (took, took_plain, found) = writer.readers().read(work).unwrap();
        searched.push(took);
        plain.push(took_plain);
        rows = found;
    }
    assert!(rows > 0, "{ask} finds nothing");
    let [p50, p99] = quantiles(searched);
    let [plain, _] = quantiles(plain);
    let ms = |span: Duration| format!("{:.3} ms", span.as_secs_f64() * 1e3);
    println!(
        "{ask:<95} {rows:>5} {:>9} {:>9} {:>9} {:>6.1}",
        ms(p50),
        ms(p99),
        ms(plain),
        p50.as_secs_f64() / plain.as_secs_f64().max(1e-9)
    );
}

fn read_plainly(c: &Connection, ids: &[String]) -> Result<usize, DbError> {
    let mut bytes = 0;
    for id in ids {
        let sql = "SELECT body FROM resources WHERE kind = 'Observation' AND id = ?1";
        let body: Option<String> =
            c.cell("read", sql, &[cardio_gateway::db::AsValue::value(id)])?;
        bytes += body.unwrap().len();
    }
    Ok(bytes)
}

fn quantiles(mut spans: Vec<Duration>) -> [Duration; 2] {
    spans.sort();
    let at = |share: usize| *spans.get((spans.len() - 1) * share / 100).unwrap();
    [at(50), at(99)]
}
