//! What somebody whom the provider vouches for may do here: the first grant of the configuration
//! that one of the claims fulfils says what they are to the team; further ones of the same role
//! add their teams. Nobody is anything without a grant.

use serde_json::{Map, Value};

use crate::access::NewAccount;
use crate::config::{GrantConfig, OpenIdConfig};

/// What accounts of the provider begin with; no local account's name has a colon.
pub(super) const PREFIX: &str = "openid:";
/// Longest subject that stands in a name as it is.
const PLAIN_MAX: usize = 64;

type Claims = Map<String, Value>;

/// The name of a subject's account: the subject itself if it is a plain word, else its hash.
pub(super) fn name(subject: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '@');
    if subject.len() <= PLAIN_MAX && subject.chars().all(is_plain) {
        return format!("{PREFIX}{subject}");
    }
    let hash = crate::access::secret::fingerprint(subject);
    let hash: String = hash
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // The colon keeps it apart from a subject that looks like a hash.
    format!("{PREFIX}sha256:{hash}")
}

/// The account of a subject as its claims grant it.
pub(super) fn account(config: &OpenIdConfig, subject: &str, claims: &Claims) -> Option<NewAccount> {
    let fulfilled = |grant: &&GrantConfig| holds(claims, &grant.claim, &grant.value);
    let mut grants = config.grant.iter().filter(fulfilled);
    let first = grants.next()?;
    let mut account = NewAccount::new(name(subject), first.role);
    let same = grants.filter(|grant| grant.role == first.role);
    for grant in std::iter::once(first).chain(same) {
        account.all_patients |= grant.all_patients;
        for team in &grant.teams {
            if !account.teams.contains(team) {
                account.teams.push(team.clone());
            }
        }
    }
    if account.all_patients {
        account.teams.clear();
    }
    let person = config.practitioner_claim.as_deref();
    let person = person.and_then(|claim| find(claims, claim)?.as_str());
    account.practitioner = person.map(str::to_owned);
    // A provider that names somebody who cannot be one has named nobody.
    if account.check_but_name().is_err() {
        account.practitioner = None;
    }
    account.check_but_name().is_ok().then_some(account)
}

/// A claim by its name, or by a JSON pointer (RFC 6901).
fn find<'c>(claims: &'c Claims, claim: &str) -> Option<&'c Value> {
    let Some(path) = claim.strip_prefix('/') else {
        return claims.get(claim);
    };
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let first = claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
    match rest {
        "" => Some(first),
        rest => first.pointer(&format!("/{rest}")),
    }
}

/// Whether a claim is this text, or a list that holds it.
fn holds(claims: &Claims, claim: &str, value: &str) -> bool {
    match find(claims, claim) {
        Some(Value::String(one)) => one == value,
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{account, name};
    use crate::access::Role;
    use crate::config::{Config, OpenIdConfig};
    use serde_json::{Value, json};

    fn config() -> OpenIdConfig {
        let text = r#"
            [access.openid]
            issuer = "https://id.example"
            client_id = "gateway"
            redirect = "https://gateway.example/session/openid/back"
            practitioner_claim = "practitioner"
            [[access.openid.grant]]
            claim = "groups"
            value = "cardio-nurses"
            role = "nurse"
            teams = ["Organization/a"]
            [[access.openid.grant]]
            claim = "groups"
            value = "night-nurses"
            role = "nurse"
            teams = ["Organization/b", "Organization/a"]
            [[access.openid.grant]]
            claim = "/realm/roles"
            value = "doctor"
            role = "cardiologist"
            all_patients = true
        "#;
        Config::from_toml(text, "t").unwrap().access.openid.unwrap()
    }

    fn of(claims: &Value) -> Option<(Role, Vec<String>, Option<String>)> {
        let made = account(&config(), "s", claims.as_object().unwrap())?;
        assert_eq!(made.name, "openid:s");
        assert_eq!(made.all_patients, made.teams.is_empty());
        Some((made.role, made.teams, made.practitioner))
    }

    #[test]
    fn the_first_grant_decides_the_role_and_its_like_add_their_teams() {
        let team = |id: &str| format!("Organization/{id}");
        let (a, b) = (team("a"), team("b"));
        let nurse = |teams: Vec<String>| Some((Role::Nurse, teams, None));
        let groups = |all: Value| of(&json!({"groups": all}));
        assert_eq!(groups(json!("cardio-nurses")), nurse(vec![a.clone()]));
        assert_eq!(
            groups(json!(["x", "night-nurses"])),
            nurse(vec![b.clone(), a.clone()])
        );
        assert_eq!(
            groups(json!(["night-nurses", "cardio-nurses"])),
            nurse(vec![a, b])
        );
        let doctor = json!({"realm": {"roles": ["doctor"]}, "practitioner": "Practitioner/1"});
        let person = Some("Practitioner/1".to_owned());
        assert_eq!(of(&doctor), Some((Role::Cardiologist, vec![], person)));
        let both = json!({"realm": {"roles": ["doctor"]}, "groups": ["cardio-nurses"]});
        assert_eq!(of(&both).unwrap().0, Role::Nurse);
    }

    #[test]
    fn who_is_granted_nothing_is_nobody() {
        for claims in [
            json!({}),
            json!({"groups": []}),
            json!({"groups": "cardio-nurses night-nurses"}),
            json!({"groups": {"cardio-nurses": true}}),
            json!({"realm": "doctor"}),
            json!({"realm/roles": ["doctor"]}),
        ] {
            assert_eq!(of(&claims), None, "{claims}");
        }
        let odd = json!({"groups": "cardio-nurses", "practitioner": "Patient/1"});
        assert_eq!(of(&odd).unwrap().2, None);
    }

    #[test]
    fn a_subject_names_its_account_and_no_other() {
        assert_eq!(name("a.b@c"), "openid:a.b@c");
        let odd = ["a b", "a:b", "é", "a/b", &"x".repeat(65)];
        let names: std::collections::BTreeSet<_> = odd.iter().map(|one| name(one)).collect();
        assert_eq!(names.len(), odd.len());
        assert!(
            names
                .iter()
                .all(|one| one.starts_with("openid:sha256:") && one.len() == 46)
        );
    }
}
