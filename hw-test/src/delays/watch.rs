//! A reader who follows reports and alerts as they become visible.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::clock::StopWatch;
use crate::judge::fhir::FhirServer;

/// How often the record is asked for news.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long news may take after the last frame is acknowledged.
const TAIL_LIMIT: Duration = Duration::from_secs(30);

/// Follows until it is told to end.
pub(super) struct Watcher {
    over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<News>>,
}

/// When what was seen, by the common stop-watch.
#[derive(Default)]
pub(super) struct News {
    /// Acquisitions whose report was seen complete.
    reports: BTreeMap<String, Duration>,
    /// Reports that an alert was seen about.
    alerts: BTreeMap<String, Duration>,
    /// The report of each acquisition.
    names: BTreeMap<String, String>,
}

/// When report and alert of an exam were seen first.
pub(super) struct Seen {
    pub(super) report: Option<Duration>,
    pub(super) alert: Option<Duration>,
}

impl Watcher {
    /// Begins to follow a record that will have so many exams.
    pub(super) fn start(record: FhirServer, watch: StopWatch, exams: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = std::thread::spawn(move || follow(&record, watch, exams, &seen));
        Self { over, thread }
    }

    /// Waits for what is still to come, and gives what was seen.
    pub(super) fn end(self) -> anyhow::Result<News> {
        self.over.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(news) => news,
            Err(_) => bail!("the reader of the record has ended early"),
        }
    }
}

fn follow(
    record: &FhirServer,
    watch: StopWatch,
    exams: usize,
    over: &AtomicBool,
) -> anyhow::Result<News> {
    let feed = |kind| record.address(&format!("{kind}/_history?_sort=_lastUpdated&_count=200"));
    let mut feeds = [feed("DiagnosticReport"), feed("DetectedIssue")];
    let mut news = News::default();
    let mut ending: Option<StopWatch> = None;
    loop {
        for url in &mut feeds {
            let page = record.page(url)?;
            let at = watch.elapsed();
            for entry in page["entry"].as_array().into_iter().flatten() {
                news.note(&entry["resource"], at);
            }
            *url = next(&page).context("the record does not say where to go on")?;
        }
        let all = news.reports.len() >= exams && news.alerts.len() >= exams;
        if over.load(Ordering::Acquire) {
            let since = ending.get_or_insert_with(StopWatch::start);
            if all || since.elapsed() > TAIL_LIMIT {
                return Ok(news);
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Where to go on: the next page, or what to ask again later.
fn next(page: &Value) -> Option<String> {
    let links = page["link"].as_array()?;
    let of = |relation: &str| links.iter().find(|link| link["relation"] == relation);
    let link = of("next").or_else(|| of("monitor"))?;
    link["url"].as_str().map(str::to_owned)
}

impl News {
    fn note(&mut self, resource: &Value, at: Duration) {
        let text = |at: &str| resource.pointer(at).and_then(Value::as_str);
        match text("/resourceType") {
            Some("DiagnosticReport") => {
                let (Some(exam), Some(id)) = (text("/identifier/0/value"), text("/id")) else {
                    return;
                };
                self.names.insert(exam.to_owned(), id.to_owned());
                if text("/status") == Some("preliminary") {
                    self.reports.entry(exam.to_owned()).or_insert(at);
                }
            }
            _ => {
                let about = resource["implicated"].as_array().into_iter().flatten();
                for one in about.filter_map(|one| one["reference"].as_str()) {
                    if let Some(id) = one.strip_prefix("DiagnosticReport/") {
                        self.alerts.entry(id.to_owned()).or_insert(at);
                    }
                }
            }
        }
    }

    /// What was seen of an exam.
    pub(super) fn of(&self, exam: &str) -> Seen {
        let report = self.names.get(exam);
        Seen {
            report: self.reports.get(exam).copied(),
            alert: report.and_then(|id| self.alerts.get(id).copied()),
        }
    }
}
