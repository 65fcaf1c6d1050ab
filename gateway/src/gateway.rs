//! The program as a whole: opens what it stores, listens, and stops in order.

mod error;
mod given;

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cardio_core::clock::{Clock, UtcMicros};
use cardio_fhir::audit::Deed;
use rumqttc::mqttbytes::v5::DisconnectReasonCode;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::access::Access;
use crate::access::audit::Event;
use crate::access::limit::Buckets;
use crate::access::openid::OpenId;
use crate::alerting::courier::Courier;
use crate::boxes::Boxes;
use crate::broker::{self, Broker};
use crate::config::{Config, ConfigError};
use crate::control::{self, Control};
use crate::conversation::Shared;
use crate::counters::Counters;
use crate::db::{DbError, Place, Readers, Schema, Writer};
use crate::enrol::desk::{Desk, DeskParts};
use crate::enrol::http::Entrance;
use crate::enrol::{self, Meeting};
use crate::filing::Filer;
use crate::follow::follow;
use crate::http::{self, Web};
use crate::identity::Identities;
use crate::inbox::Inbox;
use crate::keys::GatewayKeys;
use crate::mqtt;
use crate::push::Push;
use crate::record;
use crate::tls;
use crate::upload::Uploads;
use crate::worklist::Worklists;

pub use error::RunError;
use given::duty;
pub use given::{roster, rules, rules_of};

/// Work of the record's writer that may wait.
const RECORD_QUEUE: usize = 256;
/// How long sessions may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The state directory, held by one program at a time.
#[derive(Debug)]
pub struct StateLock {
    _file: std::fs::File,
}

impl StateLock {
    /// Creates the directory if need be and holds it.
    ///
    /// # Errors
    /// [`RunError::InUse`] when another program holds it.
    pub fn take(state: &Path) -> Result<Self, RunError> {
        let failed = |source| RunError::State {
            path: state.to_owned(),
            source,
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state)
            .map_err(failed)?;
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(state.join("lock"))
            .map_err(failed)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(RunError::InUse {
                path: state.to_owned(),
            }),
            Err(errno) => Err(failed(errno.into())),
        }
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Where boxes connect, unless all come through a broker.
    pub mqtt: Option<SocketAddr>,
    /// Where readers connect.
    pub https: SocketAddr,
    /// Where boxes enrol and renew their certificates.
    pub enrol: SocketAddr,
    /// What the command line talks to.
    pub control: PathBuf,
    keys: Arc<GatewayKeys>,
    access: Access,
    boxes: Arc<Boxes>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    _lock: StateLock,
}

impl Gateway {
    /// Opens everything and listens. Runs until [`Gateway::stop`].
    ///
    /// # Errors
    /// [`RunError`] names what cannot be used.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, RunError> {
        let lock = StateLock::take(&config.state)?;
        if config.state.join(crate::restore::UNFINISHED).exists() {
            return Err(RunError::HalfRestored { path: config.state });
        }
        let now = clock.read().utc;
        let keys = Arc::new(
            GatewayKeys::open_or_create(&config.key_folder(), config.enrol.certificate.0, now)
                .map_err(RunError::Keys)?,
        );
        let rules = rules(&config)?;
        let duty = duty(&config, &clock)?;
        let counters = Arc::new(Counters::default());
        let opening = config.clone();
        let stores = tokio::task::spawn_blocking(move || Stores::open(&opening, now)).await;
        let stores = stores.map_err(|_| RunError::Store {
            what: "inbox",
            source: DbError::Closed,
        })??;
        let boxes = Arc::new(Boxes::new(stores.admitted));

        let server = keys
            .issue_server(&config.names, now)
            .map_err(RunError::Keys)?;
        let for_boxes = tls::for_boxes(&server, keys.ca_pem(), Arc::clone(&boxes));
        let for_boxes = for_boxes.map_err(RunError::Tls)?;
        let for_readers = tls::for_readers(&server).map_err(RunError::Tls)?;
        let broker = config
            .broker
            .clone()
            .map(|broker| Broker::new(broker, &keys, now))
            .transpose()
            .map_err(RunError::Broker)?;
        let for_enrolment = tls::for_enrolment(&server, keys.ca_pem(), Arc::clone(&boxes));
        let for_enrolment = for_enrolment.map_err(RunError::Tls)?;
        let boxes_at = match config.mqtt.listen.address() {
            Some(address) => Some(bind(address, "boxes").await?),
            None => None,
        };
        let mqtt = boxes_at.as_ref().map(|(_, address)| *address);
        let (https_listener, https) = bind(config.https.listen, "readers").await?;
        let (enrol_listener, enrol) = bind(config.enrol.listen, "enrolment").await?;
        let meeting = Meeting::of(&config, &keys, mqtt, enrol).map_err(RunError::Broker)?;
        let control_path = config.control_socket();
        let control_listener = control::bind(&control_path)?;

