//! Whose a file is, and the beginnings of all that it becomes.
//!
//! A file belongs to the visit that a person has chosen when its import begins, else to whom the
//! configuration names. All its acquisitions begin in one commit, so a choice that changes while
//! it is imported cannot divide it between two patients; neither can a cut: what has begun says,
//! by the mark of its patient, whose the rest is.

use cardio_core::acquisition::Acquisition;
use cardio_core::ids::AcquisitionId;
use cardio_core::subject::SubjectRef;
use cardio_formats::parts::{Part, Told};
use cardio_store::{OpenAcquisition, SubjectMark};
use cardio_wire::lane::Lane;
use cardio_wire::record::{AcquisitionStartedV1, Record};

use super::{Import, ImportError, Keep, OneFile};
use crate::worklist::Assigned;

impl<K: Keep> Import<K> {
    /// Begins what of a file has not begun; answers the acquisitions of its parts, in their order.
    pub(super) fn begin(
        &mut self,
        file: &OneFile<'_>,
        parts: &[Part],
    ) -> Result<Vec<AcquisitionId>, ImportError> {
        let (device, content) = (self.plan.device, &file.content);
        let name = |(place, _)| self.ledger.next_name(&device, content, place);
        let ids: Vec<AcquisitionId> = parts.iter().enumerate().map(name).collect();
        let mut notes = self.keep.open().map_err(ImportError::Outbox)?;
        notes.retain(|note| ids.contains(&note.acquisition));
        let has_begun = |id: &AcquisitionId| {
            let is_open = notes.iter().any(|note| note.acquisition == *id);
            is_open || self.ledger.is_ending(*id)
        };
        let told = self.told(file, notes.first(), ids.iter().any(has_begun));
        let missing = parts.iter().zip(&ids).filter(|(_, id)| !has_begun(id));
        let begun: Vec<Acquisition> = missing
            .map(|(part, id)| part.acquisition(*id, &told, &file.found.recording))
            .collect();
        let started = |acquisition| {
            let head = self.head();
            Record::AcquisitionStarted(AcquisitionStartedV1 { head, acquisition })
        };
        let records: Vec<Record> = begun.into_iter().map(started).collect();
        if !records.is_empty() {
            let kept = self.keep.keep(Lane::Bulk, records);
            kept.map_err(ImportError::Outbox)?;
        }
        Ok(ids)
    }

    /// What the acquisitions of a file are told that begin now.
    fn told(&self, file: &OneFile<'_>, begun: Option<&OpenAcquisition>, has_begun: bool) -> Told {
        let chosen = self.plan.choice.borrow().assigned.clone();
        let configured = file.told.subject.clone();
        let of = |subject: Option<SubjectRef>, visit: Option<Assigned>| Told {
            subject,
            request: visit.map(|visit| visit.request),
            ..file.told.clone()
        };
        let by_choice = |visit: Assigned| of(Some(visit.subject.clone()), Some(visit));
        if !has_begun {
            return chosen.map_or_else(|| of(configured.clone(), None), by_choice);
        }
        let is_same = |subject: &SubjectRef| {
            begun.is_some_and(|note| {
                note.subject == Some(SubjectMark::of(note.acquisition, subject))
            })
        };
        match chosen.filter(|visit| is_same(&visit.subject)) {
            Some(visit) => by_choice(visit),
            // of somebody who is not known here any more: a person says who at the gateway
            None if begun.is_some() => of(configured.filter(is_same), None),
            None => of(configured, None),
        }
    }
}
