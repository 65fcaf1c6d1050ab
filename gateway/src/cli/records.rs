//! `cardio-gateway records find|orphans|quarantine|assign|request|merge|export|bulk`.

use std::path::{Path, PathBuf};

use cardio_gateway::control::Request;
use cardio_gateway::keys::write_private;
use serde_json::{Value, json};

use super::ask::{ask, configured};
use super::failure::Failure;
use super::{exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Acquisitions, newest first.
    Find {
        /// Logical id of a patient.
        #[arg(long, value_name = "ID")]
        patient: Option<String>,
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Exams that were made for no request, newest first.
    Orphans {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Frames that could not be opened or read, newest first, and why; a newer program tries them
    /// again when it starts.
    Quarantine {
        /// One JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Files an exam for another patient. Every version stays in the history, and a Provenance
    /// says what was corrected, when, by whom and why.
    Assign {
        /// Id of the acquisition, as `records find` shows it.
        #[arg(value_name = "ACQUISITION")]
        acquisition: String,
        /// Logical id of the patient it belongs to.
        #[arg(long, value_name = "ID")]
        patient: String,
        #[command(flatten)]
        reason: Reason,
    },
    /// Says which request an exam was made for; its report names it from then on.
    Request {
        /// Id of the acquisition, as `records orphans` shows it.
        #[arg(value_name = "ACQUISITION")]
        acquisition: String,
        /// Logical id of the ServiceRequest.
        #[arg(long, value_name = "ID")]
        request: String,
        #[command(flatten)]
        reason: Reason,
    },
    /// Makes one record of two that are of one patient. It cannot be undone; what arrives later
    /// under the old id is filed for the patient who continues the record.
    Merge {
        /// Logical id of the patient whose record is continued elsewhere.
        #[arg(value_name = "ID")]
        patient: String,
        /// Logical id of the patient who continues it.
        #[arg(long, value_name = "ID")]
        into: String,
        #[command(flatten)]
        reason: Reason,
    },
    /// The resources of one patient or of one acquisition.
    Export {
        /// Logical id of a patient.
        #[arg(long, value_name = "ID", conflicts_with = "acquisition")]
        patient: Option<String>,
        /// Id of an acquisition, as `records find` shows it.
        #[arg(long, value_name = "ID", required_unless_present = "patient")]
        acquisition: Option<String>,
        /// A file that ends in .json for one Bundle, or a folder for one file per resource.
        #[arg(long, value_name = "PATH")]
        out: PathBuf,
    },
    /// The whole record without anything that names a person, as NDJSON for a data warehouse.
    Bulk {
        /// File with the key that decides the pseudonyms: 32 random bytes or more.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// A folder that does not exist yet.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Reason {
    /// Who answers for it, as the team calls them.
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why, in words, without anybody's identity.
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// One JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(verb: Verb, config: Option<&Path>) -> Result<u8, Failure> {
    let config = configured(config)?;
    match verb {
        Verb::Find { patient, json } => {
            let found = ask(&config, &Request::RecordsFind { patient })?;
            if json {
                out::document(&found);
            } else {
                out::result(&table(&found));
            }
            Ok(exit::WELL)
        }
        Verb::Orphans { json } => {
            let found = ask(&config, &Request::RecordsOrphans)?;
            if json {
                out::document(&found);
            } else {
                out::result(&table(&found));
            }
            Ok(match out::list(&found, "acquisitions").next() {
                None => exit::WELL,
                Some(_) => exit::DEGRADED,
            })
        }
        Verb::Request {
            acquisition,
            request,
            reason: Reason { by, why, json },
        } => {
            let request = Request::RecordsRequest {
                acquisition,
                request,
                by,
                why,
            };
            Ok(corrected(&ask(&config, &request)?, json))
        }
        Verb::Bulk { key, out } => {
            let place =
                |path| std::path::absolute(path).map_err(|error| Failure::of(&error, "bulk.write"));
            let (folder, key) = (place(out)?, place(key)?);
            let written = ask(&config, &Request::RecordsBulk { folder, key })?;
            for (kind, count) in written
                .get("resources")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                out::result(&format!("{kind:17} {count}\n"));
            }
            Ok(exit::WELL)
        }
        Verb::Quarantine { json } => {
            let found = ask(&config, &Request::RecordsQuarantine)?;
            if json {
                out::document(&found);
            } else {
                out::result(&aside(&found));
            }
            Ok(match found.get("total").and_then(Value::as_u64) {
                Some(0) => exit::WELL,
                _ => exit::DEGRADED,
            })
        }
        Verb::Assign {
            acquisition,
            patient,
            reason: Reason { by, why, json },
        } => {
            let request = Request::RecordsAssign {
                acquisition,
                patient,
                by,
                why,
            };
            Ok(corrected(&ask(&config, &request)?, json))
        }
        Verb::Merge {
            patient,
            into,
            reason: Reason { by, why, json },
        } => {
            let request = Request::RecordsMerge {
                patient,
                into,
                by,
                why,
            };
            Ok(corrected(&ask(&config, &request)?, json))
        }
        Verb::Export {
            patient,
            acquisition,
            out,
        } => {
            let root = root(patient, acquisition)?;
            let exported = ask(&config, &Request::RecordsExport { root })?;
            export(&exported, &out)
        }
    }
}

fn corrected(done: &Value, json: bool) -> u8 {
    if json {
        out::document(done);
    } else {
        out::result(&correction(done));
    }
    exit::WELL
}

/// What a correction did.
fn correction(done: &Value) -> String {
    match done.get("provenance") {
        Some(Value::String(id)) => format!(
            "CORRECTED   {} acquisition(s), {} version(s) written; Provenance/{id}\n",
            out::text(done, "acquisitions"),
            out::text(done, "versions")
        ),
        _ => "UNCHANGED   it was so already\n".to_owned(),
    }
}

fn root(patient: Option<String>, acquisition: Option<String>) -> Result<String, Failure> {
    match (patient, acquisition) {
        (Some(patient), _) => Ok(format!("Patient/{patient}")),
        (None, Some(text)) => {
            let acquisition = text
                .parse()
                .map_err(|error| Failure::of(&error, "id.uuid").usage())?;
            Ok(format!(
                "DiagnosticReport/{}",
                cardio_fhir::ids::report(acquisition)
            ))
        }
        (None, None) => {
            Err(Failure::new("name a patient or an acquisition", "records.nothing").usage())
        }
    }
}

fn export(exported: &Value, path: &Path) -> Result<u8, Failure> {
    let resources: Vec<&Value> = out::list(exported, "resources").collect();
    if resources.is_empty() {
        return Err(Failure::new(
            "nothing of that name is filed",
            "records.nothing",
        ));
    }
    if path.exists() {
        return Err(Failure::new(
            format!("{} exists already", path.display()),
            "export.exists",
        ));
    }
    let failed = |error: cardio_gateway::keys::KeyError| Failure::of(&error, error.code());
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        let entries: Vec<Value> = resources
            .iter()
            .map(|resource| json!({"resource": resource}))
            .collect();
        let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": entries});
        write_private(path, bundle.to_string().as_bytes()).map_err(failed)?;
    } else {
        std::fs::create_dir_all(path).map_err(|error| Failure::of(&error, "export.folder"))?;
        for resource in &resources {
            let name = format!(
                "{}-{}.json",
                out::text(resource, "resourceType"),
                out::text(resource, "id")
            );
            write_private(&path.join(name), format!("{resource:#}\n").as_bytes())
                .map_err(failed)?;
        }
    }
    out::narrate(&format!(
        "{} resources written to {}\n",
        resources.len(),
        path.display()
    ));
    Ok(exit::WELL)
}

fn table(document: &Value) -> String {
    let rows: Vec<Vec<String>> = out::list(document, "acquisitions")
        .map(|one| {
            vec![
                out::text(one, "started"),
                match one.get("subject") {
                    Some(Value::String(subject)) => subject.clone(),
                    _ => "UNASSIGNED".to_owned(),
                },
                out::text(one, "source"),
                match one.get("ended_why") {
                    Some(Value::String(why)) => why.clone(),
                    _ => "recording".to_owned(),
                },
                out::text(one, "records"),
                out::text(one, "acquisition"),
            ]
        })
        .collect();
    out::table(
        &[
            "STARTED",
            "PATIENT",
            "SOURCE",
            "END",
            "RECORDS",
            "ACQUISITION",
        ],
        &rows,
    )
}

/// What is in quarantine.
fn aside(document: &Value) -> String {
    let rows: Vec<Vec<String>> = out::list(document, "quarantine")
        .map(|one| ["noticed", "program", "code", "frame", "why"].map(|part| out::text(one, part)))
        .map(Vec::from)
        .collect();
    let total = out::text(document, "total");
    if rows.is_empty() {
        return "EMPTY   every frame that came could be filed\n".to_owned();
    }
    let head = ["NOTICED", "PROGRAM", "CODE", "FRAME", "WHY"];
    format!(
        "ASIDE   {} of {total}\n\n{}",
        rows.len(),
        out::table(&head, &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::{aside, correction};
    use serde_json::json;

    #[test]
    fn a_correction_says_what_it_wrote_and_where_that_is_said() {
        let done = json!({"acquisitions": 2, "versions": 40, "provenance": "v1"});
        let text = correction(&done);
        assert!(
            text.starts_with("CORRECTED   2 acquisition(s), 40") && text.contains("Provenance/v1")
        );
        assert!(correction(&json!({"provenance": null})).starts_with("UNCHANGED"));
    }

    #[test]
    fn the_quarantine_says_how_much_is_aside_and_why() {
        let empty = json!({"total": 0, "quarantine": []});
        assert!(aside(&empty).starts_with("EMPTY"));
        let text = aside(&json!({"total": 2, "quarantine": [
            {"frame": "box/1/chain/7", "code": "open.key", "why": "no key opens it",
             "program": "0.1.0", "noticed": "2026-01-01T00:00:00Z"},
        ]}));
        assert!(text.starts_with("ASIDE   1 of 2\n"), "{text}");
        assert!(
            text.contains("open.key") && text.contains("no key opens it"),
            "{text}"
        );
    }
}