        let (stop, stopped) = watch::channel(false);
        let shared = Shared {
            inbox: stores.inbox.clone(),
            boxes: Arc::clone(&boxes),
            keys: Arc::clone(&keys),
            clock: Arc::clone(&clock),
            counters: Arc::clone(&counters),
            config: config.mqtt.clone(),
        };
        let uploads = Uploads::new(
            stores.record.clone(),
            stores.readers.clone(),
            Arc::clone(&clock),
        );
        let identities = Identities {
            writer: stores.record.clone(),
            inbox: stores.inbox.clone(),
            clock: Arc::clone(&clock),
        };
        let access = open_access(&config, &keys, &clock).await?;
        let openid = config.access.openid.as_ref();
        let openid = openid.map(|openid| OpenId::new(openid, access.clone()));
        let openid = openid.transpose().map_err(RunError::OpenId)?;
        let web = Web {
            openid,
            events: config.events.clone(),
            streams: http::Places::new(config.events.streams, config.https.connections),
            stopped: stopped.clone(),
            uploads: uploads.clone(),
            upload_places: Arc::new(Semaphore::new(config.https.uploads)),
            readers: stores.readers.clone(),
            writer: stores.record.clone(),
            recipient: config.alerts.recipient.as_str().into(),
            identities: identities.clone(),
            inbox: stores.inbox.clone(),
            access: access.clone(),
            config: config.https.clone(),
            mssante: config.mssante.clone().map(Arc::new),
            clock: Arc::clone(&clock),
            counters: Arc::clone(&counters),
            authority: https.to_string().into(),
        };
        let filer = Filer {
            inbox: stores.inbox.clone(),
            record: stores.record.clone(),
            readers: stores.readers.clone(),
            keys: Arc::clone(&keys),
            clock: Arc::clone(&clock),
            counters: Arc::clone(&counters),
            rules,
            recipient: config.alerts.recipient.as_str().into(),
            boxes: Arc::clone(&boxes),
            started: now,
            keep_frames: config.retention.frames.map(|span| span.0),
        };
        let courier = duty.map(|duty| Courier {
            duty,
            record: stores.record.clone(),
            readers: stores.readers.clone(),
            clock: Arc::clone(&clock),
            counters: Arc::clone(&counters),
            recipient: Arc::clone(&filer.recipient),
        });
        let stores_of_record = (&stores.record, &stores.readers);
        let pushes = Push::all(&config.push, stores_of_record, &clock, &counters);
        let pushes = pushes.map_err(RunError::Push)?;
        let desk = open_desk(
            &config,
            DeskParts {
                inbox: stores.inbox.clone(),
                boxes: Arc::clone(&boxes),
                keys: Arc::clone(&keys),
                clock: Arc::clone(&clock),
                meeting: meeting.clone(),
            },
        )
        .await?;
        let entrance = Entrance {
            desk: desk.clone(),
            boxes: Arc::clone(&boxes),
            keys: Arc::clone(&keys),
            clock: Arc::clone(&clock),
            counters: Arc::clone(&counters),
            authority: tls::authority_hash(keys.ca_pem()).map_err(RunError::Tls)?,
            config: config.enrol.clone(),
            claims: Arc::new(Buckets::per_minute(config.enrol.requests_per_min)),
        };
        let following = stores
            .inbox
            .readers()
            .place()
            .is_shared()
            .then(|| follow(stores.inbox.clone(), Arc::clone(&boxes), stopped.clone()));
        let worklists = Worklists {
            inbox: stores.inbox.clone(),
            readers: stores.readers.clone(),
            boxes: Arc::clone(&boxes),
            clock: Arc::clone(&clock),
        };
        let control = Control {
            desk,
            inbox: stores.inbox,
            readers: stores.readers,
            record: stores.record,
            recipient: Arc::clone(&filer.recipient),
            identities,
            access: access.clone(),
            boxes: Arc::clone(&boxes),
            keys: Arc::clone(&keys),
            clock: Arc::clone(&clock),
            counters,
            mqtt,
            https,
            enrol,
            meets_at: broker.as_ref().map(Broker::standing),
            pushed: config.push.iter().map(|one| one.name.clone()).collect(),
            started: clock.read(),
            state: config.state.clone(),
        };
        let from_broker =
            broker.map(|broker| broker::receive(broker, shared.clone(), stopped.clone()));
        let from_boxes = boxes_at
            .map(|(listener, _)| mqtt::listen(listener, for_boxes, shared, stopped.clone()));
        let mut tasks = vec![
            tokio::spawn(http::listen(
                https_listener,
                for_readers,
                web,
                stopped.clone(),
            )),
            tokio::spawn(enrol::http::listen(
                enrol_listener,
                for_enrolment,
                entrance,
                stopped.clone(),
            )),
            tokio::spawn(filer.run(stopped.clone())),
            tokio::spawn(uploads.run(stopped.clone())),
            tokio::spawn(worklists.run(stopped.clone())),
            tokio::spawn(control::listen(control_listener, control, stopped.clone())),
        ];
        for (of, push) in pushes {
            tasks.push(tokio::spawn(push.run(of, stopped.clone())));
        }
        tasks.extend(courier.map(|courier| tokio::spawn(courier.run(stopped))));
        tasks.extend(from_boxes.map(tokio::spawn));
        tasks.extend(from_broker.map(tokio::spawn));
        tasks.extend(following.map(tokio::spawn));
        tracing::info!(event = "GatewayStarted", mqtt = ?mqtt, https = %https);
        Ok(Self {
            mqtt,
            https,
            enrol,
            control: control_path,
            keys,
            access,
            boxes,
            stop,
            tasks,
            _lock: lock,
        })
    }

    /// The keys, for those who start this program within their own.
    pub fn keys(&self) -> &GatewayKeys {
        &self.keys
    }

    /// Says in a file where this gateway listens; the file appears whole or not at all.
    ///
    /// # Errors
    /// [`RunError::Ready`] when it cannot be written.
    pub fn write_ready(&self, path: &Path) -> Result<(), RunError> {
        let failed = |source| RunError::Ready {
            path: path.to_owned(),
            source,
        };
        let text = json!({
            "schema": "ready/1",
            "mqtt": self.mqtt.map(|at| at.to_string()),
            "https": self.https.to_string(),
            "enrol": self.enrol.to_string(),
            "control": self.control.display().to_string(),
            "api_token_file": self.keys.api_token_file().display().to_string(),
            "ca_file": self.keys.ca_file().display().to_string(),
        });
        let draft = path.with_extension("part");
        let mut file = std::fs::File::create(&draft).map_err(failed)?;
        writeln!(file, "{text}").map_err(failed)?;
        std::fs::rename(&draft, path).map_err(failed)
    }

    /// Ends every session and answers when all is closed.
    pub async fn stop(self) {
        self.boxes.end_all(DisconnectReasonCode::ServerShuttingDown);
        self.stop.send_replace(true);
        for task in self.tasks {
            if tokio::time::timeout(STOP_LIMIT, task).await.is_err() {
                tracing::warn!(event = "GatewayStopTimedOut", code = "stop.timeout");
            }
        }
        if let Err(error) = self.access.trace(Event::of_program(Deed::Stop)).await {
            tracing::warn!(event = "StopNotTraced", code = error.code(), "{error}");
        }
        // The socket's file is of no use to anybody now; the next start replaces it anyway.
        let _ = std::fs::remove_file(&self.control);
        tracing::info!(event = "GatewayStopped");
    }
}

