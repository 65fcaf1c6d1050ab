//! What other programs on the same database changed: boxes that they enrolled or revoked.
//!
//! Deliberately absent: frames. [`crate::filing`] looks for those itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::boxes::Boxes;
use crate::inbox::{BoxRow, Inbox};

/// How long a change elsewhere may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Brings the allow-list up to date until `stop` becomes true.
pub(crate) async fn follow(inbox: Inbox, boxes: Arc<Boxes>, mut stop: watch::Receiver<bool>) {
    let mut revoked = HashSet::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let reading = inbox.clone();
        let rows = tokio::task::spawn_blocking(move || reading.boxes()).await;
        match rows {
            Ok(Ok(rows)) => rows
                .into_iter()
                .for_each(|row| adopt(&boxes, row, &mut revoked)),
            Ok(Err(error)) => {
                tracing::warn!(event = "BoxesReadError", code = error.code(), "{error}");
            }
            Err(_) => return,
        }
    }
}

fn adopt(boxes: &Boxes, row: BoxRow, revoked: &mut HashSet<cardio_core::ids::BoxId>) {
    let id = row.known.id;
    if row.revoked.is_some() {
        if revoked.insert(id) {
            boxes.revoke(id);
        }
    } else if boxes.admitted(&row.known.cert_key_hash).is_none() {
        tracing::info!(event = "BoxAdmitted", box_name = %row.known.name);
        boxes.admit(row.known);
    }
}

#[cfg(test)]
mod tests {
    use super::{BoxRow, Boxes, HashSet, adopt};
    use crate::boxes::KnownBox;
    use cardio_core::clock::UtcMicros;
    use cardio_core::ids::BoxId;
    use cardio_wire::keys::VerifyingKey;

    fn row(revoked: Option<UtcMicros>) -> BoxRow {
        BoxRow {
            known: KnownBox {
                id: BoxId([1; 16]),
                name: "FR75-001".to_owned(),
                frame_key: VerifyingKey([2; 32]),
                cert_key_hash: [3; 32],
            },
            enrolled: UtcMicros(0),
            revoked,
            heard: None,
            connected: None,
            agent_version: None,
            free_bytes: None,
            team: None,
        }
    }

    #[test]
    fn a_box_enrolled_or_revoked_elsewhere_is_enrolled_or_revoked_here() {
        let (boxes, mut revoked) = (Boxes::default(), HashSet::new());
        adopt(&boxes, row(None), &mut revoked);
        assert!(boxes.admitted(&[3; 32]).is_some());
        adopt(&boxes, row(Some(UtcMicros(5))), &mut revoked);
        assert!(boxes.admitted(&[3; 32]).is_none());
    }
}
