//! `cardio-gateway rules check|test|default`.

use std::path::{Path, PathBuf};

use cardio_alert::{Family, Priority, RuleSet};
use cardio_core::acquisition::Attendance;
use cardio_formats::{ReadOptions, read_path};
use cardio_gateway::alerting::trial::{As, Raised, Trial, Verdict};

use super::failure::Failure;
use super::{ask, exit, out};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Read alert rules and say what is wrong with them, before they are active.
    Check {
        /// The rules.
        file: PathBuf,
    },
    /// Try alert rules on a recorded file: what they would have raised, and when.
    ///
    /// Exit code 0: nothing would have been raised; 1: something would; 2: nothing would, and a
    /// rule about the patient could not analyse any of the signal.
    Test(Test),
    /// Print the rules that come with the product.
    Default,
}

#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// The recording; a WFDB record with or without `.hea`.
    recording: PathBuf,
    /// The rules; those of the configuration without it.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// The rules as they are set for this patient; those of everybody without it.
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
    /// Try the rules that are off too.
    #[arg(long)]
    all: bool,
    /// As a recording beside which no person stands.
    #[arg(long)]
    unattended: bool,
    /// One JSON document, `rules-tested/1`.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(verb: &Verb, config: Option<&Path>) -> Result<u8, Failure> {
    match verb {
        Verb::Check { file } => check(&read(file)?),
        Verb::Test(arguments) => return test(arguments, config),
        Verb::Default => out::result(RuleSet::default_toml()),
    }
    Ok(exit::WELL)
}

fn read(file: &Path) -> Result<RuleSet, Failure> {
    cardio_gateway::gateway::rules_of(file).map_err(|error| Failure::of(&error, error.code()))
}

fn check(rules: &RuleSet) {
    let row = |rule: &cardio_alert::rule::Rule| {
        vec![
            rule.name.clone(),
            rule.version.to_string(),
            if rule.enabled { "on" } else { "off" }.to_owned(),
            rule.priority.name().to_owned(),
            match rule.kind.family() {
                Family::Physiological => "patient",
                Family::Technical => "equipment",
            }
            .to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = rules.rules().iter().map(row).collect();
    let head = ["RULE", "VERSION", "FOR ALL", "PRIORITY", "ABOUT"];
    out::result(&out::table(&head, &rows));
    out::result(&format!(
        "{} patients with rules of their own\n",
        rules.patients()
    ));
}

fn test(arguments: &Test, config: Option<&Path>) -> Result<u8, Failure> {
    let rules = match &arguments.rules {
        Some(file) => read(file)?,
        None => cardio_gateway::gateway::rules(&ask::configured(config)?)
            .map_err(|error| Failure::of(&error, error.code()))?,
    };
    let subject = arguments.patient.clone().unwrap_or_default();
    if !subject.is_empty() && !rules.has_patient(&subject) {
        let what = "no rules are set for this patient: those of everybody hold";
        return Err(Failure::new(what, "rules.patient").usage());
    }
    let rules = if arguments.all { rules.all_on() } else { rules };
    let recording = read_path(&arguments.recording, ReadOptions::default())
        .map_err(|error| Failure::of(&error, error.code()))?;
    let of = As {
        subject,
        attendance: if arguments.unattended {
            Attendance::Unattended
        } else {
            Attendance::Attended
        },
    };
    let trial = Trial::of(&recording, &rules, &of).map_err(|why| Failure {
        chain: why.iter().map(ToString::to_string).collect(),
        code: why
            .first()
            .map_or("rules.test", |why| why.code())
            .to_owned(),
        exit: exit::FAILING,
    })?;
    if arguments.json {
        let value = serde_json::to_value(&trial).map_err(|error| Failure::of(&error, "json"))?;
        out::document(&value);
    } else {
        out::result(&text(&trial));
    }
    Ok(match trial.verdict() {
        Verdict::Nothing => exit::WELL,
        Verdict::Raised => exit::DEGRADED,
        Verdict::CouldNotAnalyse => exit::FAILING,
    })
}

fn text(trial: &Trial) -> String {
    let verdict = match trial.verdict() {
        Verdict::Nothing => "nothing would have been raised".to_owned(),
        Verdict::Raised => format!("{} alerts would have been raised", trial.alerts().len()),
        Verdict::CouldNotAnalyse => {
            "could not analyse: a rule about the patient found no signal good enough".to_owned()
        }
    };
    let mut text = format!("{verdict} in {:.0} s\n", trial.seconds());
    for why in trial.left_out() {
        text += &format!("left out: {why}\n");
    }
    if !trial.alerts().is_empty() {
        let rows: Vec<Vec<String>> = trial.alerts().iter().map(row).collect();
        let head = ["PRI", "AT", "UNTIL", "RULE", "FOUND", "AGAINST", "HELD"];
        text += &format!("\n{}", out::table(&head, &rows));
    }
    let rows: Vec<Vec<String>> = trial
        .rules()
        .iter()
        .map(|rule| {
            vec![
                format!("{} v{}", rule.rule, rule.version),
                format!("{} s", rule.windows),
                format!("{} s", rule.could_not_analyse),
                format!("{} s", rule.held),
            ]
        })
        .collect();
    let head = ["RULE", "SHOWN", "COULD NOT ANALYSE", "HELD"];
    text + &format!("\n{}", out::table(&head, &rows))
}

fn row(raised: &Raised) -> Vec<String> {
    let alert = &raised.alert;
    let part = |what: usize| raised.conditions.get(what);
    let found = part(0).map_or("-", |part| part.found.as_str());
    let against = part(0).map_or("-", |part| part.against.as_str());
    vec![
        match alert.priority {
            Priority::High => "***",
            Priority::Medium => "**",
            Priority::Low => "*",
            Priority::Information => "-",
        }
        .to_owned(),
        format!("{:.1} s", raised.at_s),
        raised
            .ended_s
            .map_or_else(|| "-".to_owned(), |ended| format!("{ended:.1} s")),
        format!("{} v{}", alert.rule, alert.rule_version),
        found.to_owned(),
        against.to_owned(),
        format!("{:.1} s", alert.held_s),
    ]
}
