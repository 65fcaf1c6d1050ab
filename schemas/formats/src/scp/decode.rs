//! From the bits of sections 5 and 6 to the samples of each lead.

use cardio_core::rate::SamplingRate;

use super::huffman::Tables;
use super::section::{BeatZone, Beats, Directory, LeadSpec, Leads, Section, invalid};
use crate::error::FormatError;
use crate::fields::Fields;
use crate::sniff::FormatId;
use crate::warnings::Warnings;

/// What section 6 gives, with the reference beat added back.
pub(crate) struct Rhythm {
    pub(crate) samples: Vec<Vec<i32>>,
    pub(crate) rate: SamplingRate,
    pub(crate) nanovolts: u16,
    pub(crate) remark: Option<(String, String)>,
}

/// The first fields of sections 5 and 6, and the bytes of each lead.
struct Stream<'a> {
    nanovolts: u16,
    interval_us: u16,
    differences: u8,
    bimodal: bool,
    leads: Vec<&'a [u8]>,
}

impl<'a> Stream<'a> {
    fn read(
        section: Section<'a>,
        count: usize,
        warnings: &mut Warnings,
    ) -> Result<Self, FormatError> {
        let mut fields = section.fields();
        let nanovolts = fields.u16("amplitude value multiplier")?;
        let interval_us = fields.u16("sample time interval")?;
        let differences = fields.u8("encoding")?;
        if differences > 2 {
            let found = differences.to_string();
            let want = "0, 1 or 2 differences";
            return Err(invalid("encoding", section.at, &found, want));
        }
        let bimodal = fields.u8("bimodal compression")? == 1;
        let mut lengths = Vec::new();
        for _ in 0..count {
            lengths.push(usize::from(fields.u16("bytes of a lead")?));
        }
        let leads = lengths
            .into_iter()
            .map(|length| lead_bytes(&mut fields, length, warnings))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            nanovolts,
            interval_us,
            differences,
            bimodal,
            leads,
        })
    }
}

/// The bytes of one lead; what a cut file still has of them.
fn lead_bytes<'a>(
    fields: &mut Fields<'a>,
    length: usize,
    warnings: &mut Warnings,
) -> Result<&'a [u8], FormatError> {
    let have = fields.rest().len();
    if have < length {
        let why = format!("{length} byte(s) stated, {have} remain");
        warnings.tell("samples of a lead", fields.offset(), why)?;
    }
    fields.take("samples of a lead", length.min(have))
}

/// Reads the rhythm data of all leads.
pub(crate) fn rhythm(
    directory: &Directory<'_>,
    leads: &Leads,
    warnings: &mut Warnings,
) -> Result<Rhythm, FormatError> {
    let tables = Tables::read(directory.get(2))?;
    let section = directory.require(6)?;
    let stream = Stream::read(section, leads.list.len(), warnings)?;
    let beats = directory
        .get(4)
        .map(Beats::read)
        .transpose()?
        .unwrap_or_default();
    let reference = directory
        .get(5)
        .filter(|section| section.body.len() > 6)
        .map(|section| Stream::read(section, leads.list.len(), warnings))
        .transpose()?;
    let full_us = match &reference {
        Some(reference) if stream.bimodal => reference.interval_us,
        _ => stream.interval_us,
    };
    let factor = usize::from(stream.interval_us) / usize::from(full_us.max(1));
    let rate = SamplingRate::ratio(1_000_000, u32::from(full_us)).map_err(|_| {
        let want = "microseconds above zero";
        invalid("sample time interval", section.at, "0", want)
    })?;
    if stream.nanovolts == 0 {
        let why = "0: the samples have no unit".to_owned();
        warnings.tell("amplitude value multiplier", section.at, why)?;
    }
    let mut samples = Vec::new();
    for (lead, bytes) in leads.list.iter().zip(&stream.leads) {
        let mut numbers = tables.decode(bytes, lead.samples());
        integrate(&mut numbers, stream.differences);
        if stream.bimodal && factor > 1 {
            numbers = spread(&numbers, lead, &beats, factor);
        }
        if numbers.len() < lead.samples() {
            let why = format!(
                "{} of {} sample(s) of {} are there",
                numbers.len(),
                lead.samples(),
                super::section::lead_name(lead.id)
            );
            warnings.tell("samples of a lead", section.at, why)?;
        }
        samples.push(numbers);
    }
    if leads.subtracted {
        let reference = reference.ok_or_else(|| {
            let want = "the reference beat that was subtracted";
            invalid("section 5", 0, "absent", want)
        })?;
        check_reference(&reference, &stream, full_us, section.at)?;
        for ((lead, bytes), samples) in leads.list.iter().zip(&reference.leads).zip(&mut samples) {
            let mut beat = tables.decode(bytes, usize::from(u16::MAX));
            integrate(&mut beat, reference.differences);
            add_back(samples, lead, &beat, &beats);
        }
    }
    Ok(Rhythm {
        samples,
        rate,
        nanovolts: stream.nanovolts,
        remark: stream.bimodal.then(|| {
            let text = format!("outside protected zones the file holds averages of {factor}");
            ("bimodal compression".to_owned(), text)
        }),
    })
}

