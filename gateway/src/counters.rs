//! What happened since the start, counted.
//!
//! One declaration per counter gives the field, its name in `status --json` and its zero.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the start of the program.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Counters {
            /// Name and value of each.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

counters! {
    /// Connections accepted on the MQTT listener.
    mqtt_connections,
    /// Connections closed because as many as allowed were open.
    mqtt_connections_refused,
    /// TLS handshakes that failed or took too long.
    tls_handshakes_failed,
    /// Sessions that began with a good CONNECT.
    sessions_begun,
    /// Sessions that a newer one of the same box took over.
    sessions_taken_over,
    /// Sessions closed because nothing was heard for one and a half keep-alives.
    sessions_silent,
    /// Packets that were no MQTT 5, or MQTT 5 that this listener does not allow.
    packets_refused,
    /// Connections made to the external broker.
    broker_connections,
    /// Connections to the external broker that failed or broke.
    broker_connections_lost,
    /// Topics that do not belong to the connected box.
    topics_foreign,
    /// Frames whose signature, form or header was refused.
    frames_refused,
    /// Frames stored.
    frames_stored,
    /// Frames that were stored already.
    frames_repeated,
    /// Frames that claim the identity of another stored frame.
    frames_conflicting,
    /// Frames that came in frames of newer chains.
    frames_carried,
    /// Carried frames that were refused; the frame that carried them is set aside.
    frames_carried_refused,
    /// Frames that could not be stored.
    frames_not_stored,
    /// Hellos accepted.
    hellos,
    /// Hellos refused.
    hellos_refused,
    /// Acknowledgements sent.
    acks_sent,
    /// Commands sent.
    commands_sent,
    /// Requests to enrol.
    enrol_requests,
    /// Requests to enrol, questions and renewals that were turned away.
    enrol_refused,
    /// Certificates renewed.
    certificates_renewed,
    /// Records filed into the patient record.
    records_filed,
    /// Records set aside because they could not be opened or read.
    records_quarantined,
    /// Alerts raised.
    alerts_raised,
    /// Messages about alerts that arrived.
    alert_messages_arrived,
    /// Messages about alerts that cannot arrive.
    alert_messages_lost,
    /// Versions of resources that other servers took.
    versions_pushed,
    /// Versions of resources that other servers would not take.
    versions_push_refused,
    /// Requests answered on the HTTPS listener.
    https_requests,
    /// Files of recordings taken.
    uploads_taken,
    /// Files of recordings refused.
    uploads_refused,
    /// Requests refused for lack of a good token.
    https_unauthorised,
}

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
