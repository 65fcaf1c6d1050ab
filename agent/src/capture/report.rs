//! How a sensor's task writes its line on the board, and when a change is an event of the
//! box.

use std::sync::Arc;

use cardio_core::acquisition::WaveformKind;
use cardio_core::clock::ClockReading;
use cardio_core::lead::Lead;
use cardio_core::limb;
use cardio_core::quality::QualityVerdict;

use crate::pipeline::{Assessment, Captured, SourceFacts, SourcePlan};
use crate::status::{Board, LinkState, QualityStatus, SourceLine, SourceStatus};

/// Writes one line of the board.
pub(crate) struct Reporter {
    board: Arc<Board>,
    place: usize,
    state: LinkState,
    code: Option<&'static str>,
    has_streamed: bool,
}

/// The line of a sensor before anything happened.
pub fn line_of(plan: &SourcePlan) -> SourceLine {
    let labels: Vec<&str> = plan.rows.iter().map(|row| row.spec.kind.label()).collect();
    let sounds = |kind: &WaveformKind| matches!(kind, WaveformKind::HeartSound(_));
    let stream = if plan.tells_rates() {
        "heart rate".to_owned()
    } else if plan.rows.iter().any(|row| sounds(&row.spec.kind)) {
        format!("heart sounds {}", labels.join(" "))
    } else if labels.len() > 3 {
        format!("ECG {} leads", labels.len() + derived(&labels))
    } else {
        format!("ECG {}", labels.join(" "))
    };
    SourceLine {
        status: SourceStatus {
            name: plan.source.as_str().to_owned(),
            device: plan.device.name().to_owned(),
            link: plan.device.kind().name().to_owned(),
            stream,
            rate_hz: plan.signal.rate.as_hz(),
            assigned: plan.subject.is_some(),
            ..SourceStatus::default()
        },
        last_frame_us: None,
    }
}

/// Leads that follow from others and are not measured.
fn derived(labels: &[&str]) -> usize {
    let measured = |lead: Lead| labels.contains(&lead.name());
    if measured(Lead::I) && measured(Lead::II) {
        limb::DERIVED
            .into_iter()
            .filter(|lead| !measured(*lead))
            .count()
    } else {
        0
    }
}

impl Reporter {
    /// Whether what begins next is of a patient.
    pub(crate) fn assigned(&self, yes: bool) {
        self.board
            .source(self.place, |line| line.status.assigned = yes);
    }

    /// A reporter that writes the line at `place`.
    pub(crate) fn new(board: Arc<Board>, place: usize, plan: &SourcePlan) -> Self {
        board.source(place, |line| *line = line_of(plan));
        Self {
            board,
            place,
            state: LinkState::Opening,
            code: None,
            has_streamed: false,
        }
    }

    pub(crate) const fn is_streaming(&self) -> bool {
        matches!(self.state, LinkState::Streaming)
    }

    /// Whether what comes is not what was configured.
    pub(crate) const fn is_unrecognised(&self) -> bool {
        matches!(self.state, LinkState::NoFrames)
    }

    /// The port is open and the sensor was asked to begin. What was wrong with it before
    /// stays said until it streams.
    pub(crate) fn waiting(&mut self) {
        if self.code.is_none() || !self.is_unrecognised() {
            self.state(LinkState::Waiting);
        }
    }

    /// What to call a source whose port cannot be opened.
    pub(crate) const fn state_without_port(&self) -> LinkState {
        if self.has_streamed {
            LinkState::Lost
        } else {
            LinkState::Opening
        }
    }

    /// The link is in this state, and nothing is wrong with it that was not said before.
    pub(crate) fn state(&mut self, state: LinkState) {
        self.state = state;
        self.board
            .source(self.place, |line| line.status.state = state);
    }

    /// Something is wrong. It is an event when it was not wrong before.
    pub(crate) fn trouble(
        &mut self,
        state: LinkState,
        code: &'static str,
        detail: String,
        out: &mut Vec<Captured>,
    ) {
        self.state(state);
        if self.code == Some(code) {
            return;
        }
        self.code = Some(code);
        self.board.source(self.place, |line| {
            line.status.code = Some(code.to_owned());
            line.status.quality = None;
            line.status.heart_rate_bpm = None;
        });
        tracing::warn!(
            event = "SourceTroubleReported",
            code,
            source = self.place,
            detail
        );
        out.push(Captured::Event { code, detail });
    }

    /// Valid frames came.
    pub(crate) fn streaming(&mut self, at: ClockReading, out: &mut Vec<Captured>) {
        self.board.source(self.place, |line| {
            line.last_frame_us = Some(at.box_instant.micros)
        });
        if self.is_streaming() && self.code.is_none() {
            return;
        }
        self.state(LinkState::Streaming);
        self.board
            .source(self.place, |line| line.status.code = None);
        let code = if self.has_streamed {
            "source.returned"
        } else {
            "source.streaming"
        };
        if self.code.take().is_some() || !self.has_streamed {
            tracing::info!(event = "SourceStreamStarted", code, source = self.place);
            out.push(Captured::Event {
                code,
                detail: String::new(),
            });
        }
        self.has_streamed = true;
    }

    /// Where the acquisition stands.
    pub(crate) fn facts(&self, facts: &SourceFacts, skipped: u64, dropped: u64, crowded: u64) {
        self.board.source(self.place, |line| {
            let status = &mut line.status;
            status.acquisition = facts.acquisition.map(|id| id.to_string());
            status.samples = facts.counts.samples.0;
            status.gaps = facts.counts.gaps;
            status.missing = facts.counts.missing.0;
            status.repeated_frames = facts.counts.repeated_frames;
            status.drift_ppm = facts.drift.map(|drift| drift.ppm);
            status.skipped_bytes = status.skipped_bytes.saturating_add(skipped);
            status.dropped = dropped;
            status.crowded_out = status.crowded_out.saturating_add(crowded);
            status.battery_percent = facts.battery_percent;
            status.rate_hz = facts.rate_hz;
        });
    }

    /// A window was scored.
    pub(crate) fn assessed(&self, found: &Assessment) {
        let quality = &found.quality;
        let failing = quality
            .per_lead
            .iter()
            .filter(|(_, lead)| lead.verdict == QualityVerdict::Insufficient)
            .map(|(label, _)| label.clone());
        let told = QualityStatus {
            verdict: quality.overall.verdict.name().to_owned(),
            index: quality.overall.index.get(),
            causes: quality
                .overall
                .causes
                .iter()
                .map(|cause| cause.name().to_owned())
                .collect(),
            failing_leads: failing.collect(),
            electrode_iec: found.suspect_electrode.map(|one| one.iec().to_owned()),
            electrode_aha: found.suspect_electrode.map(|one| one.aha().to_owned()),
            algorithm: format!("{}/{}", quality.algorithm.0, quality.algorithm.1),
        };
        self.board.source(self.place, |line| {
            line.status.quality = Some(told);
            line.status.heart_rate_bpm = found.heart_rate.bpm;
        });
    }
}
