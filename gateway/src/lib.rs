//! The receiving end: inbox, acknowledgements, patient record, alerts.
