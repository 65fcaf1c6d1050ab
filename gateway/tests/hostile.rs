//! What a gateway must refuse, and that it stays well while it does.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests stop the test that they cannot serve"
)]

mod support;
#[path = "support/visit.rs"]
#[allow(dead_code, reason = "other test files use the rest")]
mod visit;

use cardio_wire::lane::Lane;
use cardio_wire::topic::Topic;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, Packet, PubAckReason, Publish, SubscribeFilter,
    SubscribeReasonCode,
};
use serde_json::{Value, json};
use support::{Bench, Client, connect, until};
use visit::{RATE, Visit};

async fn counter(bench: &Bench, name: &str) -> u64 {
    bench.asked(json!({"verb": "status"})).await["ok"]["counters"][name]
        .as_u64()
        .unwrap()
}

/// Reads until the gateway closes; gives the reason if it said one.
async fn closed(client: &mut Client) -> Option<DisconnectReasonCode> {
    let mut reason = None;
    while let Some(packet) = client.next().await {
        if let Packet::Disconnect(disconnect) = packet {
            reason = Some(disconnect.reason_code);
        }
    }
    reason
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_may_not_publish_or_listen_where_another_box_does() {
    let bench = Bench::start().await;
    let mut of = bench.enrol("own").await;
    let other = bench.enrol("other").await;
    let mut client = Client::connect(&bench, &of).await;
    let answers = client
        .subscribe(SubscribeFilter::new(
            Topic::DownAck(other.id).to_string(),
            QoS::AtLeastOnce,
        ))
        .await;
    assert_eq!(answers, [SubscribeReasonCode::NotAuthorized]);
    let answers = client
        .subscribe(SubscribeFilter::new("#", QoS::AtLeastOnce))
        .await;
    assert_eq!(answers, [SubscribeReasonCode::NotAuthorized]);

    let frame = of.frame(Lane::Log, &Visit::new().started(None));
    client.publish_frame(&other, Lane::Log, frame).await;
    assert_eq!(
        closed(&mut client).await,
        Some(DisconnectReasonCode::NotAuthorized)
    );
    assert_eq!(counter(&bench, "topics_foreign").await, 3);
    assert_eq!(counter(&bench, "frames_stored").await, 0);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_another_key_signed_is_refused_and_never_acknowledged() {
    let bench = Bench::start().await;
    let mut of = bench.enrol("own").await;
    let mut other = bench.enrol("other").await;
    other.id = of.id;
    let mut client = Client::connect(&bench, &of).await;
    let forged = other.frame(Lane::Alert, &Visit::new().started(None));
    let packet = client.publish_frame(&of, Lane::Alert, forged).await;
    assert_eq!(
        client.puback(packet).await.reason,
        PubAckReason::PayloadFormatInvalid
    );
    // A frame of the box itself, but published on another lane than it names.
    let frame = of.frame(Lane::Log, &Visit::new().started(None));
    let packet = client.publish_frame(&of, Lane::Alert, frame.clone()).await;
    assert_eq!(
        client.puback(packet).await.reason,
        PubAckReason::NotAuthorized
    );
    let packet = client.publish_frame(&of, Lane::Log, frame).await;
    assert_eq!(client.puback(packet).await.reason, PubAckReason::Success);
    assert_eq!(counter(&bench, "frames_refused").await, 2);
    assert_eq!(counter(&bench, "frames_stored").await, 1);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_identity_with_another_content_is_kept_beside_and_not_acknowledged() {
    let bench = Bench::start().await;
    let of = bench.enrol("own").await;
    let mut client = Client::connect(&bench, &of).await;
    let mut visit = Visit::new();
    let one = of.frame_at(Lane::Routine, 1, [0; 32], &visit.started(None));
    let two = of.frame_at(Lane::Routine, 1, [0; 32], &visit.segment(0, RATE));
    let packet = client.publish_frame(&of, Lane::Routine, one).await;
    assert_eq!(client.puback(packet).await.reason, PubAckReason::Success);
    let packet = client.publish_frame(&of, Lane::Routine, two).await;
    assert_eq!(
        client.puback(packet).await.reason,
        PubAckReason::ImplementationSpecificError
    );
    let status = bench.asked(json!({"verb": "status"})).await;
    assert_eq!(status["ok"]["inbox"]["conflicts"], 1);
    assert_eq!(status["ok"]["verdict"], "DEGRADED");
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_box_loses_its_connection_and_gets_no_other() {
    let bench = Bench::start().await;
    let of = bench.enrol("FR75-012").await;
    let mut client = Client::connect(&bench, &of).await;
    let answer = bench
        .asked(json!({"verb": "boxes-revoke", "name": "FR75-012"}))
        .await;
    assert_eq!(answer["ok"]["name"], "FR75-012");
    assert_eq!(
        closed(&mut client).await,
        Some(DisconnectReasonCode::NotAuthorized)
    );
    // With TLS 1.3 the client may finish its side before it hears the refusal.
    if let Ok(mut client) = Client::tls(&bench, &of).await {
        client.send(&connect(30)).await;
        assert!(client.next().await.is_none());
    }
    until("the refusal to be counted", || async {
        (counter(&bench, "tls_handshakes_failed").await >= 1).then_some(())
    })
    .await;
    let bench = bench.restart().await;
    if let Ok(mut client) = Client::tls(&bench, &of).await {
        client.send(&connect(30)).await;
        assert!(client.next().await.is_none(), "revoked for ever");
    }
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_authority_is_refused() {
    let (bench, foreign) = (Bench::start().await, Bench::start().await);
    let mut of = foreign.enrol("foreign").await;
    let own = bench.enrol("own").await;
    // Trusts this gateway, but was certified by the other one.
    of.tls = {
        let mut roots = rustls::RootCertStore::empty();
        use rustls::pki_types::pem::PemObject as _;
        let ca = std::fs::read(bench.gateway.keys().ca_file()).unwrap();
        roots
            .add(rustls::pki_types::CertificateDer::from_pem_slice(&ca).unwrap())
            .unwrap();
        let resolver = std::sync::Arc::clone(&of.tls.client_auth_cert_resolver);
        let mut config = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
        config.client_auth_cert_resolver = resolver;
        std::sync::Arc::new(config)
    };
    if let Ok(mut client) = Client::tls(&bench, &of).await {
        client.send(&connect(30)).await;
        assert!(client.next().await.is_none());
    }
    let still = Client::connect(&bench, &own).await;
    drop(still);
    bench.gateway.stop().await;
    foreign.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_and_oversized_packets_close_that_connection_with_a_reason() {
    let bench = Bench::start().await;
    let of = bench.enrol("own").await;
    let cases: [(&[u8], DisconnectReasonCode); 4] = [
        (&[0x00, 0x00], DisconnectReasonCode::MalformedPacket),
        (
            &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],
            DisconnectReasonCode::PacketTooLarge,
        ),
        (
            &[0x3C, 0x03, 0x00, 0x01, b'a'],
            DisconnectReasonCode::MalformedPacket,
        ),
        (
            &[0x20, 0x03, 0x00, 0x00, 0x00],
            DisconnectReasonCode::ProtocolError,
        ),
    ];
    for (bytes, reason) in cases {
        let mut client = Client::connect(&bench, &of).await;
        client.send_bytes(bytes).await;
        let got = closed(&mut client).await.expect("a reason");
        assert!(
            got == reason || got == DisconnectReasonCode::MalformedPacket,
            "{bytes:02x?} gave {got:?}"
        );
    }
    let mut client = Client::tls(&bench, &of).await.unwrap();
    client.send(&Packet::PingReq).await;
    match client.next().await {
        Some(Packet::ConnAck(ack)) => assert_eq!(ack.code, ConnectReturnCode::ProtocolError),
        other => panic!("{other:?}"),
    }
    assert_eq!(counter(&bench, "packets_refused").await, 5);
    // And all is well for the next one.
    Client::connect(&bench, &of).await;
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_connection_of_the_same_box_takes_over() {
    let bench = Bench::start().await;
    let of = bench.enrol("own").await;
    let mut older = Client::connect(&bench, &of).await;
    let mut newer = Client::connect(&bench, &of).await;
    assert_eq!(
        closed(&mut older).await,
        Some(DisconnectReasonCode::SessionTakenOver)
    );
    newer.send(&Packet::PingReq).await;
    assert!(matches!(newer.next().await, Some(Packet::PingResp)));
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    let bench = Bench::start().await;
    let of = bench.enrol("own").await;
    let mut client = Client::tls(&bench, &of).await.unwrap();
    client.send(&connect(1)).await;
    assert!(matches!(client.next().await, Some(Packet::ConnAck(_))));
    assert_eq!(
        closed(&mut client).await,
        Some(DisconnectReasonCode::KeepAliveTimeout)
    );
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quality_of_service_two_is_refused() {
    let bench = Bench::start().await;
    let of = bench.enrol("own").await;
    let mut client = Client::connect(&bench, &of).await;
    let mut publish = Publish::new(
        Topic::State(of.id).to_string(),
        QoS::ExactlyOnce,
        "online",
        None,
    );
    publish.pkid = 1;
    client.send(&Packet::Publish(publish)).await;
    assert_eq!(
        closed(&mut client).await,
        Some(DisconnectReasonCode::QoSNotSupported)
    );
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_cannot_be_opened_is_stored_and_set_aside_in_sight() {
    let bench = Bench::start().await;
    let mut of = bench.enrol("own").await;
    let mut client = Client::connect(&bench, &of).await;
    let real = of.recipient;
    of.recipient = cardio_wire::keys::RecipientPublicKey([9; 32]);
    let sealed_to_nobody = of.frame(Lane::Log, &Visit::new().started(None));
    let packet = client.publish_frame(&of, Lane::Log, sealed_to_nobody).await;
    assert_eq!(client.puback(packet).await.reason, PubAckReason::Success);
    of.recipient = real;
    let next = of.frame(Lane::Log, &Visit::new().started(None));
    let packet = client.publish_frame(&of, Lane::Log, next).await;
    assert_eq!(client.puback(packet).await.reason, PubAckReason::Success);
    let status = until("both frames to be looked at", || async {
        let status = bench.asked(json!({"verb": "status"})).await["ok"].clone();
        (status["record"]["quarantined"] == 1 && status["record"]["records"] == 1).then_some(status)
    })
    .await;
    assert_eq!(status["quarantine"][0]["code"], "frame.recipient");
    assert_eq!(status["verdict"], "DEGRADED");
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_without_a_token_or_with_odd_wishes_get_an_operation_outcome() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let outcome = |body: &Value| body["resourceType"] == "OperationOutcome";
    let (status, body) = fhir.get_with("/fhir/metadata", "*/*", false).await;
    assert_eq!((status, outcome(&body)), (401, true));
    let cases = [
        ("/fhir/Patient/none", "application/fhir+json", 404),
        ("/fhir/Spaceship", "application/fhir+json", 404),
        ("/fhir/Observation", "application/fhir+xml", 406),
        ("/fhir/Observation?pateint=p1", "*/*", 400),
        ("/fhir/Observation?date=yesterday", "*/*", 400),
        ("/fhir/Observation?_count=-3", "*/*", 400),
        ("/fhir/Observation?_sort=colour", "*/*", 400),
        ("/fhir/Observation/a/b/c/d", "*/*", 404),
        ("/fhir/Patient/x/_history/one", "*/*", 404),
        ("/fhir/Observation?patient=%27%20OR%201=1", "*/*", 200),
    ];
    for (path, accept, wanted) in cases {
        let (status, body) = fhir.get_with(path, accept, true).await;
        assert_eq!(status, wanted, "{path}: {body}");
        assert_eq!(outcome(&body), wanted != 200, "{path}: {body}");
    }
    let (status, body) = fhir.put("/fhir/Patient/p1", "text/plain", &json!({})).await;
    assert_eq!((status, outcome(&body)), (415, true));
    let (status, body) = fhir
        .put("/fhir/Device/d1", "application/fhir+json", &json!({}))
        .await;
    assert_eq!((status, outcome(&body)), (405, true));
    assert!(fhir.refuses_body_of("/fhir/Patient/p1", 3 << 20).await);
    let (status, body) = fhir.get("/fhir/metadata").await;
    assert_eq!((status, &body["fhirVersion"]), (200, &json!("4.0.1")));
    let (status, body) = fhir.get_with("/health", "*/*", false).await;
    assert_eq!((status, &body["status"]), (200, &json!("ok")));
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patient_has_versions_and_a_history_and_refuses_a_stale_update() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let mut patient = json!({"resourceType": "Patient", "id": "p1", "gender": "female"});
    let address = "/fhir/Patient/p1";
    let kind = "application/fhir+json";
    assert_eq!(fhir.put(address, kind, &patient).await.0, 201);
    assert_eq!(
        fhir.put(address, kind, &patient).await.1["meta"]["versionId"],
        "1"
    );
    patient["gender"] = json!("unknown");
    assert_eq!(
        fhir.put(address, kind, &patient).await.1["meta"]["versionId"],
        "2"
    );
    let (_, history) = fhir.get("/fhir/Patient/p1/_history").await;
    assert_eq!(history["total"], 2);
    let (_, first) = fhir.get("/fhir/Patient/p1/_history/1").await;
    assert_eq!(first["gender"], "female");
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_do_not_share_a_state_directory_or_a_port() {
    use cardio_gateway::clock::SystemClock;
    use cardio_gateway::config::Config;
    use cardio_gateway::gateway::Gateway;
    let bench = Bench::start().await;
    let start = |state: String, mqtt: String| async move {
        let text = format!(
            "state = \"{state}\"\n[mqtt]\nlisten = \"{mqtt}\"\n[https]\nlisten = \"127.0.0.1:0\"\n"
        );
        let config = Config::from_toml(&text, "test").unwrap();
        Gateway::start(config, std::sync::Arc::new(SystemClock::new()))
            .await
            .expect_err("must not start")
            .code()
    };
    let own = bench.dir.path().join("state").display().to_string();
    assert_eq!(start(own, "127.0.0.1:0".to_owned()).await, "state.in-use");
    let other = bench.dir.path().join("other").display().to_string();
    assert_eq!(
        start(other, bench.gateway.mqtt.unwrap().to_string()).await,
        "listen.taken"
    );
    bench.gateway.stop().await;
}
