//! A day of visits, as a box lives it.

use super::*;
use crate::testing::manual_clock;
use cardio_core::clock::ManualClock;
use cardio_core::words::Language;
use cardio_wire::visits::{PatientText, Visit};

const DEVICE: BoxId = BoxId([7; 16]);
const HOUR_US: i64 = 3_600_000_000;

struct Day {
    clock: Arc<ManualClock>,
    worklist: Worklist,
}

impl Day {
    fn new() -> Self {
        let clock = manual_clock();
        let worklist = Worklist::new(DEVICE, clock.clone()).unwrap();
        Self { clock, worklist }
    }

    /// The gateway made a list one hour before the end of its day, and it comes now.
    fn is_told(&self, requests: &[&str]) -> Result<Taken, WorklistError> {
        let sealed = list(requests).seal(DEVICE, &self.worklist.key()).unwrap();
        self.worklist.take(&sealed, Some(UtcMicros(0)))
    }

    fn passes(&self, us: i64) {
        self.clock.advance_micros(u64::try_from(us).unwrap());
    }

    fn text(&self, language: Language) -> String {
        as_text(&self.worklist.document(true, false), language)
    }
}

fn list(requests: &[&str]) -> VisitList {
    let visit = |request: &&str| Visit {
        request: RequestRef::new(request).unwrap(),
        subject: SubjectRef::new(&format!("of-{request}")).unwrap(),
        name: PatientText::from(format!("ESSAI {request}")),
        born: Some(PatientText::from("1950-01-31".to_owned())),
        what: Some(PatientText::from("ECG".to_owned())),
        from: Some(UtcMicros(1_769_860_800_000_000)),
        until: None,
    };
    VisitList {
        day: "2026-01-31".to_owned(),
        issued: UtcMicros(0),
        until: UtcMicros(HOUR_US),
        visits: requests.iter().map(visit).collect(),
        left_out: 0,
    }
}

fn assigned(request: &str) -> Option<Assigned> {
    Some(Assigned {
        subject: SubjectRef::new(&format!("of-{request}")).unwrap(),
        request: RequestRef::new(request).unwrap(),
    })
}

#[test]
fn a_visit_is_chosen_from_the_list_and_no_other() {
    let day = Day::new();
    let choice = day.worklist.choice();
    assert_eq!(day.worklist.choose("a"), Err(WorklistError::NoList));
    day.is_told(&["a", "b"]).unwrap();
    assert_eq!(
        day.worklist.choose("c").unwrap_err().code(),
        "worklist.unknown"
    );
    assert_eq!(
        day.worklist.choose("two words").unwrap_err().code(),
        "worklist.unknown"
    );
    day.worklist.choose("b").unwrap();
    assert_eq!(choice.borrow().assigned, assigned("b"));
    assert!(choice.borrow().at_once);
    day.worklist.done();
    assert_eq!(
        *choice.borrow(),
        Choice {
            assigned: None,
            at_once: true
        }
    );
}

#[test]
fn a_cancelled_visit_is_gone_and_its_choice_with_it_but_a_running_exam_is_not_cut() {
    let day = Day::new();
    let choice = day.worklist.choice();
    day.is_told(&["a", "b"]).unwrap();
    day.worklist.choose("a").unwrap();
    let taken = day.is_told(&["b"]).unwrap();
    assert_eq!(
        taken,
        Taken {
            visits: 1,
            withdrawn: 1
        }
    );
    assert_eq!(
        *choice.borrow(),
        Choice {
            assigned: None,
            at_once: false
        }
    );
    let document = serde_json::to_string(&day.worklist.document(true, true)).unwrap();
    assert!(
        !document.contains("ESSAI a") && document.contains("ESSAI b"),
        "{document}"
    );
    assert!(
        day.text(Language::French)
            .contains("effacées de ce boîtier : 1")
    );
    assert!(
        day.text(Language::English)
            .contains("gone from this box: 1")
    );
}

#[test]
fn a_list_that_comes_again_keeps_the_choice() {
    let day = Day::new();
    day.is_told(&["a"]).unwrap();
    day.worklist.choose("a").unwrap();
    let mut choice = day.worklist.choice();
    day.is_told(&["a", "b"]).unwrap();
    assert!(!choice.has_changed().unwrap());
    assert_eq!(choice.borrow_and_update().assigned, assigned("a"));
}

#[test]
fn at_midnight_the_list_is_dropped_whatever_the_wall_clock_says() {
    let day = Day::new();
    day.is_told(&["a"]).unwrap();
    day.worklist.choose("a").unwrap();
    day.passes(HOUR_US - 1);
    assert_eq!(day.worklist.document(false, true).visits.len(), 1);
    day.passes(1);
    let over = day.worklist.document(true, false);
    assert_eq!((over.state, over.visits.len()), (VisitsState::NoList, 0));
    assert_eq!(day.worklist.choice().borrow().assigned, None);
    assert_eq!(day.worklist.choose("a"), Err(WorklistError::NoList));
    assert!(
        day.text(Language::French)
            .starts_with("La liste des visites revient au prochain contact")
    );
    assert!(
        day.text(Language::English)
            .starts_with("The list of visits comes back at the next contact")
    );
}

#[test]
fn a_list_that_was_long_under_way_is_held_only_for_the_rest_of_its_day() {
    let day = Day::new();
    let sealed = list(&["a"]).seal(DEVICE, &day.worklist.key()).unwrap();
    let over = day.worklist.take(&sealed, Some(UtcMicros(HOUR_US)));
    assert_eq!(over, Err(WorklistError::Over));
    day.worklist
        .take(&sealed, Some(UtcMicros(HOUR_US / 2)))
        .unwrap();
    day.passes(HOUR_US / 2);
    assert_eq!(
        day.worklist.document(false, true).state,
        VisitsState::NoList
    );
}

#[test]
fn a_list_for_an_earlier_run_or_another_box_is_refused_and_the_one_before_stays() {
    let (before, now) = (Day::new(), Day::new());
    let sealed = list(&["a"]).seal(DEVICE, &before.worklist.key()).unwrap();
    now.is_told(&["b"]).unwrap();
    let code = |sealed| now.worklist.take(sealed, None).unwrap_err().code();
    assert_eq!(code(&sealed), "visits.recipient");
    let other = list(&["a"])
        .seal(BoxId([8; 16]), &now.worklist.key())
        .unwrap();
    assert_eq!(code(&other), "visits.sealed");
    assert_eq!(now.worklist.document(false, true).visits.len(), 1);
}

#[test]
fn a_name_is_shown_only_to_who_asks_for_it() {
    let day = Day::new();
    day.is_told(&["a"]).unwrap();
    let shown = as_text(&day.worklist.document(false, true), Language::French);
    assert!(
        !shown.contains("ESSAI") && !shown.contains("1950"),
        "{shown}"
    );
    assert!(shown.contains("  1  13:00  ECG  a"), "{shown}");
    assert!(
        day.text(Language::French)
            .contains("ESSAI a, né(e) le 1950-01-31")
    );
    assert!(!format!("{:?}", day.worklist).contains("ESSAI"));
}

#[test]
fn a_connected_box_without_a_list_asks_about_its_team() {
    let day = Day::new();
    let text = |language| as_text(&day.worklist.document(false, true), language);
    assert!(text(Language::French).contains("l'équipe de ce boîtier"));
    assert!(text(Language::English).contains("the team of this box"));
}
