//! Boxes that enrol over the network, and those who only say so. Real TLS on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stop the test that they cannot serve"
)]

mod support;

use std::sync::Arc;

use cardio_core::clock::{Clock as _, ManualClock};
use cardio_gateway::clock::SystemClock;
use cardio_wire::enrol::{Answer, Ask, BINDING_LABEL, ClaimCode, EnrolRequest, Grant, Session};
use cardio_wire::keys::SigningKey;
use rcgen::SigningKey as _;
use ring::rand::SystemRandom;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use support::Bench;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A box as it is before anybody knows it.
struct NewBox {
    tls: rcgen::KeyPair,
    frame: SigningKey,
    code: ClaimCode,
    csr: Vec<u8>,
}

impl NewBox {
    fn with(code: &str) -> Self {
        let tls = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::default();
        Self {
            csr: params.serialize_request(&tls).unwrap().der().to_vec(),
            tls,
            frame: SigningKey::generate(&SystemRandom::new()).unwrap().0,
            code: code.parse().unwrap(),
        }
    }

    fn request(&self, session: &Session) -> (Vec<u8>, String) {
        let request = EnrolRequest {
            invitation: self.code.number(),
            csr: self.csr.clone(),
            frame_key: self.frame.verifying_key(),
            agent_version: "0.1.0".to_owned(),
            nonce: [1; 16],
        };
        let sign = |message: &[u8]| self.tls.sign(message).ok();
        let key = self.code.key();
        let (bytes, transcript) = request.prove(session, &key, &self.frame, sign).unwrap();
        (bytes, transcript.words())
    }

    /// Claims; gives the ticket and the words, or the HTTP status.
    async fn claim(&self, bench: &Bench) -> Result<([u8; 16], String), u16> {
        let mut door = Door::open(bench, None).await.unwrap();
        let (bytes, words) = self.request(&door.session);
        let body = door.post("/enrol/1", &bytes).await?;
        match Answer::read(&body).unwrap() {
            Answer::Pending { ticket } => Ok((ticket, words)),
            other => panic!("not pending but {other:?}"),
        }
    }

    async fn ask(&self, bench: &Bench, ticket: [u8; 16]) -> Result<Answer, u16> {
        let mut door = Door::open(bench, None).await.unwrap();
        let bytes = Ask::sign(ticket, &door.session, &self.frame);
        let body = door.post("/enrol/1/ask", &bytes).await?;
        Ok(Answer::read(&body).unwrap())
    }

    fn identity(&self, certificate: &str) -> Identity {
        (certificate.to_owned(), self.tls.serialize_pem())
    }
}

type Identity = (String, String);

/// One TLS session at the entrance.
struct Door {
    stream: TlsStream<TcpStream>,
    session: Session,
}

impl Door {
    async fn open(bench: &Bench, identity: Option<Identity>) -> std::io::Result<Self> {
        let ca = CertificateDer::from_pem_slice(bench.gateway.keys().ca_pem().as_bytes()).unwrap();
        let hash = ring::digest::digest(&ring::digest::SHA256, &ca);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder
                    .with_client_auth_cert(vec![certificate], key)
                    .unwrap()
            }
        };
        let stream = TcpStream::connect(bench.gateway.enrol).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await?;
        let (_, connection) = stream.get_ref();
        let binding = connection.export_keying_material([0; 32], BINDING_LABEL, Some(&[]));
        let session = Session {
            authority: hash.as_ref().try_into().unwrap(),
            binding: binding.unwrap(),
        };
        Ok(Self { stream, session })
    }

    /// The body of the answer, or its status; 0 when there is none.
    async fn post(&mut self, path: &str, body: &[u8]) -> Result<Vec<u8>, u16> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let said = async {
            self.stream.write_all(head.as_bytes()).await?;
            self.stream.write_all(body).await?;
            let mut answer = Vec::new();
            self.stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = said.await.map_err(|_| 0_u16)?;
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .ok_or(0_u16)?;
        let status = std::str::from_utf8(&answer[9..12])
            .unwrap()
            .parse()
            .unwrap();
        match status {
            200 => Ok(answer[end + 4..].to_vec()),
            other => Err(other),
        }
    }
}

async fn invite(bench: &Bench, name: &str) -> String {
    let answer = bench
        .asked(json!({"verb": "boxes-invite", "name": name}))
        .await;
    answer["ok"]["code"]
        .as_str()
        .expect("a claim code")
        .to_owned()
}

async fn visitor(bench: &Bench, name: &str) -> Value {
    let answer = bench.asked(json!({"verb": "boxes-pending"})).await;
    let list = answer["ok"]["invitations"].as_array().unwrap();
    list.iter().find(|one| one["name"] == name).unwrap().clone()
}

async fn confirm(bench: &Bench, name: &str, words: &str) -> Value {
    let request = json!({"verb": "boxes-confirm", "name": name, "words": words});
    bench.asked(request).await
}

fn wrong(code: &str) -> String {
    let flip = if code.ends_with('0') { "1" } else { "0" };
    format!("{}{flip}", &code[..code.len() - 1])
}

