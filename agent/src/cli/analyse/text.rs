//! The same for people: the verdict, a line for each lead, what was found, what is missing.

use super::document::{Document, Measured, Value};

pub(super) fn text(document: &Document) -> String {
    let word = if document.acceptable {
        "ACCEPTABLE"
    } else {
        "NOT ACCEPTABLE"
    };
    let record = &document.record;
    let mut text = format!(
        "{word}   {} {}, {:.1} s, {} window(s)\n\n",
        record.format,
        record.name,
        record.duration_s,
        document.windows.len()
    );
    for lead in &document.leads {
        text += &format!(
            "{:<16} {:<15} {:>5.1} % of windows can be used\n",
            lead.label,
            if lead.acceptable {
                "acceptable"
            } else {
                "not acceptable"
            },
            lead.analysable_share * 100.0
        );
    }
    if let Some(beats) = &document.beats {
        text += &format!("\nBEATS   {} in lead {}\n", beats.samples.len(), beats.lead);
    }
    text += &match (
        &document.heart_rate.mean_bpm,
        &document.heart_rate.undetermined,
    ) {
        (Some(bpm), _) => format!("RATE    {bpm:.0} /min on average\n"),
        (None, Some(why)) => format!("RATE    {}\n", why.text),
        (None, None) => String::new(),
    };
    for event in &document.rhythm {
        text += &format!(
            "RHYTHM  {} from {:.1} s to {:.1} s, {:.1}\n",
            event.kind, event.from_s, event.to_s, event.value
        );
    }
    for measured in &document.measurements {
        text += &measurement(measured);
    }
    if let Some(swap) = &document.limb_swap {
        text += &format!("SWAP    {}\n", swap.words.en);
    }
    for sounds in &document.sounds {
        text += &format!("SOUNDS  {}\n", sounds.line());
    }
    if document.coverage.planned_s >= 3_600.0 {
        text += &format!(
            "HOLTER  {}: {:.1} % of {:.1} h can be used, longest gap {:.0} s\n",
            document.coverage.verdict,
            document.coverage.analysable_share * 100.0,
            document.coverage.planned_s / 3_600.0,
            document.coverage.longest_gap_s
        );
    }
    if !document.acceptable {
        for words in document.words.values() {
            text += &format!("FIX     {}\n", words.en);
        }
    }
    for why in &document.unanalysed {
        text += &format!("left out: {}\n", why.text);
    }
    text
}

fn measurement(measured: &Measured) -> String {
    let Some(values) = &measured.values else {
        let why = measured.unmeasured.as_ref();
        return format!("WAVES   {}\n", why.map_or("", |why| why.text.as_str()));
    };
    let number = |value: &Value| match value {
        Value::Number(ms) => format!("{ms:.0} ms"),
        Value::None(_) => "-".to_owned(),
    };
    format!(
        "WAVES   PR {}, QRS {}, QT {}, QTc Bazett {}, Fridericia {} on {} beats from {:.1} s to {:.1} s, not confirmed\n",
        number(&values.pr_ms),
        number(&values.qrs_ms),
        number(&values.qt_ms),
        number(&values.qtc_bazett_ms),
        number(&values.qtc_fridericia_ms),
        values.beats.len(),
        measured.from_s,
        measured.to_s
    )
}
