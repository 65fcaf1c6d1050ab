//! Words of `cardio-core` as CBOR values and back. One function each way per word.

use cardio_core::acquisition::{Attendance, WaveformKind, WaveformSpec};
use cardio_core::annotation::{Beat, BeatClass};
use cardio_core::calibration::Calibration;
use cardio_core::clock::{BoxInstant, ClockQuality, ClockReading, TimeAnchor, UtcMicros};
use cardio_core::device::{DeviceIdentity, IntegrityClass};
use cardio_core::electrode::Electrode;
use cardio_core::gap::{Gap, GapCause};
use cardio_core::ids::{AcquisitionId, BootId, SourceId};
use cardio_core::index::{SampleCount, SampleIndex};
use cardio_core::lead::Lead;
use cardio_core::quality::{LeadQuality, QualityCause, QualityVerdict, SignalQualityIndex};
use cardio_core::rate::SamplingRate;
use cardio_core::request::RequestRef;
use cardio_core::site::AuscultationSite;
use cardio_core::subject::SubjectRef;
use cardio_core::units::PhysicalUnit;
use serde_cbor::Value;

use crate::cbor::{CborError, Field, bytes, map, text};

pub(crate) fn clock_reading(at: &ClockReading) -> Value {
    Value::Array(vec![
        bytes(&at.box_instant.boot.0),
        Value::from(at.box_instant.micros),
        Value::from(at.utc.0),
        match at.quality {
            ClockQuality::Unsynchronised => Value::Null,
            ClockQuality::Synchronised { error_us } => Value::from(error_us),
        },
    ])
}

pub(crate) fn read_clock_reading(field: Field) -> Result<ClockReading, CborError> {
    let mut items = field.items()?;
    let boot = BootId(items.required("boot")?.array("a boot id of 16 bytes")?);
    let micros = items.required("boot micros")?.u64()?;
    let utc = UtcMicros(items.required("utc")?.i64()?);
    let error = items.required("utc error")?;
    let quality = if error.is_null() {
        ClockQuality::Unsynchronised
    } else {
        ClockQuality::Synchronised {
            error_us: error.u64()?,
        }
    };
    items.finish()?;
    Ok(ClockReading {
        box_instant: BoxInstant { boot, micros },
        utc,
        quality,
    })
}

pub(super) fn anchor(anchor: &TimeAnchor) -> Value {
    Value::Array(vec![
        Value::from(anchor.index.0),
        clock_reading(&anchor.at),
        Value::from(anchor.uncertainty_us),
    ])
}

pub(super) fn read_anchor(field: Field) -> Result<TimeAnchor, CborError> {
    let mut items = field.items()?;
    let anchor = TimeAnchor {
        index: SampleIndex(items.required("anchor index")?.u64()?),
        at: read_clock_reading(items.required("anchor time")?)?,
        uncertainty_us: items.required("anchor uncertainty")?.u64()?,
    };
    items.finish()?;
    Ok(anchor)
}

pub(super) fn read_acquisition_id(field: Field) -> Result<AcquisitionId, CborError> {
    field.array("a UUID of 16 bytes").map(AcquisitionId)
}

pub(super) fn read_source(field: Field) -> Result<SourceId, CborError> {
    let wrong = field.wrong("a source name");
    SourceId::new(&field.text()?).map_err(|_| wrong)
}

pub(crate) fn read_subject(field: Field) -> Result<SubjectRef, CborError> {
    let wrong = field.wrong("a subject reference");
    SubjectRef::new(&field.text()?).map_err(|_| wrong)
}

pub(crate) fn read_request(field: Field) -> Result<RequestRef, CborError> {
    let wrong = field.wrong("a request reference");
    RequestRef::new(&field.text()?).map_err(|_| wrong)
}

pub(super) fn device(device: &DeviceIdentity) -> Value {
    let optional = |value: &Option<String>| value.as_deref().map(text);
    map([
        (1, optional(&device.maker)),
        (2, optional(&device.model)),
        (3, optional(&device.serial)),
        (4, optional(&device.firmware)),
        (5, device.system_id.map(|id| bytes(&id))),
    ])
}

pub(super) fn read_device(field: Field) -> Result<DeviceIdentity, CborError> {
    let mut fields = field.fields()?;
    let mut optional =
        |key, name| -> Result<_, _> { fields.optional(key, name).map(Field::text).transpose() };
    let (maker, model) = (optional(1, "maker")?, optional(2, "model")?);
    let (serial, firmware) = (optional(3, "serial")?, optional(4, "firmware")?);
    let system_id = fields
        .optional(5, "system id")
        .map(|field| field.array("8 bytes"))
        .transpose()?;
    fields.finish()?;
    Ok(DeviceIdentity {
        maker,
        model,
        serial,
        firmware,
        system_id,
    })
}

