use super::{Algorithm, Jws, JwsError, Keys, TOKEN_BYTES_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

const KINDS: &[&str] = &["", "jwt"];

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A key pair, and the set that holds it as `one`.
fn pair() -> (Ed25519KeyPair, Value) {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": x});
    (pair, json!({"keys": [key]}))
}

fn signed(pair: &Ed25519KeyPair, header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = pair.sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn verify(token: &str, set: &Value) -> Result<Value, JwsError> {
    let jws = Jws::read(token, &Algorithm::ALL, KINDS)?;
    let claims = jws.verified(&Keys::read(set).unwrap())?;
    Ok(Value::Object(claims.clone()))
}

#[test]
fn the_examples_of_the_standards_are_verified() {
    // RFC 7515, A.2 and A.3.
    let rsa = json!({"keys": [{"kty": "RSA", "e": "AQAB", "n": concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEz",
        "P1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf6",
        "3kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5Zw",
        "Kh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW",
        "yuXpoQ")}]});
    let payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p\
                   c19yb290Ijp0cnVlfQ";
    let by_rsa = format!(
        "eyJhbGciOiJSUzI1NiJ9.{payload}.{}",
        concat!(
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt",
            "_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArL",
            "IARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7no",
            "OPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ",
            "Ge77Rw"
        )
    );
    let claims = verify(&by_rsa, &rsa).unwrap();
    assert_eq!(claims["iss"], "joe");
    let curve = json!({"keys": [{"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]});
    let by_curve = format!(
        "eyJhbGciOiJFUzI1NiJ9.{payload}.{}",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    assert_eq!(verify(&by_curve, &curve).unwrap(), claims);
    assert_eq!(verify(&by_curve, &rsa), Err(JwsError::UnknownKey));
    assert_eq!(verify(&by_rsa, &curve), Err(JwsError::UnknownKey));
}

#[test]
fn the_key_and_signature_of_rfc_8037_fit() {
    // RFC 8037, A.4: its payload is no JSON, so what is compared is the signature alone.
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]});
    let keys = Keys::read(&set).unwrap();
    let signature = URL_SAFE_NO_PAD
        .decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
        .unwrap();
    let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    assert!(keys.0[0].material.has_signed(signed, &signature));
    assert!(!keys.0[0].material.has_signed(&signed[1..], &signature));
}

#[test]
fn what_a_token_says_of_its_algorithm_is_not_believed() {
    let (pair, set) = pair();
    let claims = json!({"sub": "a"});
    for (header, error) in [
        (json!({"alg": "none", "kid": "one"}), JwsError::Algorithm),
        (json!({"alg": "None"}), JwsError::Algorithm),
        (json!({"alg": "HS256", "kid": "one"}), JwsError::Algorithm),
        (json!({"alg": "RS256", "kid": "one"}), JwsError::UnknownKey),
        (json!({"alg": ["EdDSA"]}), JwsError::Algorithm),
        (json!({"kid": "one"}), JwsError::Algorithm),
        (json!({"alg": "EdDSA", "kid": "two"}), JwsError::UnknownKey),
        (json!({"alg": "EdDSA", "crit": ["x"]}), JwsError::Critical),
        (json!({"alg": "EdDSA", "typ": "at+jwt"}), JwsError::Kind),
        (json!({"alg": "EdDSA", "typ": 1}), JwsError::Kind),
        (
            json!({"alg": "EdDSA", "kid": 1}),
            JwsError::Form { part: "header" },
        ),
    ] {
        let token = signed(&pair, &header, &claims);
        assert_eq!(verify(&token, &set), Err(error), "{header}");
    }
    // A key that is brought along vouches for nothing.
    let (stranger, theirs) = self::pair();
    let header = json!({"alg": "EdDSA", "kid": "one", "jwk": theirs["keys"][0]});
    let token = signed(&stranger, &header, &claims);
    assert_eq!(verify(&token, &set), Err(JwsError::Signature));
    // And what is not taken here is refused though the signature is good.
    let token = signed(&pair, &json!({"alg": "EdDSA"}), &claims);
    assert_eq!(verify(&token, &set), Ok(claims));
    let others = [Algorithm::RS256, Algorithm::ES256];
    assert_eq!(
        Jws::read(&token, &others, KINDS).unwrap_err(),
        JwsError::Algorithm
    );
}

#[test]
fn a_token_in_another_form_says_which_part() {
    let (pair, set) = pair();
    let good = signed(&pair, &json!({"alg": "EdDSA"}), &json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    for (token, part) in [
        (String::new(), "parts"),
        (parts[..2].join("."), "parts"),
        (format!("{good}."), "payload"),
        (format!("{good}="), "signature"),
        (format!("{}.{}.{}", parts[0], "bm8", parts[2]), "payload"),
        ("x".repeat(TOKEN_BYTES_MAX + 1), "length"),
    ] {
        assert_eq!(verify(&token, &set), Err(JwsError::Form { part }));
    }
}

#[test]
fn keys_that_are_of_no_use_are_left_out_and_one_that_is_not_named_is_not_guessed() {
    let (pair, set) = pair();
    let of_use = set["keys"][0].clone();
    let changed = |name: &str, value: Value| {
        let mut key = of_use.clone();
        key[name] = value;
        key
    };
    let useless = json!({"keys": [
        changed("use", json!("enc")), changed("alg", json!("ES256")), changed("crv", json!("X25519")),
        changed("x", json!("AAAA")), {"kty": "oct", "k": "AAAA"}, 7, {"kty": "EC", "crv": "P-256"},
    ]});
    assert!(Keys::read(&useless).unwrap().is_empty());
    assert_eq!(Keys::read(&json!({"keys": 1})), None);
    let two = json!({"keys": [of_use, changed("kid", json!("two"))]});
    let unnamed = signed(&pair, &json!({"alg": "EdDSA"}), &json!({}));
    assert_eq!(verify(&unnamed, &two), Err(JwsError::UnknownKey));
    let named = signed(&pair, &json!({"alg": "EdDSA", "kid": "two"}), &json!({}));
    assert!(verify(&named, &two).is_ok());
    let many = vec![set["keys"][0].clone(); 1_000];
    assert_eq!(Keys::read(&json!({"keys": many})).unwrap().0.len(), 64);
}

proptest! {
    #[test]
    fn any_text_is_answered(token in "[A-Za-z0-9_.=-]{0,200}|\\PC{0,80}") {
        let (_, set) = pair();
        prop_assert!(verify(&token, &set).is_err());
    }

    #[test]
    fn a_token_that_was_changed_anywhere_is_refused(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let (pair, set) = pair();
        let good = signed(&pair, &json!({"alg": "EdDSA", "kid": "one"}), &json!({"sub": "a"}));
        let mut changed = good.clone().into_bytes();
        let at = at.index(changed.len());
        changed[at] = to & 0x7f;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert_eq!(verify(&changed, &set).is_ok(), changed == good);
    }
}
