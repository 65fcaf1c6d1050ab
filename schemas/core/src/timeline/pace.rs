//! How samples arrive: the lateness of each frame against the device's rate, its lower
//! edge, and the drift of the device's clock.
//!
//! A frame can come late (scheduling, radio, buffers), never early. The lower edge of the
//! lateness therefore follows the device's clock, and only what lifts the edge for good is
//! a loss.

use crate::clock::BoxInstant;
use crate::index::SampleIndex;
use crate::rate::SamplingRate;

/// Length of a bucket whose lowest lateness is kept.
const BUCKET_US: u64 = 500_000;
/// Its length where frames are rare, at most.
const BUCKET_MAX_US: u64 = 2_000_000;
/// Frames that a bucket needs to count.
const BUCKET_FRAMES: u32 = 2;
/// How fast the edge may rise with a slow device: one part in so many (25 000 ppm).
const RISE_SHARE: u64 = 40;
/// Share of a step, and microseconds, by which two buckets may differ and still show an edge
/// that stays: one that falls faster is a backlog that is being worked off.
const STEADY_SHARE: i64 = 4;
const STEADY_MIN_US: i64 = 30_000;
/// Share of the greatest lateness that a bucket forgets.
const WORST_SHARE: i64 = 64;
/// Buckets after which the edge is taken for what it is.
const SETTLED_BUCKETS: u32 = 2;
/// Buckets needed for a drift estimate: half a minute.
const DRIFT_BUCKETS: f64 = 60.0;

/// Estimate of a device's clock against the box's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// How much faster than its nominal rate the device samples, in parts per million.
    pub ppm: f64,
    /// Standard error of the estimate, in parts per million.
    pub standard_error_ppm: f64,
}

/// Arrival of samples against the nominal rate.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    rate: SamplingRate,
    origin: Option<(SampleIndex, BoxInstant)>,
    last: Option<(SampleIndex, BoxInstant)>,
    floor_us: i64,
    /// Smoothed lateness above the floor.
    usual_us: i64,
    /// Greatest lateness above the floor of late, forgotten over a minute or so.
    worst_us: i64,
    /// Before this nothing that comes first can have been taken.
    taken_since: Option<BoxInstant>,
    /// How much lower than it is known the edge may be: its first frames may all have been late.
    slack_us: i64,
    /// Buckets since the first frame.
    buckets: u32,
    bucket: Bucket,
    /// Lowest lateness of the bucket before, if it stayed above the edge as a whole.
    lifted_before: Option<i64>,
    fit: Fit,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    until_us: u64,
    span_us: u64,
    lowest_us: i64,
    end: SampleIndex,
    frames: u32,
}

/// Sums of a straight line through the buckets' lowest points.
#[derive(Clone, Copy, Debug, Default)]
struct Fit {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Pace {
    pub(super) fn new(rate: SamplingRate) -> Self {
        Self {
            rate,
            origin: None,
            last: None,
            floor_us: 0,
            usual_us: 0,
            worst_us: 0,
            taken_since: None,
            slack_us: 0,
            buckets: 0,
            bucket: Bucket::default(),
            lifted_before: None,
            fit: Fit::default(),
        }
    }

    /// The first frame that is noted from here on was not taken before `since`.
    pub(super) const fn note_taken_since(&mut self, since: BoxInstant) {
        self.taken_since = Some(since);
    }

    /// What comes from here on is no stream's first frame.
    pub(super) const fn forget_start(&mut self) {
        self.taken_since = None;
    }

    /// How late a frame that begins a stream can be at most when it comes at `arrival`; zero where
    /// nobody said since when it can have been taken.
    pub(super) fn first_late_us(&self, arrival: BoxInstant) -> u64 {
        let since = self.taken_since.as_ref();
        since
            .and_then(|since| arrival.micros_since(since))
            .unwrap_or(0)
    }

    /// How much lower the edge may be than what was seen of it.
    pub(super) fn slack_us(&self) -> u64 {
        self.slack_us.unsigned_abs()
    }

    /// The pace of a stream that goes on behind an absence.
    pub(super) fn behind_absence(&self) -> Self {
        Self {
            taken_since: self.taken_since,
            ..Self::new(self.rate)
        }
    }

    /// Microseconds by which samples that end at `end` would be late if they came now.
    pub(super) fn lateness_us(&self, end: SampleIndex, arrival: BoxInstant) -> i64 {
        self.raw_us(end, arrival)
            .map_or(0, |raw| raw.saturating_sub(self.floor_us))
    }

    /// Microseconds since the last frame.
    pub(super) fn silence_us(&self, arrival: BoxInstant) -> u64 {
        self.last
            .and_then(|(_, last)| arrival.micros_since(&last))
            .unwrap_or(0)
    }

    fn raw_us(&self, end: SampleIndex, arrival: BoxInstant) -> Option<i64> {
        let (first, since) = self.origin?;
        let elapsed = i128::from(arrival.micros) - i128::from(since.micros);
        let due = i128::from(self.rate.micros_at(end)) - i128::from(self.rate.micros_at(first));
        (arrival.boot == since.boot)
            .then(|| i64::try_from(elapsed - due).ok())
            .flatten()
    }