pub(super) fn integrity(class: IntegrityClass) -> Value {
    Value::from(match class {
        IntegrityClass::TimeStamped => 1_u8,
        IntegrityClass::Counted => 2,
        IntegrityClass::Uncounted => 3,
        IntegrityClass::File => 4,
    })
}

pub(super) fn read_integrity(field: &Field) -> Result<IntegrityClass, CborError> {
    match field.u8()? {
        1 => Ok(IntegrityClass::TimeStamped),
        2 => Ok(IntegrityClass::Counted),
        3 => Ok(IntegrityClass::Uncounted),
        4 => Ok(IntegrityClass::File),
        _ => Err(field.wrong("an integrity class")),
    }
}

pub(super) fn attendance(attendance: Attendance) -> Value {
    Value::from(match attendance {
        Attendance::Attended => 1_u8,
        Attendance::Unattended => 2,
    })
}

pub(super) fn read_attendance(field: &Field) -> Result<Attendance, CborError> {
    match field.u8()? {
        1 => Ok(Attendance::Attended),
        2 => Ok(Attendance::Unattended),
        _ => Err(field.wrong("an attendance")),
    }
}

pub(super) fn rate(rate: SamplingRate) -> Value {
    let (samples, seconds) = rate.as_ratio();
    Value::Array(vec![Value::from(samples), Value::from(seconds)])
}

pub(super) fn read_rate(field: Field) -> Result<SamplingRate, CborError> {
    let wrong = field.wrong("a sampling rate in lowest terms");
    let mut items = field.items()?;
    let ratio = (
        items.required("rate samples")?.u32()?,
        items.required("rate seconds")?.u32()?,
    );
    items.finish()?;
    SamplingRate::ratio(ratio.0, ratio.1)
        .ok()
        .filter(|rate| rate.as_ratio() == ratio)
        .ok_or(wrong)
}

pub(super) fn waveform(spec: &WaveformSpec) -> Value {
    let (kind, detail) = match &spec.kind {
        WaveformKind::Ecg(lead) => (1_u8, text(lead.name())),
        WaveformKind::EcgOther(label) => (2, text(label)),
        WaveformKind::HeartSound(site) => (3, site.map_or(Value::Null, |site| text(site.name()))),
        other => (4, text(other.label())),
    };
    let unit = match spec.calibration.unit() {
        PhysicalUnit::Millivolt => Value::from(1_u8),
        PhysicalUnit::Dimensionless => Value::from(2_u8),
        other => text(other.ucum()),
    };
    Value::Array(vec![
        Value::from(kind),
        detail,
        Value::from(spec.calibration.gain_adu_per_unit()),
        Value::from(spec.calibration.baseline_adu()),
        unit,
    ])
}

pub(super) fn read_waveform(field: Field) -> Result<WaveformSpec, CborError> {
    let impossible = field.wrong("a waveform with a possible calibration");
    let mut items = field.items()?;
    let kind = items.required("waveform kind")?;
    let kind = read_waveform_kind(&kind, items.required("waveform detail")?)?;
    let gain = items.required("gain")?.f64()?;
    let baseline = items.required("baseline")?.f64()?;
    let unit = read_unit(items.required("unit")?)?;
    items.finish()?;
    let calibration = Calibration::new(gain, baseline, unit).map_err(|_| impossible)?;
    Ok(WaveformSpec { kind, calibration })
}

fn read_waveform_kind(kind: &Field, detail: Field) -> Result<WaveformKind, CborError> {
    match kind.u8()? {
        1 => {
            let wrong = detail.wrong("the name of a standard lead");
            let name = detail.text()?;
            let lead = Lead::ALL.into_iter().find(|lead| lead.name() == name);
            lead.map(WaveformKind::Ecg).ok_or(wrong)
        }
        2 => detail.text().map(WaveformKind::EcgOther),
        3 if detail.is_null() => Ok(WaveformKind::HeartSound(None)),
        3 => {
            let wrong = detail.wrong("the name of an auscultation site");
            let site = AuscultationSite::from_name(&detail.text()?).ok_or(wrong)?;
            Ok(WaveformKind::HeartSound(Some(site)))
        }
        4 => detail.text().map(WaveformKind::Other),
        _ => Err(kind.wrong("a kind of waveform")),
    }
}

