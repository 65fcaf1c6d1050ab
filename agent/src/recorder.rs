//! What comes out of a pipeline becomes records, one after another, each on disk before the
//! next of its source.
//!
//! - Segments and gaps of one source are appended in the order of its time line.
//! - A segment that the outbox refuses is not lost in silence: from the first refusal to the
//!   next success everything is one gap of cause `not-stored`, appended before what follows.
//! - The ordinal of a segment counts what was stored, so the gateway sees no holes.
//!
//! Deliberately absent: retries (the outbox says what it keeps; this says what it did not),
//! and notes for the next run of the agent (the outbox makes them from the records).

use std::future::Future;
use std::sync::Arc;

use cardio_core::acquisition::{Acquisition, Attendance};
use cardio_core::clock::{BoxInstant, Clock, TimeAnchor};
use cardio_core::device::{DeviceIdentity, IntegrityClass};
use cardio_core::gap::Gap;
use cardio_core::heart_rate::RateStretch;
use cardio_core::ids::SourceId;
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::segment::Segment;
use cardio_store::OpenAcquisition;
use cardio_wire::lane::Lane;
use cardio_wire::record::{
    AcquisitionEndedV1, AcquisitionStartedV1, AssessmentV1, BoxEventV1, DeviceStatusV1, EndReason,
    GapV1, HeartRatesV1, Record, RecordHead, SegmentV1,
};

use crate::ids::Ids;
use crate::missed::Missed;
use crate::pipeline::{Assessment, Captured, ClosedRates, ClosedSegment};

/// What is stored of an acquisition, and what is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Segments stored.
    pub segments: u64,
    /// Samples per lead stored.
    pub samples: SampleCount,
    /// Gaps named.
    pub gaps: u64,
    /// Samples per lead missing in them.
    pub missing: SampleCount,
}

impl Tally {
    /// What an earlier run stored of its acquisition.
    pub const fn of(note: &OpenAcquisition) -> Self {
        Self {
            segments: note.next_ordinal,
            samples: note.samples,
            gaps: note.gaps,
            missing: note.missing,
        }
    }
}

/// Where records go. An append is done when the record is durable.
pub trait Sink: Send + Sync {
    /// Appends `record` to `lane`.
    ///
    /// # Errors
    /// [`Refused`] when it is not kept.
    fn append(
        &self,
        lane: Lane,
        record: Record,
    ) -> impl Future<Output = Result<(), Refused>> + Send;
}

/// A record was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the outbox did not keep a record: {code}")]
pub struct Refused {
    /// Stable code of the outbox's reason.
    pub code: &'static str,
}

/// What became of one thing that was captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Why it was not kept, if it was not.
    pub refused: Option<&'static str>,
    /// For a segment that was kept: microseconds from the arrival of its last sample to the
    /// return of its commit.
    pub segment_us: Option<u64>,
}

/// Makes and keeps the records of one source.
pub struct Recorder<S> {
    sink: S,
    clock: Arc<dyn Clock>,
    ids: Box<dyn Ids>,
    source: SourceId,
    open: Option<Open>,
    /// Whether the start of the acquisition is not stored yet.
    owes_start: bool,
    missed: Missed,
}

#[derive(Clone, Debug)]
struct Open {
    acquisition: Arc<Acquisition>,
    lane: Lane,
    tally: Tally,
}

impl<S: Sink> Recorder<S> {
    /// A recorder of `source`.
    pub fn new(sink: S, clock: Arc<dyn Clock>, ids: Box<dyn Ids>, source: SourceId) -> Self {
        Self {
            sink,
            clock,
            ids,
            source,
            open: None,
            owes_start: false,
            missed: Missed::default(),
        }
    }

    /// Ends an acquisition that an earlier run began and no sensor of this one continues.
    pub async fn give_up(&mut self, note: &OpenAcquisition) -> Kept {
        let acquisition = Acquisition {
            id: note.acquisition,
            // The record of an end names no subject.
            subject: None,
            request: None,
            source: note.source.clone(),
            device: DeviceIdentity::default(),
            integrity: IntegrityClass::Uncounted,
            rate: note.rate,
            waveforms: Vec::new(),
            attendance: Attendance::Attended,
        };
        self.begin(acquisition, Tally::of(note));
        self.keep(Captured::Ended {
            reason: EndReason::BoxStopped,
            end: note.next_sample,
            repeated_frames: 0,
        })
        .await
    }