async fn open_desk(config: &Config, parts: DeskParts) -> Result<Desk, RunError> {
    let place = config.desk_place().map_err(RunError::Config)?;
    let limits = config.enrol.clone();
    let opening = tokio::task::spawn_blocking(move || Desk::open(&place, &limits, parts)).await;
    let failed = |source| RunError::Store {
        what: "desk of invitations",
        source,
    };
    opening.unwrap_or(Err(DbError::Closed)).map_err(failed)
}

async fn open_access(
    config: &Config,
    keys: &Arc<GatewayKeys>,
    clock: &Arc<dyn Clock>,
) -> Result<Access, RunError> {
    let place = config.access_place().map_err(RunError::Config)?;
    let server = config.names.first().cloned().unwrap_or_default();
    let (settings, keys, clock) = (config.access.clone(), Arc::clone(keys), Arc::clone(clock));
    let opening = tokio::task::spawn_blocking(move || {
        Access::open(&place, &settings, (keys, &server), clock)
    });
    let failed = |source| RunError::Store {
        what: "store of accounts",
        source,
    };
    let access = opening.await.unwrap_or(Err(DbError::Closed));
    let access = access.map_err(failed)?;
    // Boxes are received on a full disk too; whoever asks for the record is refused there.
    if let Err(error) = access.trace(Event::of_program(Deed::Start)).await {
        tracing::warn!(event = "StartNotTraced", code = error.code(), "{error}");
    }
    Ok(access)
}

struct Stores {
    inbox: Inbox,
    record: Writer,
    readers: Readers,
    admitted: Vec<crate::boxes::KnownBox>,
}

impl Stores {
    fn open(config: &Config, now: UtcMicros) -> Result<Self, RunError> {
        let failed = |what| move |source| RunError::Store { what, source };
        let place = |found: Result<Place, ConfigError>| found.map_err(RunError::Config);
        let (inbox_place, record_place) =
            (place(config.inbox_place())?, place(config.record_place())?);
        let inbox = Inbox::open(&inbox_place, config.mqtt.queue, now).map_err(failed("inbox"))?;
        let schema = Schema {
            place: record_place.clone(),
            part: "record",
            steps: record::STEPS,
        };
        let record = Writer::start(schema, RECORD_QUEUE).map_err(failed("record"))?;
        let admitted = inbox
            .boxes()
            .map_err(failed("inbox"))?
            .into_iter()
            .filter(|row| row.revoked.is_none())
            .map(|row| row.known)
            .collect();
        Ok(Self {
            inbox,
            readers: record.readers().clone(),
            record,
            admitted,
        })
    }
}

async fn bind(
    address: SocketAddr,
    what: &'static str,
) -> Result<(TcpListener, SocketAddr), RunError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AddrInUse => RunError::PortTaken { what, address },
        _ => RunError::Listen {
            what,
            address: address.to_string(),
            source,
        },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
