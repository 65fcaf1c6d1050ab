//! What is said to another FHIR server (R4, http.html): update as create, alone or as entries of
//! a transaction, and what its answers mean.

use serde_json::{Value, json};
use ureq::Agent;

use crate::config::PushConfig;
use crate::outgoing::{OutgoingError, agent, read};

use super::LIMIT;

const MEDIA_TYPE: &str = "application/fhir+json; fhirVersion=4.0";
/// Of an answer that is no success, as much is read.
const ANSWER_MAX: u64 = 256 * 1024;
/// Of what it says, as much is kept.
const WHY_MAX: usize = 400;

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The server has it.
    Taken,
    /// It will not take this.
    Refused(String),
    /// It failed at this, and may again: its own fault, for all that it says.
    Failed(String),
    /// It takes nothing for now.
    Later(String),
}

/// Speaks to one server.
#[derive(Clone)]
pub(super) struct Sender {
    agent: Agent,
    base: String,
    bearer: Option<String>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// # Errors
    /// [`OutgoingError`] when a file cannot be read or used.
    pub(super) fn new(of: &PushConfig) -> Result<Self, OutgoingError> {
        let bearer = |path: &std::path::PathBuf| {
            let token = read("push.token_file", path)?;
            let token = String::from_utf8_lossy(&token).trim().to_owned();
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                let why = "the file holds no token";
                return Err(OutgoingError::impossible("push.token_file", why));
            }
            Ok(format!("Bearer {token}"))
        };
        Ok(Self {
            agent: agent(("push.ca", of.ca.as_deref()), of.plain, LIMIT)?,
            base: of.base.clone(),
            bearer: of.token_file.as_ref().map(bearer).transpose()?,
        })
    }

    /// Sends versions of different resources: one alone, or several that are taken together or
    /// not at all. Waits for the answer.
    pub(super) fn send(&self, resources: &[Value]) -> Answer {
        match resources {
            [] => Answer::Taken,
            [one] => {
                let url = format!("{}/{}", self.base, address(one));
                self.ask(self.agent.put(&url), one)
            }
            several => self.ask(
                self.agent.post(&self.base),
                &transaction(&self.base, several),
            ),
        }
    }

    fn ask(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        body: &Value,
    ) -> Answer {
        let request = request
            .header("Content-Type", MEDIA_TYPE)
            .header("Accept", "application/fhir+json")
            .header("Prefer", "return=minimal");
        let request = match &self.bearer {
            Some(bearer) => request.header("Authorization", bearer),
            None => request,
        };
        match request.send(body.to_string()) {
            Ok(mut answer) => {
                let status = answer.status().as_u16();
                if (200..300).contains(&status) {
                    return Answer::Taken;
                }
                let body = answer.body_mut().with_config().limit(ANSWER_MAX);
                // An answer that breaks off says no more than its status.
                meaning(status, &body.read_to_string().unwrap_or_default())
            }
            Err(error) => Answer::Later(format!("the server cannot be reached: {error}")),
        }
    }
}

/// Type and id, as an address below the base.
fn address(resource: &Value) -> String {
    let text = |name: &str| {
        resource
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    format!("{}/{}", text("resourceType"), text("id"))
}

fn transaction(base: &str, resources: &[Value]) -> Value {
    let entry = |resource: &Value| {
        let address = address(resource);
        json!({
            "fullUrl": format!("{base}/{address}"),
            "resource": resource,
            "request": {"method": "PUT", "url": address},
        })
    };
    let entries: Vec<Value> = resources.iter().map(entry).collect();
    json!({"resourceType": "Bundle", "type": "transaction", "entry": entries})
}

/// What a status that is no success means. Whoever does not let us in, asks us to wait or is
/// somewhere else takes nothing for now; other refusals are of what was sent.
fn meaning(status: u16, body: &str) -> Answer {
    let said = said(body);
    let told = |what: &str| format!("{status} {what}{said}");
    match status {
        300..=399 => Answer::Later(told("the server is at another address: name that one")),
        401 | 403 => Answer::Later(told("the server does not let us write: look at its token")),
        408 | 425 | 429 | 502 | 503 | 504 => Answer::Later(told("the server is not ready")),
        500.. => Answer::Failed(told("the server failed")),
        _ => Answer::Refused(told("the server would not take it")),
    }
}

/// The first thing that an OperationOutcome says.
fn said(body: &str) -> String {
    let outcome: Value = serde_json::from_str(body).unwrap_or_default();
    let issue = outcome.pointer("/issue/0").cloned().unwrap_or_default();
    let parts = ["/code", "/expression/0", "/details/text", "/diagnostics"];
    let parts: Vec<&str> = parts
        .iter()
        .filter_map(|part| issue.pointer(part).and_then(Value::as_str))
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    let text: String = parts.join(", ").chars().take(WHY_MAX).collect();
    format!(": {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_means_decides_what_is_tried_again() {
        let outcome = r#"{"resourceType":"OperationOutcome","issue":[
            {"code":"invalid","diagnostics":"no such code","expression":["Observation.code"]}]}"#;
        assert_eq!(
            meaning(422, outcome),
            Answer::Refused(
                "422 the server would not take it: invalid, Observation.code, no such code"
                    .to_owned()
            )
        );
        for later in [301, 401, 403, 408, 429, 503] {
            assert!(matches!(meaning(later, ""), Answer::Later(_)), "{later}");
        }
        assert!(matches!(meaning(500, "<html>"), Answer::Failed(_)));
        for refused in [400, 404, 405, 409, 412, 413] {
            assert!(
                matches!(meaning(refused, "{}"), Answer::Refused(_)),
                "{refused}"
            );
        }
    }

    #[test]
    fn what_a_server_says_is_kept_only_so_far() {
        let long = json!({"issue": [{"diagnostics": "x".repeat(10_000)}]}).to_string();
        let Answer::Refused(why) = meaning(400, &long) else {
            panic!("refused");
        };
        assert!(why.len() < 500, "{}", why.len());
    }
}