    /// What is stored of the running acquisition.
    pub fn tally(&self) -> Option<Tally> {
        self.open.as_ref().map(|open| open.tally)
    }

    /// Keeps what was captured, or says why not.
    pub async fn keep(&mut self, captured: Captured) -> Kept {
        let done = match captured {
            Captured::Started(acquisition) => {
                self.begin(*acquisition, Tally::default());
                self.owes_start = true;
                self.store_start().await.map(|()| None)
            }
            Captured::Continued(acquisition, tally) => {
                self.begin(*acquisition, tally);
                Ok(None)
            }
            Captured::Segment(segment) => self.keep_segment(segment).await.map(Some),
            Captured::Rates(rates) => self.keep_rates(rates).await.map(Some),
            Captured::Battery { percent } => self.keep_battery(percent).await.map(|()| None),
            Captured::Gap { gap, near } => self.keep_gap(gap, near).await.map(|()| None),
            Captured::Assessment(found) => self.keep_assessment(*found).await.map(|()| None),
            Captured::Ended {
                reason,
                end,
                repeated_frames,
            } => {
                let ended = self.end(reason, end, repeated_frames).await;
                ended.map(|()| None)
            }
            Captured::Event { code, detail } => self.keep_event(code, detail).await.map(|()| None),
        };
        match done {
            Ok(segment_us) => Kept {
                refused: None,
                segment_us,
            },
            Err(refused) => Kept {
                refused: Some(refused.code),
                segment_us: None,
            },
        }
    }

    fn begin(&mut self, acquisition: Acquisition, tally: Tally) {
        self.owes_start = false;
        self.missed.clear();
        self.open = Some(Open {
            lane: match acquisition.attendance {
                Attendance::Attended => Lane::Routine,
                Attendance::Unattended => Lane::Bulk,
            },
            acquisition: Arc::new(acquisition),
            tally,
        });
    }

    fn head(&mut self) -> RecordHead {
        let at = self.clock.read();
        RecordHead {
            id: self.ids.record(at.utc),
            at,
        }
    }

    async fn store_start(&mut self) -> Result<(), Refused> {
        let Some(open) = self.open.clone().filter(|_| self.owes_start) else {
            return Ok(());
        };
        let record = Record::AcquisitionStarted(AcquisitionStartedV1 {
            head: self.head(),
            acquisition: Acquisition::clone(&open.acquisition),
        });
        self.sink.append(open.lane, record).await?;
        self.owes_start = false;
        Ok(())
    }

    /// What is owed before anything else of the time line can follow.
    async fn settle(&mut self, near: Option<TimeAnchor>) -> Result<(), Refused> {
        self.store_start().await?;
        if let Some(stretch) = self.missed.get() {
            self.store_gap(stretch, near).await?;
            self.missed.clear();
        }
        Ok(())
    }

    async fn store_gap(&mut self, gap: Gap, near: Option<TimeAnchor>) -> Result<(), Refused> {
        let Some(open) = self.open.clone() else {
            return Ok(());
        };
        let record = Record::Gap(GapV1 {
            head: self.head(),
            acquisition: open.acquisition.id,
            gap,
            near,
        });
        self.sink.append(open.lane, record).await?;
        self.change_tally(|tally| {
            tally.gaps += 1;
            tally.missing.0 = tally.missing.0.saturating_add(gap.len.0);
        });
        Ok(())
    }

    async fn keep_gap(&mut self, gap: Gap, near: Option<TimeAnchor>) -> Result<(), Refused> {
        let stored = match self.settle(near).await {
            Ok(()) => self.store_gap(gap, near).await,
            refused => refused,
        };
        if stored.is_err() {
            self.missed.add_gap(&gap);
        }
        stored
    }

    async fn keep_segment(&mut self, segment: ClosedSegment) -> Result<u64, Refused> {
        let (first, len) = (segment.block.first, segment.block.count());
        let closed_at = segment.closed_at;
        let stored = match self.settle(Some(segment.anchor)).await {
            Ok(()) => self.store_segment(segment).await,
            refused => refused,
        };
        self.kept(stored, (first, len), closed_at)
    }

