//! What changes, told as it changes, over real HTTPS.

use super::access::{add, asking, by_hand, cookie, done, log_in, of_team, token};
use super::support::{DEADLINE, until};
use super::*;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const PASSWORD: &str = "a long enough secret";

/// An event: its number, its name, and what it is about.
type Heard = (u64, String, String);

/// A reader that follows.
struct Listener {
    lines: BufReader<TlsStream<TcpStream>>,
    status: u16,
    head: String,
    /// The number that it would resume with.
    mark: u64,
}

impl Listener {
    async fn open(bench: &Bench, path: &str, headers: &[(&str, &str)]) -> Self {
        let pem = std::fs::read(bench.gateway.keys().ca_file()).unwrap();
        let tls = tls(&pem);
        let tcp = TcpStream::connect(bench.gateway.https).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
        let mut stream = connector.connect(name, tcp).await.unwrap();
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut listener = Self {
            lines: BufReader::new(stream),
            status: 0,
            head: String::new(),
            mark: 0,
        };
        loop {
            let line = listener.line().await.expect("an answer");
            if line.is_empty() {
                return listener;
            }
            if listener.status == 0 {
                listener.status = line.split(' ').nth(1).unwrap().parse().unwrap();
            }
            listener.head.push_str(&line.to_lowercase());
            listener.head.push('\n');
        }
    }

    async fn with_token(bench: &Bench, path: &str, token: &str) -> Self {
        let bearer = format!("Bearer {token}");
        let listener = Self::open(bench, path, &[("Authorization", &bearer)]).await;
        assert_eq!(listener.status, 200, "{}", listener.head);
        assert!(listener.head.contains("content-type: text/event-stream"));
        listener
    }

    /// The next line, without the sizes of chunks; none once the stream has ended.
    async fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            let reading = self.lines.read_line(&mut line);
            let read = tokio::time::timeout(DEADLINE, reading)
                .await
                .expect("no line comes");
            if !matches!(read, Ok(1..)) {
                return None;
            }
            let line = line.trim_end_matches(['\r', '\n']);
            let is_chunk = self.status != 0 && self.head.contains("transfer-encoding");
            match is_chunk && !line.is_empty() && line.bytes().all(|b| b.is_ascii_hexdigit()) {
                true if line.bytes().all(|digit| digit == b'0') => return None,
                true => {}
                false => return Some(line.to_owned()),
            }
        }
    }

    /// The next event; none once the stream has ended.
    async fn event(&mut self) -> Option<Heard> {
        let (mut name, mut data) = (String::new(), None);
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                Some(("id", id)) => self.mark = id.parse().unwrap(),
                Some(("event", of)) => of.clone_into(&mut name),
                Some(("data", text)) => data = Some(serde_json::from_str::<Value>(text).unwrap()),
                _ => {}
            }
            if let (true, Some(data)) = (line.is_empty(), &data) {
                assert_eq!(data.as_object().unwrap().len(), 2, "{data}");
                let text = format!(
                    "{}/{}",
                    data["reference"].as_str().unwrap(),
                    data["version"].as_u64().unwrap()
                );
                return Some((self.mark, name, text));
            }
        }
    }

    /// Events until one is about this.
    async fn until(&mut self, about: &str) -> Vec<Heard> {
        let hearing = async {
            let mut heard = Vec::new();
            loop {
                let event = self.event().await.expect("the stream goes on");
                let is_last = event.2 == about;
                heard.push(event);
                if is_last {
                    return heard;
                }
            }
        };
        let heard = tokio::time::timeout(DEADLINE, hearing).await;
        heard.unwrap_or_else(|_| panic!("heard nothing of {about}"))
    }

    /// Waits until it would resume behind a number.
    async fn moves_behind(&mut self, mark: u64) {
        let moving = async {
            while self.mark <= mark {
                self.is_alive().await;
            }
        };
        tokio::time::timeout(DEADLINE, moving)
            .await
            .expect("the mark moves");
    }

    /// Waits until the stream says that it is alive.
    async fn is_alive(&mut self) {
        while self.line().await.expect("the stream goes on") != ": alive" {}
        let mark = self.line().await.expect("the stream goes on");
        self.mark = mark.strip_prefix("id: ").unwrap().parse().unwrap();
    }

    async fn has_ended(&mut self) -> bool {
        let ending = async { while self.line().await.is_some() {} };
        tokio::time::timeout(DEADLINE, ending).await.is_ok()
    }
}

