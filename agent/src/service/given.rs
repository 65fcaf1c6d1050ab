//! What the configuration says of each source, as its task is given it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cardio_core::ids::SourceId;
use cardio_core::subject::SubjectRef;
use cardio_protocol::gatt::GattProfile;
use tokio::sync::watch;

use crate::adapters::ble::Radio;
use crate::capture::{BleReach, PortName, Reach, SerialReach};
use crate::config::device::Device;
use crate::config::{Config, RecordingsName, SourceConfig, rows};
use crate::enrolment::Enrolment;
use crate::import::ImportPlan;
use crate::pipeline::SourcePlan;
use crate::status::{SourceLine, SourceStatus};
use crate::worklist::Choice;

/// What the import is told; `None` without a folder and without a sensor that gives recordings.
pub(super) fn import_plan(
    config: &Config,
    enrolment: &Enrolment,
    choice: watch::Receiver<Choice>,
) -> Option<ImportPlan> {
    let import = &config.import;
    let subject = import.subject.as_deref();
    let mut sources = config.sources.iter();
    let fetched = |source: &&SourceConfig| source.recordings == RecordingsName::Fetch;
    let sensors: Vec<SourceId> = sources
        .by_ref()
        .filter(fetched)
        .filter_map(|source| SourceId::new(&source.name).ok())
        .collect();
    (import.folder.is_some() || !sensors.is_empty()).then_some(())?;
    Some(ImportPlan {
        folder: import.folder.clone(),
        sensors,
        state: config.site.state.clone(),
        quiet_for: import.quiet_for.0,
        resume_within: config.capture.resume_within.0,
        device: enrolment.id,
        source: SourceId::new(&import.name).ok()?,
        subject: subject.and_then(|subject| SubjectRef::new(subject).ok()),
        choice,
    })
}

/// How the sensor of a source is reached; `None` for a source that the configuration's own
/// check would have refused.
pub(crate) fn reach_of(
    state: &Path,
    source: &SourceConfig,
    plan: &SourcePlan,
    radio: Option<&Radio>,
) -> Option<Reach> {
    Some(match plan.device {
        Device::Serial(profile) => Reach::Serial(SerialReach {
            port: port_of(source)?,
            profile,
        }),
        Device::Ble(profile) => Reach::Ble(BleReach {
            rate_hz: source.rate_hz,
            ..ble_reach(state, &plan.source, profile, radio?)
        }),
        Device::Console(_) => return None,
    })
}

pub(crate) fn ble_reach(
    state: &Path,
    source: &SourceId,
    profile: &'static GattProfile,
    radio: &Radio,
) -> BleReach {
    BleReach {
        radio: radio.clone(),
        state: state.to_owned(),
        source: source.clone(),
        profile,
        rate_hz: None,
    }
}

/// The line of a sensor whose recordings are fetched, before anything happened.
pub(super) fn fetch_line(source: &SourceConfig, device: Device) -> SourceLine {
    SourceLine {
        status: SourceStatus {
            name: source.name.clone(),
            device: device.name().to_owned(),
            link: device.kind().name().to_owned(),
            stream: "recordings".to_owned(),
            assigned: source.subject.is_some(),
            ..SourceStatus::default()
        },
        last_frame_us: None,
    }
}

pub(super) fn subject_of(source: &SourceConfig) -> Option<SubjectRef> {
    let subject = source.subject.as_deref();
    subject.and_then(|subject| SubjectRef::new(subject).ok())
}

/// How the port of a serial source is named.
pub(super) fn port_of(source: &SourceConfig) -> Option<PortName> {
    let by_path = source.path.clone().map(PortName::Path);
    by_path.or_else(|| {
        source.usb.clone().map(|identity| PortName::Usb {
            identity,
            root: PathBuf::from("/"),
        })
    })
}

/// What the pipeline of a source is told; `None` for a source that the configuration's own
/// check would have refused.
pub(crate) fn plan_of(source: &SourceConfig, resume_within: Duration) -> Option<SourcePlan> {
    let device = Device::by_name(&source.device)?;
    Some(SourcePlan {
        source: SourceId::new(&source.name).ok()?,
        device,
        signal: device.signal_at(source.rate_hz)?,
        rows: rows::of(device, source.leads.as_deref()).ok()?,
        subject: subject_of(source),
        attendance: source.attendance.into(),
        resume_within,
    })
}