async fn granted(bench: &Bench, one: &NewBox) -> Grant {
    let (ticket, words) = one.claim(bench).await.unwrap();
    let name = visitor_with(bench, &words).await;
    assert!(confirm(bench, &name, &words).await["error"].is_null());
    match one.ask(bench, ticket).await.unwrap() {
        Answer::Granted(grant) => *grant,
        other => panic!("not granted but {other:?}"),
    }
}

async fn visitor_with(bench: &Bench, words: &str) -> String {
    let answer = bench.asked(json!({"verb": "boxes-pending"})).await;
    let list = answer["ok"]["invitations"].as_array().unwrap();
    let found = list.iter().find(|one| one["words"] == words);
    found.expect("the same words here")["name"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_is_let_in_by_the_words_that_both_sides_show_and_renews_its_certificate() {
    let bench = Bench::start().await;
    let one = NewBox::with(&invite(&bench, "FR75-012").await);
    let (ticket, words) = one.claim(&bench).await.unwrap();
    let seen = visitor(&bench, "FR75-012").await;
    assert_eq!(
        (&seen["state"], &seen["words"]),
        (&json!("pending"), &json!(words))
    );
    assert_eq!(
        one.ask(&bench, ticket).await,
        Ok(Answer::Pending { ticket })
    );
    let answer = confirm(&bench, "FR75-012", "six other words than those shown").await;
    assert_eq!(answer["error"]["code"], "enrol.words");
    let answer = confirm(&bench, "FR75-012", &words.to_uppercase()).await;
    assert!(answer["error"].is_null(), "{answer}");
    let Ok(Answer::Granted(grant)) = one.ask(&bench, ticket).await else {
        panic!("not granted");
    };
    assert_eq!(grant.name, "FR75-012");
    assert_eq!(grant.endpoint, bench.gateway.mqtt.unwrap().to_string());
    assert_eq!(grant.trusted, bench.gateway.keys().trusted().unwrap());

    let identity = one.identity(&grant.certificate);
    let mut door = Door::open(&bench, Some(identity)).await.unwrap();
    let renewed = door.post("/enrol/1/renew", &one.csr).await.unwrap();
    assert!(renewed.starts_with(b"-----BEGIN CERTIFICATE-----"));
    let other = NewBox::with("0000-0000-0000-0000-0000");
    let mut door = Door::open(&bench, Some(one.identity(&grant.certificate)))
        .await
        .unwrap();
    let for_another_key = door.post("/enrol/1/renew", &other.csr).await;
    assert_eq!(for_another_key, Err(400));
    let mut door = Door::open(&bench, None).await.unwrap();
    assert_eq!(door.post("/enrol/1/renew", &one.csr).await, Err(403));
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_box_renews_nothing() {
    let bench = Bench::start().await;
    let one = NewBox::with(&invite(&bench, "FR75-012").await);
    let grant = granted(&bench, &one).await;
    bench
        .asked(json!({"verb": "boxes-revoke", "name": "FR75-012"}))
        .await;
    let refused = match Door::open(&bench, Some(one.identity(&grant.certificate))).await {
        // TLS 1.3: the client hears of the refusal with its first read
        Ok(mut door) => door.post("/enrol/1/renew", &one.csr).await,
        Err(_) => Err(0),
    };
    assert_eq!(refused, Err(0), "the handshake is refused");
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_wrong_codes_lock_the_invitation_and_only_the_operator_hears_of_it() {
    let bench = Bench::start().await;
    let code = invite(&bench, "FR75-012").await;
    let guesser = NewBox::with(&wrong(&code));
    for _ in 0..5 {
        assert_eq!(guesser.claim(&bench).await, Err(403));
    }
    assert_eq!(visitor(&bench, "FR75-012").await["state"], "locked");
    assert_eq!(
        NewBox::with(&code).claim(&bench).await,
        Err(403),
        "even the right one"
    );
    let unknown = NewBox::with("ZZZZ-0000-0000-0000-0000");
    assert_eq!(
        unknown.claim(&bench).await,
        Err(403),
        "it all looks the same"
    );
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_relayed_into_another_session_is_turned_away() {
    let bench = Bench::start().await;
    let one = NewBox::with(&invite(&bench, "FR75-012").await);
    let here = Door::open(&bench, None).await.unwrap();
    let (overheard, _) = one.request(&here.session);
    let mut elsewhere = Door::open(&bench, None).await.unwrap();
    assert_eq!(elsewhere.post("/enrol/1", &overheard).await, Err(403));
    let seen = visitor(&bench, "FR75-012").await;
    assert_eq!(
        (&seen["state"], &seen["wrong_codes"]),
        (&json!("open"), &json!(1))
    );
    let (ticket, _) = one.claim(&bench).await.unwrap();
    let question = Ask::sign(ticket, &here.session, &one.frame);
    let mut elsewhere = Door::open(&bench, None).await.unwrap();
    assert_eq!(elsewhere.post("/enrol/1/ask", &question).await, Err(403));
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_good_for_one_box_and_a_second_one_is_shown_to_the_operator() {
    let bench = Bench::start().await;
    let code = invite(&bench, "FR75-012").await;
    let (first, thief) = (NewBox::with(&code), NewBox::with(&code));
    let (_, words) = first.claim(&bench).await.unwrap();
    assert_eq!(thief.claim(&bench).await, Err(403));
    let seen = visitor(&bench, "FR75-012").await;
    assert_eq!(
        (&seen["used_again"], &seen["words"]),
        (&json!(1), &json!(words))
    );
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_changed_is_not_confirmed_with_the_words_of_the_one_before() {
    let bench = Bench::start().await;
    let one = NewBox::with(&invite(&bench, "FR75-012").await);
    let (lost, before) = one.claim(&bench).await.unwrap();
    let (ticket, after) = one.claim(&bench).await.unwrap();
    assert_ne!(before, after);
    let answer = confirm(&bench, "FR75-012", &before).await;
    assert_eq!(answer["error"]["code"], "enrol.words");
    assert!(confirm(&bench, "FR75-012", &after).await["error"].is_null());
    assert_eq!(one.ask(&bench, lost).await, Err(403));
    assert!(matches!(
        one.ask(&bench, ticket).await,
        Ok(Answer::Granted(_))
    ));
    assert_eq!(one.claim(&bench).await, Err(403), "decided is decided");
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_not_proved_are_turned_away_and_the_code_is_not_spent() {
    let bench = Bench::start().await;
    let code = invite(&bench, "FR75-012").await;
    let mut forged = NewBox::with(&code);
    let last = forged.csr.len() - 1;
    forged.csr[last] ^= 1;
    assert_eq!(
        forged.claim(&bench).await,
        Err(403),
        "the request's own signature"
    );
    let mut foreign = NewBox::with(&code);
    foreign.csr = NewBox::with(&code).csr;
    assert_eq!(foreign.claim(&bench).await, Err(403), "the key of another");
    assert_eq!(visitor(&bench, "FR75-012").await["state"], "open");
    assert!(NewBox::with(&code).claim(&bench).await.is_ok());
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_and_a_request_have_an_end() {
    let clock = Arc::new(ManualClock::at(SystemClock::new().read()));
    let bench = Bench::start_at(clock.clone()).await;
    let unused = NewBox::with(&invite(&bench, "FR75-012").await);
    let asked = NewBox::with(&invite(&bench, "FR75-013").await);
    let (ticket, words) = asked.claim(&bench).await.unwrap();
    clock.advance_micros(24 * 3_600_000_000 + 1);
    assert_eq!(unused.claim(&bench).await, Err(403));
    assert_eq!(visitor(&bench, "FR75-012").await["state"], "expired");
    assert_eq!(asked.ask(&bench, ticket).await, Ok(Answer::Refused));
    let answer = confirm(&bench, "FR75-013", &words).await;
    assert_eq!(answer["error"]["code"], "enrol.not-pending");
    assert!(
        !invite(&bench, "FR75-012").await.is_empty(),
        "invited again"
    );
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_invited_once_and_a_refused_box_hears_so() {
    let bench = Bench::start().await;
    bench.enrol("FR75-001").await;
    let invited = |name: &'static str| {
        let request = json!({"verb": "boxes-invite", "name": name});
        async { bench.asked(request).await["error"]["code"].clone() }
    };
    assert_eq!(invited("FR75-001").await, "boxes.name.taken");
    assert_eq!(invited("no/name").await, "boxes.name.bad");
    let one = NewBox::with(&invite(&bench, "FR75-012").await);
    assert_eq!(invited("FR75-012").await, "enrol.invited");
    let (ticket, words) = one.claim(&bench).await.unwrap();
    bench
        .asked(json!({"verb": "boxes-refuse", "name": "FR75-012"}))
        .await;
    assert_eq!(one.ask(&bench, ticket).await, Ok(Answer::Refused));
    let answer = confirm(&bench, "FR75-012", &words).await;
    assert_eq!(answer["error"]["code"], "enrol.not-pending");
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_is_turned_away_before_it_is_read() {
    let clock = Arc::new(ManualClock::at(SystemClock::new().read()));
    let bench = Bench::start_at(clock.clone()).await;
    let knock = async || {
        let mut door = Door::open(&bench, None).await.unwrap();
        door.post("/enrol/1", &[0xFF; 10]).await.unwrap_err()
    };
    for _ in 0..30 {
        assert_eq!(knock().await, 400, "read, and no request");
    }
    assert_eq!(knock().await, 429);
    clock.advance_micros(2_000_000);
    assert_eq!(knock().await, 400, "one more every two seconds");
    assert_eq!(knock().await, 429);
    let mut door = Door::open(&bench, None).await.unwrap();
    let huge = door.post("/enrol/1/ask", &vec![0; 100_000]).await;
    assert!(matches!(huge, Err(413 | 0)), "{huge:?}");
    bench.gateway.stop().await;
}
