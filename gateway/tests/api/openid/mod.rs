//! People and programs whom an OpenID provider vouches for, over real HTTPS.

#[path = "../../support/issuer.rs"]
mod issuer;
mod scene;

use super::access::{add, done, log_in};
use super::*;
use issuer::{CLIENT, Pair};
use scene::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_whom_the_provider_vouches_for_has_what_their_claims_grant() {
    let scene = Scene::set().await;
    let away = scene.leaves().await;
    let claims = scene.person(&away.nonce, json!({"person": "Practitioner/p1"}));
    let code = scene
        .provider
        .code(&away.challenge, scene.provider.sign(&json!({}), &claims));
    let told = scene.comes_back(&away, &code).await;
    let page = String::from_utf8_lossy(&told.raw).into_owned();
    assert_eq!(told.status, 200, "{page}");
    assert!(page.contains("Vous êtes connecté") && page.contains("You are logged in"));
    assert!(
        page.contains("0;url=/fhir/metadata") && !page.contains(&code),
        "{page}"
    );
    assert_eq!(told.header("Referrer-Policy"), "no-referrer");
    let held = session(&told).unwrap();
    let shown = scene.asks(&held, "/session").await.body;
    assert_eq!(
        (&shown["account"], &shown["role"], &shown["practitioner"]),
        (
            &json!("openid:s1"),
            &json!("nurse"),
            &json!("Practitioner/p1")
        )
    );
    assert_eq!(scene.asks(&held, "/fhir/Patient/pa").await.status, 200);
    assert_eq!(scene.asks(&held, "/fhir/Patient/pb").await.status, 404);
    assert_eq!(scene.asks(&held, "/fhir/AuditEvent").await.status, 403);
    // A code is good once, and what began with it goes on.
    assert_eq!(scene.comes_back(&away, &code).await.status, 403);
    assert_eq!(scene.asks(&held, "/session").await.status, 200);

    // It is an account like others, but for password and token.
    let listed = done(&scene.bench, json!({"verb": "accounts-list"})).await;
    assert_eq!(listed["accounts"][0]["name"], "openid:s1");
    let long = "a long enough secret";
    for request in [
        json!({"verb": "accounts-password", "name": "openid:s1", "password": long}),
        json!({"verb": "accounts-token", "name": "openid:s1", "label": "x", "days": 1}),
    ] {
        let told = scene.bench.asked(request).await;
        assert_eq!(told["error"]["code"], "access.vouched", "{told}");
    }
    assert_eq!(log_in(&scene.page, "openid:s1", long).await.status, 401);

    // What is granted at the next log-in holds for the sessions of before too.
    let doctor = json!({"groups": [], "realm_access": {"roles": ["doctor"]}});
    let again = scene.logs_in(doctor).await;
    for held in [&held, &again] {
        assert_eq!(
            scene.asks(held, "/session").await.body["role"],
            "cardiologist"
        );
        assert_eq!(scene.asks(held, "/fhir/Patient/pa").await.status, 404);
        assert_eq!(scene.asks(held, "/fhir/Patient/pb").await.status, 200);
    }

    // Shut here, it is shut whatever the provider says; and a restart forgets nothing.
    done(
        &scene.bench,
        json!({"verb": "accounts-disable", "name": "openid:s1"}),
    )
    .await;
    assert_eq!(scene.asks(&again, "/session").await.status, 401);
    let away = scene.leaves().await;
    let claims = scene.person(&away.nonce, json!({}));
    let code = scene
        .provider
        .code(&away.challenge, scene.provider.sign(&json!({}), &claims));
    let told = scene.comes_back(&away, &code).await;
    assert_eq!((told.status, session(&told)), (403, None));
    assert_eq!(scene.denied().await.last().unwrap(), "openid:s1");
    done(
        &scene.bench,
        json!({"verb": "accounts-enable", "name": "openid:s1"}),
    )
    .await;
    let held = scene.logs_in(json!({})).await;
    let bench = scene.bench.restart_at(scene.clock.clone()).await;
    let page = bench.fhir().with_token("");
    let told = page.send("GET", "/session", &[("Cookie", &held)], "").await;
    assert_eq!(told.body["account"], "openid:s1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_not_the_providers_to_this_browser_begins_nothing() {
    let scene = Scene::set().await;
    let stranger = Pair::p256();
    let header = json!({});
    let sign = |claims: &Value| scene.provider.sign(&header, claims);
    let now = scene.now_s();
    let mut written = scene.denied().await.len();
    let wrong: [(&str, Value, u16); 9] = [
        ("iss", json!("https://id.example"), 502),
        ("aud", json!("other"), 502),
        ("aud", json!([CLIENT, "other"]), 502),
        ("azp", json!("other"), 502),
        ("exp", json!(now - 60), 502),
        ("nbf", json!(now + 3_000), 502),
        ("nonce", json!("other"), 502),
        ("sub", json!(""), 502),
        ("groups", json!(["nobody"]), 403),
    ];
    for (claim, value, status) in wrong {
        scene.clock.advance_micros(10 * SECOND);
        let away = scene.leaves().await;
        let claims = scene.person(&away.nonce, json!({claim: value.clone()}));
        let code = scene.provider.code(&away.challenge, sign(&claims));
        let told = scene.comes_back(&away, &code).await;
        assert_eq!(
            (told.status, session(&told)),
            (status, None),
            "{claim} {value}"
        );
        written += 1;
        assert_eq!(scene.denied().await.len(), written, "{claim} {value}");
    }
    assert_eq!(
        scene.denied().await.last().unwrap(),
        "openid:s1",
        "who was granted nothing"
    );

    let away = scene.leaves().await;
    let good = scene.person(&away.nonce, json!({}));
    let whole = sign(&good);
    let unsigned = whole.rsplit_once('.').unwrap().0;
    for token in [
        scene.provider.sign(&json!({"alg": "none"}), &good),
        scene.provider.sign(&json!({"alg": "HS256"}), &good),
        scene.provider.sign(&json!({"alg": "EdDSA"}), &good),
        scene.provider.sign(&json!({"kid": "k9"}), &good),
        scene.provider.sign(&json!({"typ": "at+jwt"}), &good),
        stranger.sign(&json!({"kid": "k1"}), &good),
        format!("{unsigned}."),
        unsigned.to_owned(),
        String::new(),
    ] {
        scene.clock.advance_micros(10 * SECOND);
        let code = scene.provider.code(&away.challenge, token.clone());
        let told = scene.comes_back(&away, &code).await;
        assert_eq!((told.status, session(&told)), (502, None), "{token}");
        written += 1;
        assert_eq!(scene.denied().await.len(), written, "{token}");
    }

    // Another browser, another log-in, another provider, or nothing at all.
    let other = scene.leaves().await;
    let code = || scene.provider.code(&away.challenge, whole.clone());
    let (issuer, none) = (scene.provider.address(), "");
    let one = code();
    let back = |state: &'static str| [("code", one.as_str()), ("state", state), ("iss", issuer)];
    let own = [
        ("code", one.as_str()),
        ("state", away.state.as_str()),
        ("iss", issuer),
    ];
    let theirs = [
        ("code", one.as_str()),
        ("state", other.state.as_str()),
        ("iss", issuer),
    ];
    let elsewhere = [
        ("code", one.as_str()),
        ("state", &away.state),
        ("iss", "https://id.example"),
    ];
    let denied = [
        ("error", "access_denied"),
        ("state", &away.state),
        ("iss", issuer),
    ];
    for (cookie, query, status) in [
        (none, &own[..], 400),
        (other.cookie.as_str(), &own, 400),
        (away.cookie.as_str(), &theirs, 400),
        (away.cookie.as_str(), &back("x"), 400),
        (away.cookie.as_str(), &own[..1], 400),
        (away.cookie.as_str(), &[], 400),
        (away.cookie.as_str(), &elsewhere, 502),
        (away.cookie.as_str(), &own[..2], 502),
        (away.cookie.as_str(), &denied, 403),
        // Its code was for another challenge.
        (other.cookie.as_str(), &theirs, 403),
    ] {
        scene.clock.advance_micros(10 * SECOND);
        let told = scene.comes_back_with(cookie, query).await;
        assert_eq!((told.status, session(&told)), (status, None), "{query:?}");
        written += 1;
        assert_eq!(scene.denied().await.len(), written, "{query:?}");
    }
    let code = code();
    let told = scene.comes_back(&away, &code).await;
    assert!(session(&told).is_some(), "the true one still does");

    // Who goes on guessing is slowed down, and so is written down no more.
    for _ in 0..40 {
        scene.comes_back_with(&away.cookie, &[]).await;
    }
    let written = scene.denied().await.len();
    let told = scene.comes_back_with(&away.cookie, &[]).await;
    assert_eq!(told.status, 429);
    assert!(told.header("Retry-After").parse::<u64>().unwrap() > 0);
    assert_eq!(scene.denied().await.len(), written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_presents_an_access_token_and_no_other_kind() {
    let scene = Scene::set().await;
    let good = scene.token(json!({}));
    assert_eq!(scene.presents(&good).await.0, 200);
    let other = scene.page.with_token(&good).get("/fhir/Patient/pb").await;
    assert_eq!(other.0, 404);
    let plain = scene
        .provider
        .sign(&json!({"typ": "JWT"}), &scene.program(json!({})));
    assert_eq!(scene.presents(&plain).await.0, 200);
    let shown = scene.page.with_token(&good).get("/session").await.1;
    assert_eq!(shown["account"], "openid:dispatch");
    let event = scene
        .bench
        .fhir()
        .all("/fhir/AuditEvent?altid=openid:dispatch")
        .await;
    assert_eq!(event.len(), 3, "what it read is written down in its name");

    let mut written = scene.denied().await.len();
    let (stranger, now) = (Pair::ed25519(), scene.now_s());
    let of_a_person = scene.person("n", json!({}));
    let bearer = scene.program(json!({}));
    for (token, status, code) in [
        (
            scene.token(json!({"aud": "else"})),
            401,
            "openid.claim.audience",
        ),
        (
            scene.token(json!({"iss": "https://id.example"})),
            401,
            "openid.claim.issuer",
        ),
        (
            scene.token(json!({"exp": now - 61})),
            401,
            "openid.claim.ended",
        ),
        (
            scene.token(json!({"nbf": now + 61})),
            401,
            "openid.claim.early",
        ),
        (
            scene.token(json!({"client_id": "x"})),
            401,
            "openid.claim.client",
        ),
        (scene.token(json!({"azp": "x"})), 401, "openid.claim.client"),
        (
            scene.token(json!({"cnf": {"jkt": "x"}})),
            401,
            "openid.claim.bound",
        ),
        (
            scene.token(json!({"exp": "soon"})),
            401,
            "openid.claim.missing",
        ),
        (scene.token(json!({"groups": []})), 403, "openid.no-grant"),
        (
            scene.provider.sign(&json!({}), &of_a_person),
            401,
            "openid.claim.audience",
        ),
        (
            scene.provider.sign(&json!({"typ": "logout+jwt"}), &bearer),
            401,
            "openid.token.kind",
        ),
        (
            scene.provider.sign(&json!({"alg": "none"}), &bearer),
            401,
            "openid.token.algorithm",
        ),
        (
            stranger.sign(&json!({"kid": "k1"}), &bearer),
            401,
            "openid.token.key",
        ),
        (
            Pair::p256().sign(&json!({"kid": "k1"}), &bearer),
            401,
            "openid.token.signature",
        ),
        ("a.b.c".to_owned(), 401, "openid.token.form"),
    ] {
        let (told, body) = scene.presents(&token).await;
        let why = body["issue"][0]["diagnostics"].as_str().unwrap();
        assert_eq!(told, status, "{code}: {why}");
        assert!(why.ends_with(&format!("({code})")), "{code}: {why}");
        written += 1;
        assert_eq!(scene.denied().await.len(), written, "{code}");
    }

    // It ends by the clock, and when the account is shut.
    done(
        &scene.bench,
        json!({"verb": "accounts-disable", "name": "openid:dispatch"}),
    )
    .await;
    assert_eq!(scene.presents(&good).await.0, 403);
    done(
        &scene.bench,
        json!({"verb": "accounts-enable", "name": "openid:dispatch"}),
    )
    .await;
    assert_eq!(scene.presents(&good).await.0, 200);
    scene.clock.advance_micros(361 * SECOND);
    assert_eq!(scene.presents(&good).await.0, 401);

    // Where none are taken, it is a token like any that is not known.
    let grants = GRANTS.split("[[").skip(1).map(|grant| format!("[[{grant}"));
    let scene = Scene::set_with(&grants.collect::<String>()).await;
    let (status, body) = scene.presents(&scene.token(json!({}))).await;
    assert_eq!(status, 401);
    assert!(!body.to_string().contains("openid"), "{body}");
    assert_eq!(scene.provider.asked("/keys"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_and_the_provider_may_be_away() {
    let scene = Scene::set().await;
    let keys = || scene.provider.asked("/keys");
    assert_eq!(keys(), 0, "it is asked when it is needed");
    let first = scene.token(json!({"exp": scene.now_s() + 200_000}));
    assert_eq!(scene.presents(&first).await.0, 200);
    assert_eq!(keys(), 1);

    // A key that is not known yet is asked for, however many name it, once in a while.
    scene.provider.signs_with("k2", Pair::ed25519(), true);
    let second = scene.token(json!({"exp": scene.now_s() + 200_000}));
    assert_eq!(
        scene.presents(&second).await.0,
        401,
        "it was asked just now"
    );
    scene.clock.advance_micros(10 * SECOND);
    assert_eq!(scene.presents(&second).await.0, 200);
    assert_eq!(
        scene.presents(&first).await.0,
        200,
        "the one before still holds"
    );
    assert_eq!(keys(), 2);
    let unknown = scene
        .provider
        .sign(&json!({"kid": "k9"}), &scene.program(json!({})));
    for _ in 0..5 {
        assert_eq!(scene.presents(&unknown).await.0, 401);
    }
    assert_eq!(keys(), 2);

    // One that is withdrawn is believed no more once the provider was asked again.
    scene.provider.signs_with("k3", Pair::p256(), false);
    scene.clock.advance_micros(600 * SECOND);
    assert_eq!(scene.presents(&first).await.0, 401);
    assert_eq!(keys(), 3);
    let third = scene.token(json!({"exp": scene.now_s() + 200_000}));
    assert_eq!(scene.presents(&third).await.0, 200);

    // While it is away, tokens that can be checked are believed for a day, and local accounts
    // need it for nothing.
    let away = scene.leaves().await;
    scene.provider.answers(Some(503));
    let told = scene.comes_back(&away, "code").await;
    assert_eq!((told.status, session(&told)), (503, None));
    assert!(String::from_utf8_lossy(&told.raw).contains("Local accounts work"));
    scene.clock.advance_micros(3_600 * SECOND);
    assert_eq!(scene.presents(&third).await.0, 200);
    let password = "a long enough secret";
    add(
        &scene.bench,
        "n",
        "nurse",
        &["Organization/team-a"],
        Some(password),
    )
    .await;
    assert_eq!(log_in(&scene.page, "n", password).await.status, 200);
    scene.clock.advance_micros(86_400 * SECOND);
    let (status, body) = scene.presents(&third).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.to_string().contains("openid.provider.away"), "{body}");
    let told = scene.page.send("GET", "/session/openid", &[], "").await;
    assert_eq!((told.status, told.header("Retry-After")), (503, "10"));
    assert_eq!(log_in(&scene.page, "n", password).await.status, 200);
    scene.provider.answers(None);
    scene.clock.advance_micros(10 * SECOND);
    assert_eq!(scene.presents(&third).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_says_what_cannot_be_is_of_no_help() {
    let scene = Scene::set().await;
    let good = scene.token(json!({}));
    for (odd, instead) in [
        (
            json!({"issuer": format!("{}/", scene.provider.address())}),
            None,
        ),
        (json!({"jwks_uri": "http://127.0.0.1/keys"}), None),
        (json!({"token_endpoint": 7}), None),
        (json!({"code_challenge_methods_supported": ["plain"]}), None),
        (
            json!({"id_token_signing_alg_values_supported": ["HS256"]}),
            None,
        ),
        (
            json!({"jwks_uri": format!("{}/elsewhere", scene.provider.address())}),
            None,
        ),
        (json!({}), Some("<html>".to_owned())),
        (
            json!({}),
            Some(format!("{{\"issuer\": \"{}\"}}", "x".repeat(300_000))),
        ),
    ] {
        scene.provider.says(odd.clone(), instead);
        scene.clock.advance_micros(10 * SECOND);
        let (status, body) = scene.presents(&good).await;
        assert_eq!(status, 503, "{odd}: {body}");
        let told = scene.page.send("GET", "/session/openid", &[], "").await;
        assert_eq!(told.status, 503, "{odd}");
    }
    scene.provider.says(json!({}), None);
    scene.clock.advance_micros(10 * SECOND);
    assert_eq!(scene.presents(&good).await.0, 200);

    let without = Bench::start().await;
    let told = without.fhir().send("GET", "/session/openid", &[], "").await;
    assert_eq!(told.status, 404);
    let told = without
        .fhir()
        .send("GET", "/session/openid/back?code=x", &[], "")
        .await;
    assert_eq!(told.status, 404);
}
