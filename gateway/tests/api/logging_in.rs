//! Tokens, sessions and limits, over real HTTPS.

use super::access::{add, by_hand, cookie, done, log_in, of_team, token};
use super::*;

const PASSWORD: &str = "a long enough secret";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_less_than_its_account_and_holds_until_it_ends() {
    let clock = by_hand();
    let bench = Bench::start_at(clock.clone()).await;
    add(&bench, "n", "nurse", &["Organization/a"], None).await;
    let fhir = bench.fhir();
    let less = fhir.with_token(&token(&bench, "n", Some("technician")).await);
    assert_eq!(less.get("/fhir/Patient").await.0, 403);
    assert_eq!(less.get("/fhir/Device").await.0, 200);
    let more = json!({
        "verb": "accounts-token", "name": "n", "label": "x", "role": "admin", "days": 1,
    });
    assert_eq!(bench.asked(more).await["error"]["code"], "access.role");
    // A token of the same label takes the place of the one before.
    let full = fhir.with_token(&token(&bench, "n", None).await);
    assert_eq!(less.get("/fhir/Device").await.0, 401);
    assert_eq!(full.get("/fhir/Patient").await.0, 200);
    done(&bench, json!({"verb": "accounts-disable", "name": "n"})).await;
    assert_eq!(full.get("/fhir/Patient").await.0, 401);
    done(&bench, json!({"verb": "accounts-enable", "name": "n"})).await;
    assert_eq!(full.get("/fhir/Patient").await.0, 200);
    let bench = bench.restart_at(clock.clone()).await;
    let full_again = bench.fhir().with_token(full.token());
    assert_eq!(
        full_again.get("/fhir/Patient").await.0,
        200,
        "it outlasts a restart"
    );
    clock.advance_micros(86_401 * 1_000_000);
    assert_eq!(full_again.get("/fhir/Patient").await.0, 401, "it has ended");
    let last = bench.fhir().with_token(&token(&bench, "n", None).await);
    let revoke = json!({"verb": "accounts-revoke", "name": "n", "label": "test"});
    done(&bench, revoke.clone()).await;
    assert_eq!(last.get("/fhir/Patient").await.0, 401);
    assert_eq!(
        bench.asked(revoke).await["error"]["code"],
        "access.no-token"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_logs_in_stays_so_while_they_ask_and_logs_out() {
    let clock = by_hand();
    let bench = Bench::start_at(clock.clone()).await;
    add(&bench, "n", "nurse", &["Organization/a"], Some(PASSWORD)).await;
    let page = bench.fhir().with_token("");
    let told = log_in(&page, "n", PASSWORD).await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.body["role"], "nurse");
    let set = told.header("Set-Cookie").to_owned();
    for part in [
        "__Host-cardio=",
        "Path=/",
        "Secure",
        "HttpOnly",
        "SameSite=Strict",
    ] {
        assert!(set.contains(part), "{set}");
    }
    let held = cookie(&told);
    let get = async |held: &str| {
        let told = page
            .send("GET", "/fhir/Patient", &[("Cookie", held)], "")
            .await;
        told.status
    };
    assert_eq!(get(&held).await, 200);
    assert_eq!(get(&format!("{held}x")).await, 401);

    // What more than reads must come from a page of this address.
    let body = of_team("x", "a");
    let port = bench.gateway.https.port();
    let own = format!("https://localhost:{port}");
    for (origin, status) in [
        (Some(own.as_str()), 201),
        (Some("https://evil.example"), 403),
        (Some("null"), 403),
        (None, 403),
    ] {
        let mut headers = vec![("Cookie", held.as_str())];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        let told = page.write("POST", "/fhir/Patient", &headers, &body).await;
        assert_eq!(told.status, status, "{origin:?}: {}", told.body);
    }

    // It goes on while something is asked, and not for ever.
    for _ in 0..5 {
        clock.advance_micros(29 * 60 * 1_000_000);
        assert_eq!(get(&held).await, 200);
    }
    clock.advance_micros(31 * 60 * 1_000_000);
    assert_eq!(get(&held).await, 401, "nothing was asked for too long");
    let held = cookie(&log_in(&page, "n", PASSWORD).await);
    for _ in 0..24 {
        clock.advance_micros(29 * 60 * 1_000_000);
        assert_eq!(get(&held).await, 200);
    }
    clock.advance_micros(29 * 60 * 1_000_000);
    assert_eq!(get(&held).await, 401, "twelve hours are the most");

    // Logging out ends it, as does another password, and an account that is shut.
    let held = cookie(&log_in(&page, "n", PASSWORD).await);
    let headers = [("Cookie", held.as_str()), ("Origin", own.as_str())];
    let told = page.send("DELETE", "/session", &headers, "").await;
    assert_eq!(told.status, 200);
    assert!(told.header("Set-Cookie").contains("Max-Age=0"));
    assert_eq!(get(&held).await, 401);
    let held = cookie(&log_in(&page, "n", PASSWORD).await);
    let other = "another long secret";
    done(
        &bench,
        json!({"verb": "accounts-password", "name": "n", "password": other}),
    )
    .await;
    assert_eq!(get(&held).await, 401);
    assert_eq!(log_in(&page, "n", PASSWORD).await.status, 401);
    let held = cookie(&log_in(&page, "n", other).await);
    assert_eq!(get(&held).await, 200);
    done(&bench, json!({"verb": "accounts-disable", "name": "n"})).await;
    assert_eq!(get(&held).await, 401);
    let shut = log_in(&page, "n", other).await;
    let unknown = log_in(&page, "nobody", other).await;
    assert_eq!(
        (shut.status, &shut.body),
        (401, &unknown.body),
        "all the same to who asks"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_guesses_is_slowed_down_and_who_is_right_is_not() {
    let clock = by_hand();
    let more = "[access]\nrequests_per_s = 2\n".to_owned();
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start_in(dir, more, clock.clone()).await;
    add(&bench, "n", "nurse", &["Organization/a"], Some(PASSWORD)).await;
    let page = bench.fhir().with_token("");
    for _ in 0..12 {
        assert_eq!(log_in(&page, "n", PASSWORD).await.status, 200);
    }
    for _ in 0..10 {
        assert_eq!(log_in(&page, "n", "wrong").await.status, 401);
    }
    let told = log_in(&page, "n", PASSWORD).await;
    assert_eq!(told.status, 429, "{}", told.body);
    let wait: u64 = told.header("Retry-After").parse().unwrap();
    assert!((1..=31).contains(&wait), "{wait}");
    clock.advance_micros(wait * 1_000_000);
    assert_eq!(log_in(&page, "n", PASSWORD).await.status, 200);

    // Requests of one account, and of whoever presents nothing that is known.
    let nurse = bench.fhir().with_token(&token(&bench, "n", None).await);
    let ask = async |fhir: &Fhir| fhir.send("GET", "/fhir/metadata", &[], "").await;
    for _ in 0..8 {
        assert_eq!(ask(&nurse).await.status, 200);
    }
    let told = ask(&nurse).await;
    assert_eq!((told.status, told.header("Retry-After")), (429, "1"));
    assert_eq!(
        ask(&bench.fhir()).await.status,
        200,
        "others are not slowed down"
    );
    let stranger = bench.fhir().with_token("guessed");
    let mut statuses = std::collections::BTreeMap::new();
    for _ in 0..70 {
        *statuses.entry(ask(&stranger).await.status).or_insert(0) += 1;
    }
    assert_eq!(
        statuses.into_iter().collect::<Vec<_>>(),
        [(401, 60), (429, 10)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_cannot_be_is_not_made() {
    let bench = Bench::start().await;
    add(&bench, "n", "nurse", &["Organization/a"], None).await;
    let of = |name: &str, role: &str, all: bool, teams: Value| {
        json!({"verb": "accounts-add", "password": null, "account": {
            "name": name, "role": role, "practitioner": null, "all_patients": all, "teams": teams,
        }})
    };
    for (request, code) in [
        (of("n", "nurse", true, json!([])), "access.taken"),
        (of("", "nurse", true, json!([])), "access.name"),
        (of("a b", "nurse", true, json!([])), "access.name"),
        (of("m", "nurse", false, json!([])), "access.scope"),
        (
            of("m", "nurse", true, json!(["Organization/a"])),
            "access.scope",
        ),
        (of("m", "admin", true, json!([])), "access.scope"),
        (
            of("m", "nurse", false, json!(["Patient/a"])),
            "access.reference",
        ),
        (of("m", "gateway", true, json!([])), "access.scope"),
    ] {
        let told = bench.asked(request.clone()).await;
        assert_eq!(told["error"]["code"], code, "{request}");
    }
    let mut short = of("m", "nurse", true, json!([]));
    short["password"] = json!("short");
    assert_eq!(bench.asked(short).await["error"]["code"], "access.password");
    let listed = done(&bench, json!({"verb": "accounts-list"})).await;
    assert_eq!(listed["schema"], "accounts/1");
    assert_eq!(listed["accounts"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains("argon2"));
}
