//! Whatever is asked, the answer is a result or says what is wrong.

use super::*;

/// Whatever stands in a parameter, the answer is a bundle or says what is wrong, and nothing of
/// it becomes part of a statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_search_parameter_of_every_type_withstands_odd_values() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    assert_eq!(
        fhir.write("PUT", "/fhir/Patient/p1", &[], &patient("p1", "1"))
            .await
            .status,
        201
    );
    let (_, statement) = fhir.get("/fhir/metadata").await;
    let values = [
        "%27%20OR%20%271%27=%271",
        "x%27;DROP%20TABLE%20resources;--",
        "%00",
        "%FF",
        "\\",
        "%5C",
        "|",
        "%7C%7C",
        ",",
        ",,,,",
        "$",
        "-1",
        "9999999999999999999999",
        "ge",
        "ge2026-13-01",
        "../../etc/passwd",
        "%E2%80%AE",
        "Patient/",
        "/",
        "a%2Cb%7Cc",
        "*",
        "%25",
        "1e309",
        "null",
        "",
    ];
    let own = [
        "_count",
        "_sort",
        "_after",
        "_include",
        "_revinclude",
        "_elements",
        "_summary",
        "_total",
        "_format",
    ];
    let mut asked = 0;
    for served in statement["rest"][0]["resource"].as_array().unwrap() {
        let kind = served["type"].as_str().unwrap();
        let params = served["searchParam"].as_array().into_iter().flatten();
        let params: Vec<&str> = params
            .map(|one| one["name"].as_str().unwrap())
            .chain(own)
            .collect();
        let entries: Vec<Value> = params
            .iter()
            .flat_map(|param| values.map(|value| format!("{kind}?{param}={value}")))
            .map(|url| json!({"request": {"method": "GET", "url": url}}))
            .collect();
        for chunk in entries.chunks(200) {
            let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": chunk});
            let told = fhir.write("POST", "/fhir", &[], &bundle).await;
            assert_eq!(told.status, 200, "{}", told.body);
            for (entry, answer) in chunk.iter().zip(told.body["entry"].as_array().unwrap()) {
                let status = answer["response"]["status"].as_str().unwrap();
                let said = match status {
                    "200" => answer["resource"]["type"] == "searchset",
                    "400" => answer["response"]["outcome"]["issue"][0]["diagnostics"].is_string(),
                    _ => false,
                };
                assert!(said, "{entry}: {answer}");
                asked += 1;
            }
        }
    }
    assert!(asked > 2_000, "{asked}");
    assert_eq!(fhir.all("/fhir/Patient").await.len(), 1);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_body_and_any_header_are_answered_with_what_is_wrong() {
    let bench = Bench::start().await;
    let fhir = bench.fhir();
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let wide = format!(
        "{{\"resourceType\":\"Patient\",\"name\":[{}]}}",
        vec!["{}"; 1_000].join(",")
    );
    let bodies = [
        "",
        "{",
        "null",
        "[]",
        "1",
        "\"Patient\"",
        "\u{0}",
        "{\"resourceType\":[]}",
        "{\"resourceType\":\"Patient\",\"id\":{}}",
        "{\"resourceType\":\"Patient\",\"meta\":[]}",
        "{\"resourceType\":\"Patient\",\"contact\":[null]}",
        deep.as_str(),
        wide.as_str(),
    ];
    let json_type = [("Content-Type", "application/fhir+json")];
    for body in bodies {
        for (method, path) in [
            ("POST", "/fhir/Patient"),
            ("PUT", "/fhir/Patient/p1"),
            ("POST", "/fhir"),
            ("POST", "/fhir/Patient/$merge"),
            ("POST", "/fhir/Consent"),
        ] {
            let told = fhir.send(method, path, &json_type, body).await;
            assert!(
                told.status == 400 && is_outcome(&told),
                "{method} {path} {body:.40}: {} {}",
                told.status,
                told.body
            );
        }
    }
    let body = patient("p1", "1").to_string();
    for (name, value) in [
        ("Prefer", "return=\u{e9}"),
        ("If-Match", "\u{e9}"),
        ("Prefer", "return=all"),
        ("If-None-Exist", "identifier=a|b"),
    ] {
        let headers = [json_type[0], (name, value)];
        let told = fhir.send("PUT", "/fhir/Patient/p1", &headers, &body).await;
        assert!(
            told.status == 400 && is_outcome(&told),
            "{name}: {} {}",
            told.status,
            told.body
        );
    }
    for (method, path, status) in [
        ("DELETE", "/fhir/Patient/p1", 405),
        ("PATCH", "/fhir/Patient/p1", 405),
        ("POST", "/fhir/Observation", 405),
        ("PUT", "/fhir/Task/t", 405),
        ("GET", "/fhir/%00", 404),
        ("GET", "/fhir/Patient/%FF", 400),
    ] {
        let told = fhir.send(method, path, &json_type, &body).await;
        assert_eq!(
            (told.status, is_outcome(&told)),
            (status, true),
            "{method} {path}: {}",
            told.body
        );
    }
    assert!(fhir.all("/fhir/Patient").await.is_empty());
    bench.gateway.stop().await;
}