fn tls(ca: &[u8]) -> rustls::ClientConfig {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let ca = rustls::pki_types::CertificateDer::from_pem_slice(ca).unwrap();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Writes a patient, or once more and otherwise.
async fn put(fhir: &Fhir, id: &str, team: &str, is_new: bool) {
    let path = format!("/fhir/Patient/{id}");
    let mut one = of_team(id, team);
    one["active"] = json!(is_new);
    let told = fhir.write("PUT", &path, &[], &one).await;
    assert_eq!(told.status, if is_new { 201 } else { 200 }, "{}", told.body);
}

fn about(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(|(_, _, about)| about.as_str()).collect()
}

/// A configuration whose streams say often that they are alive.
async fn lively(clock: Option<Arc<cardio_core::clock::ManualClock>>) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let more = "[events]\nstreams = 2\nheartbeat = \"300ms\"\n";
    let clock: Arc<dyn cardio_core::clock::Clock> = match clock {
        Some(clock) => clock,
        None => Arc::new(cardio_gateway::clock::SystemClock::new()),
    };
    Bench::start_in(dir, more.to_owned(), clock).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_screen_hears_what_changes_in_its_teams_and_resumes_where_it_was() {
    let bench = lively(None).await;
    let fhir = bench.fhir();
    put(&fhir, "before", "team-a", true).await;
    let nurse = asking(&bench, "nurse", "nurse", &["Organization/team-a"]).await;
    let mut screen = Listener::with_token(&bench, "/events", nurse.token()).await;
    screen.is_alive().await;
    put(&fhir, "pa", "team-a", true).await;
    put(&fhir, "pb", "team-b", true).await;
    put(&fhir, "pa", "team-a", false).await;
    created(&fhir, &request("Patient/pb", "1")).await;
    put(&fhir, "pc", "team-a", true).await;
    let heard = screen.until("Patient/pc/1").await;
    assert_eq!(
        about(&heard),
        ["Patient/pa/1", "Patient/pa/2", "Patient/pc/1"]
    );
    assert!(heard.iter().all(|(_, name, _)| name == "change"));

    // What it hears later is what was committed since, over a restart, each once and in order.
    let mark = heard[1].0.to_string();
    drop(screen);
    put(&fhir, "pd", "team-a", true).await;
    let bench = bench.restart().await;
    let fhir = bench.fhir();
    put(&fhir, "pe", "team-a", true).await;
    let bearer = format!("Bearer {}", nurse.token());
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Last-Event-ID", mark.as_str()),
    ];
    let mut screen = Listener::open(&bench, "/events?_after=0", &headers).await;
    let heard = screen.until("Patient/pe/1").await;
    assert_eq!(
        about(&heard),
        ["Patient/pc/1", "Patient/pd/1", "Patient/pe/1"]
    );

    // The mark moves over what it may not see.
    put(&fhir, "pb", "team-b", false).await;
    let was = screen.mark;
    screen.moves_behind(was).await;

    // From the beginning, as a follower of the history would.
    let mut all = Listener::with_token(&bench, "/events?_after=0", fhir.token().trim()).await;
    let heard = all.until("Patient/pe/1").await;
    let numbers: Vec<u64> = heard.iter().map(|(seq, ..)| *seq).collect();
    let last = *numbers.last().unwrap();
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>());

    // Whom a stream told of is written down.
    let events = fhir.all("/fhir/AuditEvent?altid=nurse&_count=100").await;
    let text = serde_json::to_string(&events).unwrap();
    for id in ["pa", "pc", "pd", "pe"] {
        assert!(text.contains(&format!("\"Patient/{id}\"")), "{id}: {text}");
    }
    assert!(!text.contains("Patient/pb"));

    for (path, mark, status) in [
        ("/events", "99999999", 410),
        ("/events", "x", 400),
        ("/events?_after=99999999", "", 410),
        ("/events?x=1", "", 400),
    ] {
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend((!mark.is_empty()).then_some(("Last-Event-ID", mark)));
        assert_eq!(
            Listener::open(&bench, path, &headers).await.status,
            status,
            "{path} {mark}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_right_to_read() {
    let clock = by_hand();
    let bench = lively(Some(clock.clone())).await;
    let fhir = bench.fhir();
    let team = ["Organization/team-a"];
    for name in ["n", "m"] {
        add(&bench, name, "nurse", &team, Some(PASSWORD)).await;
    }
    let page = fhir.with_token("");
    let held = cookie(&log_in(&page, "n", PASSWORD).await);
    let open = async |held: &str| {
        let listener = Listener::open(&bench, "/events", &[("Cookie", held)]).await;
        assert_eq!(listener.status, 200, "{}", listener.head);
        listener
    };

    // Who logs out, who asks nothing for long, whose account is shut, whose token is revoked.
    let mut screen = open(&held).await;
    screen.is_alive().await;
    let own = format!("https://localhost:{}", bench.gateway.https.port());
    let headers = [("Cookie", held.as_str()), ("Origin", own.as_str())];
    assert_eq!(
        page.send("DELETE", "/session", &headers, "").await.status,
        200
    );
    assert!(screen.has_ended().await);

    let held = cookie(&log_in(&page, "n", PASSWORD).await);
    let mut screen = open(&held).await;
    clock.advance_micros(29 * 60 * 1_000_000);
    screen.is_alive().await;
    clock.advance_micros(2 * 60 * 1_000_000);
    assert!(
        screen.has_ended().await,
        "a stream does not keep a session going"
    );

    let held = cookie(&log_in(&page, "n", PASSWORD).await);
    let mut screen = open(&held).await;
    screen.is_alive().await;
    done(&bench, json!({"verb": "accounts-disable", "name": "n"})).await;
    assert!(screen.has_ended().await);

    let of_m = token(&bench, "m", None).await;
    let mut program = Listener::with_token(&bench, "/events", &of_m).await;
    put(&fhir, "pa", "team-a", true).await;
    assert_eq!(
        about(&program.until("Patient/pa/1").await),
        ["Patient/pa/1"]
    );
    let revoke = json!({"verb": "accounts-revoke", "name": "m", "label": "test"});
    done(&bench, revoke).await;
    assert!(program.has_ended().await);
    put(&fhir, "pb", "team-a", true).await;

    // Who may not read the record hears nothing of it, and nobody unknown does.
    let admin = asking(&bench, "boss", "admin", &[]).await;
    let bearer = format!("Bearer {}", admin.token());
    let told = Listener::open(&bench, "/events", &[("Authorization", &bearer)]).await;
    assert_eq!(told.status, 403);
    let told = Listener::open(&bench, "/events", &[("Authorization", "Bearer x")]).await;
    assert_eq!(told.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_a_few_streams_and_a_stop_ends_them() {
    let bench = lively(None).await;
    let nurse = asking(&bench, "n", "nurse", &["Organization/team-a"]).await;
    let bearer = format!("Bearer {}", nurse.token());
    let headers = [("Authorization", bearer.as_str())];
    let mut one = Listener::with_token(&bench, "/events", nurse.token()).await;
    let two = Listener::with_token(&bench, "/events", nurse.token()).await;
    let third = Listener::open(&bench, "/events", &headers).await;
    assert_eq!(third.status, 429, "{}", third.head);
    assert!(third.head.contains("retry-after"));
    let other = asking(&bench, "m", "nurse", &["Organization/team-a"]).await;
    drop(Listener::with_token(&bench, "/events", other.token()).await);
    drop(two);
    until("a place to be free again", || async {
        let again = Listener::open(&bench, "/events", &headers).await;
        (again.status == 200).then_some(())
    })
    .await;
    one.is_alive().await;
    let stopped = tokio::spawn(bench.restart());
    assert!(one.has_ended().await);
    drop(stopped.await.unwrap());
}
