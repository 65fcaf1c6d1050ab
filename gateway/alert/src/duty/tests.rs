use cardio_core::clock::UtcMicros;
use proptest::prelude::*;

use super::{Act, Roster};
use crate::life::{Life, Step};
use crate::rule::Priority;
use crate::words::Language;

const ROSTER: &str = r#"
schema = "duty/1"
time_zone = "Europe/Paris"
closed = ["2026-12-25"]

[[person]]
who = "PractitionerRole/a"
mail = "a@cardio.example"
[[person]]
who = "PractitionerRole/b"
webhook = "https://b.cardio.example/alerts"
[[person]]
who = "PractitionerRole/night"
mail = "night@cardio.example"

[[shift]]
days = ["mon", "tue", "wed", "thu", "fri"]
from = "08:00"
to = "19:00"
people = ["PractitionerRole/a", "PractitionerRole/b"]
[[shift]]
days = ["sat"]
from = "22:00"
to = "06:00"
people = ["PractitionerRole/night"]

[[absence]]
who = "PractitionerRole/a"
from = "2026-08-03"
to = "2026-08-14"

[outside]
people = ["PractitionerRole/night"]
least_priority = "high"

[escalation]
high = "5 min"
medium = "30 min"
low = "8 h"
rounds = 2
"#;

fn roster() -> Roster {
    Roster::from_toml(ROSTER).unwrap()
}

