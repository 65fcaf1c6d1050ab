//! `visits list|choose|done`: asks the running agent over its local socket.

use cardio_core::words::Language;
use clap::{Subcommand, ValueEnum};

use crate::config::Config;
use crate::control::{self, Question, VisitsAnswer};
use crate::worklist::{VisitsDocument, WorklistError, as_text};

use super::{ConfigArg, Failure, out};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// The visits of the day.
    List(List),
    /// The visit that you are at: the exams that you make from now on are its own.
    Choose(Choose),
    /// The visit is over: a running exam ends, and what comes next is nobody's.
    Done(Shown),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    shown: Shown,
    /// Names and dates of birth too. That it was asked is logged.
    #[arg(long)]
    show_patient: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Choose {
    /// The number of the visit on the list, or the id of its request.
    visit: String,
    #[command(flatten)]
    shown: Shown,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Shown {
    #[command(flatten)]
    config: ConfigArg,
    /// One JSON document, `visits/1`.
    #[arg(long)]
    json: bool,
    /// The language.
    #[arg(long, value_enum, default_value_t = Lang::Fr)]
    lang: Lang,
}

/// The languages of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Lang {
    /// French.
    Fr,
    /// English.
    En,
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::Fr => Self::French,
            Lang::En => Self::English,
        }
    }
}

pub(crate) fn run(verb: &Verb) -> Result<u8, Failure> {
    match verb {
        Verb::List(args) => {
            let names = args.show_patient;
            let answer = args.shown.ask(&Question::Visits { names })?;
            args.shown.tell(&answer.visits)
        }
        Verb::Choose(args) => {
            let before = args.shown.ask(&Question::Visits { names: false })?.visits;
            let request = request_of(&before, &args.visit);
            let answer = args.shown.ask(&Question::Choose { request })?;
            if let Some(code) = &answer.refused {
                return Err(refused(code, &args.visit));
            }
            args.shown.tell(&answer.visits)
        }
        Verb::Done(shown) => {
            let answer = shown.ask(&Question::Done)?;
            shown.tell(&answer.visits)
        }
    }
}

/// The request of the visit with that number; else the text is the request's own id.
fn request_of(list: &VisitsDocument, visit: &str) -> String {
    let number = visit.parse().ok();
    let mut visits = list.visits.iter();
    let found = visits.find(|one| Some(one.number) == number);
    found.map_or_else(|| visit.to_owned(), |one| one.request.clone())
}

fn refused(code: &str, visit: &str) -> Failure {
    let error = match code {
        "worklist.none" => WorklistError::NoList,
        _ => WorklistError::Unknown {
            request: visit.to_owned(),
        },
    };
    Failure::new(&error, error.code())
}

impl Shown {
    fn ask(&self, question: &Question) -> Result<VisitsAnswer, Failure> {
        let config = Config::load(&self.config.config)?;
        Ok(control::ask_visits(&config.site.state, question)?)
    }

    fn tell(&self, visits: &VisitsDocument) -> Result<u8, Failure> {
        if self.json {
            out::json(visits)?;
        } else {
            out::text(&as_text(visits, self.lang.into()))?;
        }
        Ok(0)
    }
}
