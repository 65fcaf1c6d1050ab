use super::*;
use crate::rule::{PerAttendance, Priority};
use proptest::prelude::*;

fn refused(body: &str) -> RuleError {
    RuleSet::from_toml(&format!("schema = \"rules/1\"\n{body}")).unwrap_err()
}

const TACHYCARDIA: &str = "[[rule]]\nname = \"t\"\nkind = \"heart-rate-high\"\nversion = 1\npriority = \"medium\"\nminimum_quality = \"acceptable\"\n";

#[test]
fn a_misspelt_key_is_named_with_the_right_one() {
    let err = refused(&format!(
        "{TACHYCARDIA}limit = \"130/min\"\nhysterisis = \"5/min\""
    ));
    assert_eq!(
        err.to_string(),
        "rule 't': unknown key 'hysterisis'; did you mean 'hysteresis'?"
    );
    assert_eq!(err.code(), "rules.unknown-key");
    let err = refused("[[rules]]");
    assert_eq!(
        err.to_string(),
        "the rules: unknown key 'rules'; did you mean 'rule'?"
    );
}

#[test]
fn a_number_without_its_unit_or_with_a_wrong_one_is_refused() {
    for limit in ["130", "\"130\"", "\"130 bpm\"", "\"fast\"", "\"130 s\""] {
        let err = refused(&format!("{TACHYCARDIA}limit = {limit}"));
        assert_eq!(err.code(), "rules.bad-value", "{limit}: {err}");
    }
}

#[test]
fn an_impossible_limit_is_refused_with_the_possible_ones() {
    let err = refused(&format!("{TACHYCARDIA}limit = \"1300/min\""));
    assert_eq!(
        err.to_string(),
        "rule 't': limit is impossible: 1300/min is not within 60/min and 300/min"
    );
    let err = refused(&format!(
        "{TACHYCARDIA}limit = \"130/min\"\nhysteresis = \"100/min\""
    ));
    assert_eq!(err.code(), "rules.impossible");
    let err = refused(&format!("{TACHYCARDIA}limit = \"130/min\"\nfor = \"-5 s\""));
    assert_eq!(err.code(), "rules.impossible");
}

#[test]
fn what_a_clinical_rule_needs_cannot_be_left_out() {
    assert_eq!(
        refused(TACHYCARDIA).to_string(),
        "rule 't': the key 'limit' is missing"
    );
    let err =
        refused("[[rule]]\nname = \"t\"\nkind = \"af-suspected\"\nversion = 1\npriority = \"low\"");
    assert_eq!(
        err.to_string(),
        "rule 't': the key 'minimum_quality' is missing"
    );
    let err = refused(&format!(
        "{}limit = \"130/min\"",
        TACHYCARDIA.replace("acceptable", "insufficient")
    ));
    assert_eq!(err.code(), "rules.impossible");
}

#[test]
fn a_condition_or_a_rule_that_is_none_is_named_with_the_near_one() {
    let err = refused("[[rule]]\nname = \"t\"\nkind = \"heart-rate-hi\"");
    assert!(
        err.to_string().ends_with("did you mean 'heart-rate-high'?"),
        "{err}"
    );
    let err = refused(
        "extends = \"default\"\n[[patient]]\nsubject = \"p1\"\nset_by = \"Practitioner/x\"\nversion = 1\n[patient.rule.tachicardia]\nenabled = true",
    );
    assert!(
        err.to_string().ends_with("did you mean 'tachycardia'?"),
        "{err}"
    );
    assert!(
        refused("[[rule]]\nname = \"t\"\nkind = \"zzzzzzzz\"")
            .to_string()
            .ends_with("which is none")
    );
}