fn read_unit(field: Field) -> Result<PhysicalUnit, CborError> {
    let wrong = field.wrong("a unit");
    match field.u8() {
        Ok(1) => Ok(PhysicalUnit::Millivolt),
        Ok(2) => Ok(PhysicalUnit::Dimensionless),
        Ok(_) => Err(wrong),
        Err(_) => field.text().map(PhysicalUnit::Other),
    }
}

pub(super) fn gap(gap: &Gap) -> Value {
    Value::Array(vec![
        Value::from(gap.from.0),
        Value::from(gap.len.0),
        Value::from(gap.uncertainty.0),
        text(gap.cause.name()),
    ])
}

pub(super) fn read_gap(field: Field) -> Result<Gap, CborError> {
    let mut items = field.items()?;
    let from = SampleIndex(items.required("gap from")?.u64()?);
    let len = SampleCount(items.required("gap length")?.u64()?);
    let uncertainty = SampleCount(items.required("gap uncertainty")?.u64()?);
    let cause = items.required("gap cause")?;
    let wrong = cause.wrong("the name of a gap's cause");
    let cause = GapCause::from_name(&cause.text()?).ok_or(wrong)?;
    items.finish()?;
    Ok(Gap {
        from,
        len,
        uncertainty,
        cause,
    })
}

/// Three items of an array that [`read_lead_quality`] takes back.
pub(super) fn lead_quality(quality: &LeadQuality) -> [Value; 3] {
    let verdict = match quality.verdict {
        QualityVerdict::Insufficient => 1_u8,
        QualityVerdict::Acceptable => 2,
        QualityVerdict::Good => 3,
    };
    let causes = quality.causes.iter().map(|cause| cause.number());
    [
        Value::from(quality.index.get()),
        Value::from(verdict),
        Value::Array(causes.map(Value::from).collect()),
    ]
}

pub(super) fn read_lead_quality(
    index: &Field,
    verdict: &Field,
    causes: Field,
) -> Result<LeadQuality, CborError> {
    let number = index.f64()?;
    if !(0.0..=1.0).contains(&number) {
        return Err(index.wrong("a quality from 0 to 1"));
    }
    let verdict = match verdict.u8()? {
        1 => QualityVerdict::Insufficient,
        2 => QualityVerdict::Acceptable,
        3 => QualityVerdict::Good,
        _ => return Err(verdict.wrong("a verdict")),
    };
    let causes = causes.items()?.map("quality cause", |cause| {
        QualityCause::from_number(cause.u8()?).ok_or(cause.wrong("a cause"))
    })?;
    Ok(LeadQuality {
        index: SignalQualityIndex::clamped(number),
        verdict,
        causes,
    })
}

pub(super) fn algorithm(algorithm: &(String, u32)) -> Value {
    Value::Array(vec![text(&algorithm.0), Value::from(algorithm.1)])
}

pub(super) fn read_algorithm(field: Field) -> Result<(String, u32), CborError> {
    let mut items = field.items()?;
    let algorithm = (
        items.required("algorithm name")?.text()?,
        items.required("algorithm version")?.u32()?,
    );
    items.finish()?;
    Ok(algorithm)
}

pub(super) fn beat(beat: &Beat) -> Value {
    let class = |class: BeatClass| text(class.letter().encode_utf8(&mut [0; 4]));
    Value::Array(vec![
        Value::from(beat.at.0),
        beat.class.map_or(Value::Null, class),
    ])
}

pub(super) fn read_beat(field: Field) -> Result<Beat, CborError> {
    let mut items = field.items()?;
    let at = SampleIndex(items.required("beat index")?.u64()?);
    let class = items.required("beat class")?;
    let class = if class.is_null() {
        None
    } else {
        let wrong = class.wrong("a letter of EC57");
        let letter = class.text()?.parse().ok().and_then(BeatClass::from_letter);
        Some(letter.ok_or(wrong)?)
    };
    items.finish()?;
    Ok(Beat { at, class })
}

pub(super) fn electrode(electrode: Electrode) -> Value {
    text(electrode.iec())
}

pub(super) fn read_electrode(field: Field) -> Result<Electrode, CborError> {
    let wrong = field.wrong("the IEC letter of an electrode");
    let letter = field.text()?;
    Electrode::from_letter(&letter)
        .filter(|electrode| electrode.iec() == letter)
        .ok_or(wrong)
}