fn at(text: &str) -> UtcMicros {
    UtcMicros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

fn tell(who: &str, escalated: bool) -> Act {
    Act::Tell {
        who: format!("PractitionerRole/{who}"),
        escalated,
    }
}

fn told(who: &str) -> Step {
    Step::Told {
        who: format!("PractitionerRole/{who}"),
        escalated: false,
    }
}

#[test]
fn the_example_is_a_roster_with_somebody_on_duty() {
    let roster = Roster::from_toml(super::EXAMPLE).unwrap();
    assert_eq!(roster.on_duty(at("2026-11-23T09:00:00Z")).len(), 2);
}

#[test]
fn hours_are_local_in_winter_and_in_summer() {
    // Monday 23 November: Paris is one hour ahead of UTC; on 23 March 2026 too, on 30 March two.
    for (time, open) in [
        ("2026-11-23T06:59:59Z", false),
        ("2026-11-23T07:00:00Z", true),
        ("2026-11-23T17:59:59Z", true),
        ("2026-11-23T18:00:00Z", false),
        ("2026-03-23T06:30:00Z", false),
        ("2026-03-30T06:30:00Z", true),
    ] {
        assert_eq!(!roster().on_duty(at(time)).is_empty(), open, "{time}");
    }
}

#[test]
fn a_shift_through_midnight_belongs_to_the_day_on_which_it_begins() {
    let of = |time| roster().on_duty(at(time)).len();
    assert_eq!(of("2026-11-28T21:30:00Z"), 1, "Saturday, 22:30");
    assert_eq!(of("2026-11-29T04:30:00Z"), 1, "Sunday, 05:30");
    assert_eq!(of("2026-11-29T05:00:00Z"), 0, "Sunday, 06:00");
    assert_eq!(of("2026-11-29T21:30:00Z"), 0, "Sunday, 22:30");
}

#[test]
fn who_is_absent_is_not_on_duty_and_a_closed_day_has_no_shift() {
    let roster = roster();
    assert_eq!(
        roster.on_duty(at("2026-08-05T10:00:00Z")),
        ["PractitionerRole/b"]
    );
    let christmas = at("2026-12-25T10:00:00Z");
    assert!(roster.on_duty(christmas).is_empty());
    assert_eq!(
        roster.next_opening(christmas),
        Some(at("2026-12-26T21:00:00Z")),
        "the night of Saturday"
    );
}

#[test]
fn a_medium_alert_at_night_waits_for_the_morning_and_a_high_one_calls_somebody() {
    let (roster, night) = (roster(), at("2026-11-23T02:00:00Z"));
    let life = Life::default();
    assert_eq!(
        roster.act(Priority::Medium, &life, night),
        Act::Wait(at("2026-11-23T07:00:00Z"))
    );
    assert_eq!(
        roster.act(Priority::High, &life, night),
        tell("night", false)
    );
    assert_eq!(roster.act(Priority::Information, &life, night), Act::Rest);
}

#[test]
fn who_does_not_take_it_in_time_is_followed_by_the_next_and_the_rounds_end() {
    let roster = roster();
    let begin = at("2026-11-23T09:00:00Z");
    let minute = |n: i64| UtcMicros(begin.0 + n * 60_000_000);
    let mut life = Life::default();
    let act = |life: &Life, n| roster.act(Priority::High, life, minute(n));
    assert_eq!(act(&life, 0), tell("a", false));
    life.take(minute(0), &told("a")).unwrap();
    assert_eq!(act(&life, 4), Act::Wait(minute(5)));
    assert_eq!(act(&life, 5), tell("b", true));
    life.take(minute(5), &told("b")).unwrap();
    // Who opens it has the time again.
    let seen = Step::Seen {
        who: "PractitionerRole/b".to_owned(),
    };
    life.take(minute(8), &seen).unwrap();
    assert_eq!(act(&life, 10), Act::Wait(minute(13)));
    life.take(minute(13), &told("a")).unwrap();
    life.take(minute(18), &told("b")).unwrap();
    assert_eq!(act(&life, 23), Act::Rest, "two rounds");
    let taken = Step::Acknowledged {
        who: "PractitionerRole/a".to_owned(),
    };
    life.take(minute(24), &taken).unwrap();
    assert_eq!(act(&life, 25), Act::Rest);
}

#[test]
fn who_cannot_be_reached_is_followed_by_the_next_at_once() {
    let (roster, now) = (roster(), at("2026-11-23T09:00:00Z"));
    let mut life = Life::default();
    life.take(now, &told("a")).unwrap();
    let lost = Step::Undeliverable {
        who: "PractitionerRole/a".to_owned(),
        why: "no such mailbox".to_owned(),
    };
    life.take(now, &lost).unwrap();
    assert_eq!(roster.act(Priority::Low, &life, now), tell("b", true));
}

#[test]
fn hours_are_told_in_words() {
    assert_eq!(
        roster().hours(Language::French),
        "lundi, mardi, mercredi, jeudi, vendredi 08:00–19:00 ; samedi 22:00–06:00"
    );
}

#[test]
fn a_roster_that_could_not_work_is_refused_with_its_place() {
    for (from, to, code) in [
        ("duty/1", "duty/9", "duty.bad-value"),
        ("Europe/Paris", "Europe/Parys", "duty.bad-value"),
        ("\"sat\"", "\"saturday\"", "duty.bad-value"),
        ("22:00", "25:00", "duty.bad-value"),
        ("2026-08-14", "2026-08-01", "duty.bad-value"),
        ("\"5 min\"", "\"5\"", "duty.bad-value"),
        ("\"5 min\"", "\"1 s\"", "duty.bad-value"),
        ("rounds = 2", "rounds = 0", "duty.bad-value"),
        ("https://b.", "http://b.", "duty.bad-value"),
        (
            "who = \"PractitionerRole/b\"",
            "who = \"b\"",
            "duty.bad-value",
        ),
        (
            "people = [\"PractitionerRole/night\"]",
            "people = [\"PractitionerRole/x\"]",
            "duty.unknown-person",
        ),
        ("mail = \"a@cardio.example\"", "", "duty.unreachable"),
        (
            "who = \"PractitionerRole/b\"",
            "who = \"PractitionerRole/a\"",
            "duty.twice",
        ),
        ("rounds", "round", "duty.form"),
        ("high =", "high", "duty.form"),
    ] {
        let text = ROSTER.replacen(from, to, 1);
        assert_ne!(text, ROSTER, "{from}");
        let error = Roster::from_toml(&text).unwrap_err();
        assert_eq!(error.code(), code, "{from} to {to}: {error}");
    }
    let bare = ROSTER.replace("[[shift]]", "[[absence]]");
    assert!(Roster::from_toml(&bare).is_err());
}

proptest! {
    #[test]
    fn the_next_opening_is_the_first_moment_with_somebody(
        at in 1_760_000_000_000_000_i64..1_830_000_000_000_000
    ) {
        let roster = roster();
        let opening = roster.next_opening(UtcMicros(at)).unwrap();
        prop_assert!(opening.0 >= at);
        prop_assert!(!roster.on_duty(opening).is_empty());
        if opening.0 > at {
            prop_assert!(roster.on_duty(UtcMicros(at)).is_empty());
            prop_assert!(roster.on_duty(UtcMicros(opening.0 - 1)).is_empty());
        }
    }

    #[test]
    fn an_alert_that_nobody_takes_is_told_a_bounded_number_of_times(
        begin in 1_790_000_000_i64..1_800_000_000,
        priority in prop_oneof![Just(Priority::High), Just(Priority::Medium), Just(Priority::Low)],
        deliverable in any::<bool>(),
    ) {
        let roster = roster();
        let mut life = Life::default();
        let mut now = UtcMicros(begin * 1_000_000);
        let mut messages = 0;
        for _ in 0..200 {
            match roster.act(priority, &life, now) {
                Act::Rest => break,
                Act::Wait(until) => {
                    prop_assert!(until > now, "waiting goes on");
                    now = until;
                }
                Act::Tell { who, escalated } => {
                    messages += 1;
                    life.take(now, &Step::Told { who: who.clone(), escalated }).unwrap();
                    if !deliverable {
                        life.take(now, &Step::Undeliverable { who, why: String::new() }).unwrap();
                    }
                }
            }
        }
        prop_assert!((1..=6).contains(&messages), "{messages} messages");
    }
}