    async fn keep_rates(&mut self, rates: ClosedRates) -> Result<u64, Refused> {
        let (first, len, closed_at) = (rates.first, rates.len, rates.closed_at);
        let stored = match self.settle(Some(rates.anchor)).await {
            Ok(()) => self.store_rates(rates).await,
            refused => refused,
        };
        self.kept(stored, (first, len), closed_at)
    }

    /// What became of a stretch: how long it took since it closed, in microseconds, or that it is
    /// missing.
    fn kept(
        &mut self,
        stored: Result<(), Refused>,
        (first, len): (SampleIndex, SampleCount),
        closed_at: BoxInstant,
    ) -> Result<u64, Refused> {
        if let Err(refused) = stored {
            self.missed.add_samples(first, len);
            return Err(refused);
        }
        let now = self.clock.read().box_instant;
        Ok(now.micros_since(&closed_at).unwrap_or(0))
    }

    async fn store_rates(&mut self, rates: ClosedRates) -> Result<(), Refused> {
        let Some(open) = self.open.clone() else {
            return Ok(());
        };
        let record = Record::HeartRates(HeartRatesV1 {
            head: self.head(),
            stretch: RateStretch {
                acquisition: open.acquisition.id,
                ordinal: open.tally.segments,
                first: rates.first,
                len: rates.len,
                anchor: rates.anchor,
                told: rates.told,
            },
        });
        self.sink.append(open.lane, record).await?;
        self.change_tally(|tally| {
            tally.segments += 1;
            tally.samples.0 = tally.samples.0.saturating_add(rates.len.0);
        });
        Ok(())
    }

    async fn keep_battery(&mut self, battery_percent: u8) -> Result<(), Refused> {
        self.store_start().await?;
        let Some(open) = self.open.clone() else {
            return Ok(());
        };
        let record = Record::DeviceStatus(DeviceStatusV1 {
            head: self.head(),
            source: self.source.clone(),
            acquisition: open.acquisition.id,
            battery_percent,
        });
        self.sink.append(open.lane, record).await
    }

    async fn store_segment(&mut self, segment: ClosedSegment) -> Result<(), Refused> {
        let Some(open) = self.open.clone() else {
            return Ok(());
        };
        let len = segment.block.count();
        let mut tally = open.tally;
        tally.segments += 1;
        tally.samples.0 = tally.samples.0.saturating_add(len.0);
        let record = Record::Segment(SegmentV1 {
            head: self.head(),
            segment: Segment {
                acquisition: open.acquisition.id,
                ordinal: open.tally.segments,
                block: segment.block,
                anchor: segment.anchor,
            },
        });
        self.sink.append(open.lane, record).await?;
        self.change_tally(|kept| *kept = tally);
        Ok(())
    }

    async fn keep_assessment(&mut self, found: Assessment) -> Result<(), Refused> {
        let Some(open) = self.open.clone() else {
            return Ok(());
        };
        let record = Record::Assessment(AssessmentV1 {
            head: self.head(),
            acquisition: open.acquisition.id,
            window_start: found.window_start,
            quality: found.quality,
            heart_rate: found.heart_rate,
            suspect_electrode: found.suspect_electrode,
        });
        self.sink.append(Lane::Alert, record).await
    }

    async fn keep_event(&mut self, code: &str, detail: String) -> Result<(), Refused> {
        let record = Record::BoxEvent(BoxEventV1 {
            head: self.head(),
            code: code.to_owned(),
            source: Some(self.source.clone()),
            detail,
        });
        self.sink.append(Lane::Log, record).await
    }

    async fn end(
        &mut self,
        reason: EndReason,
        end: SampleIndex,
        repeated_frames: u64,
    ) -> Result<(), Refused> {
        self.settle(None).await?;
        let Some(open) = self.open.clone() else {
            return Ok(());
        };
        let record = Record::AcquisitionEnded(AcquisitionEndedV1 {
            head: self.head(),
            acquisition: open.acquisition.id,
            end,
            segments: open.tally.segments,
            samples: open.tally.samples,
            gaps: open.tally.gaps,
            missing: open.tally.missing,
            repeated_frames,
            reason,
        });
        self.sink.append(open.lane, record).await?;
        self.open = None;
        Ok(())
    }

    fn change_tally(&mut self, change: impl FnOnce(&mut Tally)) {
        if let Some(open) = &mut self.open {
            change(&mut open.tally);
        }
    }
}

#[cfg(test)]
mod tests;