#[test]
fn a_rule_about_the_patient_is_on_for_one_patient_and_never_for_all() {
    let err = refused(&format!("{TACHYCARDIA}limit = \"130/min\"\nenabled = true"));
    assert_eq!(
        err.to_string(),
        "rule 't': enabled is impossible: a prescriber sets a rule about the patient for one patient"
    );
    let set = RuleSet::from_toml(&format!(
        "schema = \"rules/1\"\n{TACHYCARDIA}limit = \"130/min\""
    ));
    assert!(!set.unwrap().rules()[0].enabled);
}

#[test]
fn who_prescribes_is_a_person_of_the_record() {
    let of = |set_by: &str| {
        format!(
            "extends = \"default\"\n[[patient]]\nsubject = \"p1\"\nset_by = \"{set_by}\"\nversion = 1\n[patient.rule.pause]\nenabled = true"
        )
    };
    for wrong in [
        "the cardiologist",
        "Patient/p1",
        "Practitioner/",
        "Practitioner/a b",
    ] {
        assert_eq!(refused(&of(wrong)).code(), "rules.bad-value", "{wrong}");
    }
    let good = format!("schema = \"rules/1\"\n{}", of("Practitioner/dr-1"));
    assert!(RuleSet::from_toml(&good).unwrap().has_patient("p1"));
}

#[test]
fn nothing_stands_twice() {
    let rule = format!("{TACHYCARDIA}limit = \"130/min\"\n");
    assert_eq!(
        refused(&format!("{rule}{rule}")).to_string(),
        "rule 't' stands twice"
    );
    let patient = "[[patient]]\nsubject = \"p1\"\nset_by = \"Practitioner/x\"\nversion = 1\n[patient.rule.t]\nenabled = true\n";
    let err = refused(&format!("{rule}{patient}{patient}"));
    assert_eq!(err.to_string(), "patient 2 stands twice");
}

#[test]
fn a_rule_that_changes_an_inherited_one_keeps_the_rest_of_it() {
    let set = RuleSet::from_toml(
        "schema = \"rules/1\"\nextends = \"default\"\n[[rule]]\nname = \"electrode-off\"\nfor = \"2 s\"",
    )
    .unwrap();
    let rule = set
        .rules()
        .iter()
        .find(|rule| rule.name == "electrode-off")
        .unwrap();
    assert_eq!(rule.hold_us, PerAttendance::both(2_000_000));
    assert_eq!((rule.priority, rule.version), (Priority::Low, 1));
}

#[test]
fn a_text_that_is_no_toml_is_refused_with_the_reason_behind() {
    let err = RuleSet::from_toml("schema = ").unwrap_err();
    assert_eq!(err.to_string(), "the rules are not TOML");
    assert!(std::error::Error::source(&err).is_some());
    assert_eq!(
        RuleSet::from_toml("").unwrap_err().code(),
        "rules.bad-value"
    );
}

proptest! {
    #[test]
    fn any_text_is_a_set_of_rules_or_an_error(text: String, value in "[0-9.-]{0,8} ?(s|min|h|%|/min|)") {
        let _ = RuleSet::from_toml(&text);
        let _ = RuleSet::from_toml(&format!("schema = \"rules/1\"\n{TACHYCARDIA}limit = \"{value}\"\nfor = \"{value}\""));
    }
}

#[test]
fn a_smaller_limit_does_not_keep_a_margin_that_nothing_could_ever_come_back_through() {
    let rules = RuleSet::from_toml(
        "schema = \"rules/1\"\nextends = \"default\"\n[[rule]]\nname = \"box-silent\"\nversion = 2\n\
         limit = \"12 s\"\nlimit_unattended = \"20 s\"",
    )
    .unwrap();
    let rules = rules.rules_for("");
    let silent = rules.iter().find(|rule| rule.name == "box-silent").unwrap();
    assert!(
        (silent.hysteresis - 1.2).abs() < 1e-9,
        "{}",
        silent.hysteresis
    );
    let standard = RuleSet::standard().unwrap();
    let silent = standard
        .rules_for("")
        .iter()
        .find(|rule| rule.name == "box-silent");
    assert!((silent.unwrap().hysteresis - 90.0).abs() < 1e-9);
}