/// A reference beat can only be added to samples of its own scale and rate.
fn check_reference(
    reference: &Stream<'_>,
    stream: &Stream<'_>,
    full_us: u16,
    at: u64,
) -> Result<(), FormatError> {
    if reference.nanovolts == stream.nanovolts && reference.interval_us == full_us {
        return Ok(());
    }
    Err(FormatError::Unsupported {
        format: FormatId::Scp,
        field: "reference beat",
        offset: at,
        found: format!(
            "of {} nV and {} us beside samples of {} nV and {full_us} us",
            reference.nanovolts, reference.interval_us, stream.nanovolts
        ),
    })
}

/// Undoes first or second differences; the first one or two numbers are samples.
fn integrate(numbers: &mut [i32], differences: u8) {
    match differences {
        1 => {
            let mut last = 0_i32;
            for number in numbers {
                last = last.wrapping_add(*number);
                *number = last;
            }
        }
        2 => {
            let (mut before, mut last) = (0_i32, 0_i32);
            for (position, number) in numbers.iter_mut().enumerate() {
                if position >= 2 {
                    let step = last.wrapping_mul(2).wrapping_sub(before);
                    *number = number.wrapping_add(step);
                }
                (before, last) = (last, *number);
            }
        }
        _ => {}
    }
}

/// Gives every stored number of a bimodal lead its place: one sample inside a protected
/// zone, the middle of `factor` samples outside, where lines join the middles.
fn spread(stored: &[i32], lead: &LeadSpec, beats: &Beats, factor: usize) -> Vec<i32> {
    let total = lead.samples();
    let zones: Vec<(u64, u64)> = beats
        .zones
        .iter()
        .filter_map(|zone| zone.protected)
        // A writer's overflow puts the end beyond any lead; such a zone protects nothing.
        .filter(|(start, end)| end > start && i32::try_from(*end).is_ok())
        .map(|(start, end)| (u64::from(start), u64::from(end)))
        .collect();
    let protected = |sample: u64| {
        zones
            .iter()
            .any(|(start, end)| (*start..=*end).contains(&sample))
    };
    let mut out = Vec::new();
    let mut averages: Vec<i32> = Vec::new();
    let mut number_of_next = lead.first().0.saturating_add(1);
    for number in stored {
        if out
            .len()
            .saturating_add(averages.len().saturating_mul(factor))
            >= total
        {
            break;
        }
        if protected(number_of_next) {
            join(&mut out, &mut averages, factor, total);
            out.push(*number);
            number_of_next = number_of_next.saturating_add(1);
        } else {
            averages.push(*number);
            number_of_next = number_of_next.saturating_add(u64::try_from(factor).unwrap_or(1));
        }
    }
    join(&mut out, &mut averages, factor, total);
    out
}

/// Appends a stretch of averages as joined lines.
fn join(out: &mut Vec<i32>, averages: &mut Vec<i32>, factor: usize, total: usize) {
    let twice = i64::try_from(factor.saturating_mul(2)).unwrap_or(i64::MAX);
    let value = |position: usize| averages.get(position).copied().map(i64::from);
    for (position, average) in averages.iter().enumerate() {
        let average = i64::from(*average);
        let before = position.checked_sub(1).and_then(value).unwrap_or(average);
        let after = value(position.saturating_add(1)).unwrap_or(average);
        for sample in 0..factor {
            // Twice the distance from the middle of the stretch, in samples.
            let sample = i64::try_from(sample).unwrap_or(0);
            let apart = sample
                .saturating_mul(2)
                .saturating_add(1)
                .saturating_sub(twice / 2);
            let towards = if apart < 0 { before } else { after };
            let moved = (towards - average).saturating_mul(apart.abs()) / twice.max(1);
            out.push(i32::try_from(average.saturating_add(moved)).unwrap_or(0));
        }
    }
    averages.clear();
    out.truncate(total);
}

/// Adds the reference beat back where it was subtracted: sample `i`, counted from 1, gains
/// reference sample `fcM - fc + i`, counted from 1.
fn add_back(samples: &mut [i32], lead: &LeadSpec, beat: &[i32], beats: &Beats) {
    let first = i64::try_from(lead.first().0).unwrap_or(i64::MAX);
    for zone in beats.zones.iter().filter(|zone| zone.kind == 0) {
        let BeatZone {
            start,
            fiducial,
            end,
            ..
        } = *zone;
        let shift = i64::from(beats.fiducial) - i64::from(fiducial);
        let own = |sample: u32| usize::try_from(i64::from(sample) - 1 - first).unwrap_or(0);
        let last = own(end).saturating_add(1).min(samples.len());
        let from = own(start).min(last);
        for (number, sample) in (from..).zip(samples.get_mut(from..last).unwrap_or_default()) {
            let number = i64::try_from(number).unwrap_or(0).saturating_add(first);
            let reference = usize::try_from(number.saturating_add(shift));
            let gain = reference.ok().and_then(|at| beat.get(at)).copied();
            *sample = sample.wrapping_add(gain.unwrap_or(0));
        }
    }
}