    /// Takes note of samples that end at `end`. Gives the microseconds by which the edge has
    /// risen for good, once, when that is `step_us` or more.
    pub(super) fn observe(
        &mut self,
        end: SampleIndex,
        arrival: BoxInstant,
        step_us: i64,
    ) -> Option<i64> {
        let Some(raw) = self.raw_us(end, arrival) else {
            self.restart(end, arrival);
            return None;
        };
        let before = self.last.replace((end, arrival));
        if before == Some((end, arrival)) {
            return None;
        }
        let risen = (arrival.micros >= self.bucket.until_us)
            .then(|| self.close_bucket(step_us))
            .flatten();
        if self.bucket.frames == 0 {
            let span_us = self.bucket_us(before, end);
            self.bucket = Bucket {
                until_us: arrival.micros.saturating_add(span_us),
                span_us,
                lowest_us: raw,
                end,
                frames: 0,
            };
        }
        if raw <= self.bucket.lowest_us {
            (self.bucket.lowest_us, self.bucket.end) = (raw, end);
        }
        self.bucket.frames = self.bucket.frames.saturating_add(1);
        let fallen = self.floor_us.saturating_sub(raw).max(0);
        self.slack_us = self.slack_us.saturating_sub(fallen).max(0);
        self.floor_us = self.floor_us.min(raw);
        let above = raw.saturating_sub(self.floor_us);
        self.usual_us += (above - self.usual_us) / 16;
        self.worst_us = self.worst_us.max(above);
        risen
    }

    /// How long a bucket is: long enough for two frames, also where these are rare.
    fn bucket_us(&self, before: Option<(SampleIndex, BoxInstant)>, end: SampleIndex) -> u64 {
        let frame_us = before
            .and_then(|(before, _)| end.since(before))
            .map_or(0, |frame| self.rate.micros_at(SampleIndex(frame.0)));
        BUCKET_US
            .max(frame_us.saturating_mul(3) / 2)
            .min(BUCKET_MAX_US)
    }

    fn close_bucket(&mut self, step_us: i64) -> Option<i64> {
        let bucket = std::mem::take(&mut self.bucket);
        self.worst_us -= self.worst_us / WORST_SHARE;
        if bucket.frames < BUCKET_FRAMES {
            return None;
        }
        self.buckets = self.buckets.saturating_add(1);
        if self.buckets >= SETTLED_BUCKETS {
            self.slack_us = 0;
        }
        let above = bucket.lowest_us.saturating_sub(self.floor_us);
        if above < step_us {
            self.lifted_before = None;
            let rise_us = i64::try_from(bucket.span_us / RISE_SHARE).unwrap_or(i64::MAX);
            self.floor_us += above.clamp(0, rise_us);
            let x = self.seconds(bucket.end);
            self.fit.add(x, bucket.lowest_us);
            return None;
        }
        let steady_us = (step_us / STEADY_SHARE).max(STEADY_MIN_US);
        match self.lifted_before.take() {
            Some(before) if before.saturating_sub(bucket.lowest_us) <= steady_us => {
                let lowest = before.min(bucket.lowest_us);
                Some(lowest.saturating_sub(self.floor_us))
            }
            _ => {
                self.lifted_before = Some(bucket.lowest_us);
                None
            }
        }
    }

    fn seconds(&self, end: SampleIndex) -> f64 {
        let micros = self
            .origin
            .and_then(|(first, _)| end.since(first))
            .map_or(0, |count| self.rate.micros_at(SampleIndex(count.0)));
        std::time::Duration::from_micros(micros).as_secs_f64()
    }

    /// From here on, samples are counted anew against time. How late a frame can be on this way
    /// is remembered.
    pub(super) fn restart(&mut self, end: SampleIndex, arrival: BoxInstant) {
        *self = Self {
            origin: Some((end, arrival)),
            last: Some((end, arrival)),
            worst_us: self.worst_us,
            slack_us: i64::try_from(self.first_late_us(arrival)).unwrap_or(i64::MAX),
            ..Self::new(self.rate)
        };
    }

    /// The time line was moved by as many samples as time says are missing, so the edge is
    /// back where it was, to within a frame; the line for the drift starts again.
    pub(super) fn settle(&mut self) {
        self.bucket = Bucket::default();
        self.fit = Fit::default();
    }

    /// When samples that end at `end` would have come without any delay.
    pub(super) fn due(&self, end: SampleIndex) -> Option<BoxInstant> {
        let (first, since) = self.origin?;
        let due = i128::from(self.rate.micros_at(end)) - i128::from(self.rate.micros_at(first));
        let micros = i128::from(since.micros) + due + i128::from(self.floor_us);
        Some(BoxInstant {
            boot: since.boot,
            micros: u64::try_from(micros).unwrap_or(0),
        })
    }

    /// How far from its due time a frame usually comes.
    pub(super) fn usual_delay_us(&self) -> u64 {
        self.usual_us.unsigned_abs()
    }

    /// How far from its due time a frame came at worst of late.
    pub(super) fn worst_delay_us(&self) -> u64 {
        self.worst_us.unsigned_abs()
    }

    pub(super) fn drift(&self) -> Option<Drift> {
        self.fit.drift()
    }
}

impl Fit {
    fn add(&mut self, x: f64, y_us: i64) {
        // Lateness stays far below 2^31 µs within one run of the fit.
        let y = f64::from(i32::try_from(y_us).unwrap_or(i32::MAX));
        self.n += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
        self.yy += y * y;
    }

    fn drift(&self) -> Option<Drift> {
        if self.n < DRIFT_BUCKETS {
            return None;
        }
        let sxx = self.xx - self.x * self.x / self.n;
        let sxy = self.xy - self.x * self.y / self.n;
        let syy = self.yy - self.y * self.y / self.n;
        if sxx <= 0.0 {
            return None;
        }
        // Microseconds of lateness per second of signal are parts per million of slowness.
        let slope = sxy / sxx;
        let residual = ((syy - slope * sxy).max(0.0) / (self.n - 2.0)).sqrt();
        Some(Drift {
            ppm: -slope,
            standard_error_ppm: residual / sxx.sqrt(),
        })
    }
}
