//! People and programs at a gateway through an OpenID provider that nobody here wrote: a browser
//! with its cookies, over HTTPS, and a program with its token. The provider changes its keys and
//! its way to sign, and dies.
//!
//! Deliberately absent: how the provider is installed; see `judges/openid.sh`.

#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON value gives null where nothing is, it cannot panic"
)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::http::Request;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::authority::Authority;
use crate::child::Program;
use crate::clock::wait_for;
use crate::given::Judges;
use crate::out::{result, say};
use crate::ports;
use crate::programs::Programs;
use crate::visit::Stage;

/// How long programs may take to come up, or to notice what changed.
const LIMIT: Duration = Duration::from_secs(60);
/// Most pages on the way from the gateway to the provider and back.
const HOPS_MAX: usize = 12;
const AUDIENCE: &str = "https://gateway.example/fhir";
const ELSEWHERE: &str = "https://elsewhere.example";
const SECRET: &str = "a secret: 100% of the rig";

/// Gateway, provider, and what trusts both.
struct Field<'o> {
    options: &'o Judges,
    stage: Stage,
    port: u16,
    agent: ureq::Agent,
}

/// Lets everybody log in, changes the keys and kills the provider. `true` when all is as it
/// must be.
pub(crate) fn run(options: &Judges) -> anyhow::Result<bool> {
    let programs = Programs::prepare(options.programs.as_deref())?;
    let folder = tempfile::tempdir().context("no temporary folder can be had")?;
    let mut stage = Stage::set(folder.path(), programs)?;
    let (port, ca) = (ports::free()?, vouch(folder.path())?);
    stage.configure_gateway(&config(&stage, port, folder.path()))?;
    let gateway = stage.start_gateway()?;
    let field = Field {
        options,
        agent: agent(&[ca, stage.authority()])?,
        stage,
        port,
    };

    let provider = field.start_provider("one", "RS256")?;
    ensure!(
        field.browser("alice")? == Ok("nurse".to_owned()),
        "alice is not let in"
    );
    ensure!(field.browser("bob")? == Err(403), "bob is let in");
    let token = field.token(AUDIENCE)?;
    ensure!(field.presents(&token)? == 200, "the program is not let in");
    ensure!(
        field.presents(&field.token(ELSEWHERE)?)? == 401,
        "a token for others is believed"
    );
    say("logged in: a person, signed with RS256, and a program, with ES256");

    drop(provider);
    let mut provider = field.start_provider("two", "EdDSA")?;
    let newer = field.token(AUDIENCE)?;
    wait_for("the new keys to be known", LIMIT, || {
        Ok((field.presents(&newer)? == 200).then_some(()))
    })?;
    ensure!(
        field.presents(&token)? == 401,
        "a key that was withdrawn is believed"
    );
    ensure!(
        field.browser("alice")? == Ok("nurse".to_owned()),
        "alice is not let in again"
    );
    say("keys changed: the person signed with EdDSA");

    let away = field.leave()?;
    provider.kill()?;
    ensure!(
        field.come_back(&away)? == 503,
        "a dead provider is not noticed"
    );
    ensure!(
        field.presents(&newer)? == 200,
        "a token that can be checked is not believed"
    );
    field.local_account()?;
    let denied = field.denied()?;
    // Bob, the token for others, the withdrawn key and the dead provider at least.
    ensure!(denied >= 4, "only {denied} refusals are written down");
    drop(gateway);
    result(format!(
        "refused       {denied} attempts, each written down"
    ));
    result("verdict       who the provider vouches for has what is granted, and nobody else");
    Ok(true)
}

/// Makes the provider's certificate; gives the file of its authority.
fn vouch(folder: &Path) -> anyhow::Result<PathBuf> {
    let authority = Authority::new("an OpenID provider's authority")?;
    let identity = authority.server("localhost")?;
    let ca = folder.join("provider-ca.pem");
    for (name, text) in [
        ("provider-ca.pem", authority.pem()),
        ("provider.pem", &identity.certificate),
        ("provider.key", &identity.key),
        ("provider.secret", SECRET),
    ] {
        std::fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(ca)
}

fn config(stage: &Stage, port: u16, folder: &Path) -> String {
    format!(
        "[access.openid]\nissuer = \"https://localhost:{port}\"\nclient_id = \"cardio-gateway\"\n\
         redirect = \"{address}/session/openid/back\"\nca = \"{folder}/provider-ca.pem\"\n\
         client_secret_file = \"{folder}/provider.secret\"\n\
         [access.openid.bearer]\naudience = \"{AUDIENCE}\"\nclients = [\"dispatch\"]\n\
         [[access.openid.grant]]\nclaim = \"groups\"\nvalue = \"nurses of a\"\nrole = \"nurse\"\n\
         teams = [\"Organization/team-a\"]\n",
        address = stage.address(),
        folder = folder.display(),
    )
}

fn agent(authorities: &[PathBuf]) -> anyhow::Result<ureq::Agent> {
    let mut roots = Vec::new();
    for path in authorities {
        let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        roots.push(Certificate::from_pem(&pem).context("an authority is not PEM")?);
    }
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots));
    let config = ureq::Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(Duration::from_secs(30)))
        .build();
    Ok(config.into())
}

/// An answer to a browser.
struct Page {
    status: u16,
    leads: Option<String>,
    text: String,
}

/// A browser: the cookies of each address, by name.
#[derive(Default)]
struct Jar(BTreeMap<(String, String), String>);

impl Jar {
    fn of(&self, origin: &str) -> String {
        let own = self.0.iter().filter(|((of, _), _)| of == origin);
        let own = own.map(|((_, name), value)| format!("{name}={value}"));
        own.collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, origin: &str, cookie: &str) {
        let pair = cookie.split(';').next().unwrap_or_default();
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = (origin.to_owned(), name.trim().to_owned());
        match value.is_empty() || cookie.contains("Max-Age=0") {
            true => drop(self.0.remove(&key)),
            false => drop(self.0.insert(key, value.to_owned())),
        }
    }
}

/// Scheme, host and port of an address.
fn origin(address: &str) -> String {
    address.split('/').take(3).collect::<Vec<_>>().join("/")
}

impl Field<'_> {
    fn start_provider(&self, kid: &str, algorithm: &str) -> anyhow::Result<Program> {
        let mut command = Command::new("node");
        command.arg(self.options.judges.join("provider.mjs"));
        command.arg(&self.options.installed);
        command.arg(self.port.to_string());
        for name in ["provider.pem", "provider.key"] {
            command.arg(self.stage.folder().join(name));
        }
        command.args([&self.stage.address(), kid, algorithm]);
        let mut program = Program::start("provider", command, self.stage.folder())?;
        let place = format!(
            "https://localhost:{}/.well-known/openid-configuration",
            self.port
        );
        wait_for("the provider to listen", LIMIT, || {
            program.must_run()?;
            let answer = self.agent.get(&place).call();
            Ok(answer
                .is_ok_and(|answer| answer.status() == 200)
                .then_some(()))
        })?;
        Ok(program)
    }

    /// One request of a browser; a form is sent as its fields.
    fn ask(&self, jar: &mut Jar, address: &str, form: Option<&str>) -> anyhow::Result<Page> {
        let own = origin(address);
        let request = Request::builder()
            .uri(address)
            .header("Cookie", jar.of(&own));
        let answer = match form {
            None => self.agent.run(request.method("GET").body(())?),
            Some(form) => {
                let kind = "application/x-www-form-urlencoded";
                let request = request.method("POST").header("Content-Type", kind);
                let request = request.header("Origin", &own);
                self.agent.run(request.body(form.to_owned())?)
            }
        };
        let mut answer = answer.with_context(|| format!("{own} does not answer"))?;
        for cookie in answer.headers().get_all("Set-Cookie") {
            jar.keep(&own, cookie.to_str().unwrap_or_default());
        }
        let leads = answer.headers().get("Location");
        let leads = leads.and_then(|leads| leads.to_str().ok());
        let leads = leads.map(|leads| match leads.starts_with('/') {
            true => format!("{own}{leads}"),
            false => leads.to_owned(),
        });
        Ok(Page {
            status: answer.status().as_u16(),
            leads,
            text: answer
                .body_mut()
                .read_to_string()
                .context("a page breaks off")?,
        })
    }

    /// Logs a person in as their browser does it, form by form; their role, or the status that
    /// the gateway answers with in the end.
    fn browser(&self, name: &str) -> anyhow::Result<Result<String, u16>> {
        let (mut jar, gateway) = (Jar::default(), self.stage.address());
        let mut address = format!("{gateway}/session/openid");
        let mut form = None;
        for _ in 0..HOPS_MAX {
            let page = self.ask(&mut jar, &address, form.take().as_deref())?;
            if let Some(leads) = page.leads {
                address = leads;
                continue;
            }
            if origin(&address) == gateway {
                if page.status != 200 {
                    return Ok(Err(page.status));
                }
                let shown = self.ask(&mut jar, &format!("{gateway}/session"), None)?;
                let shown: Value = serde_json::from_str(&shown.text).context("no session")?;
                ensure!(
                    shown["account"] == format!("openid:{name}"),
                    "it is of {shown}"
                );
                let read = self.ask(&mut jar, &format!("{gateway}/fhir/Patient"), None)?;
                ensure!(read.status == 200, "the record answers {}", read.status);
                return Ok(Ok(shown["role"].as_str().unwrap_or_default().to_owned()));
            }
            let action = between(&page.text, "action=\"", "\"");
            let action = action.with_context(|| format!("no form: {}", page.text))?;
            address = match action.starts_with('/') {
                true => format!("{}{action}", origin(&address)),
                false => action.to_owned(),
            };
            let is_log_in = page.text.contains("name=\"password\"");
            form = Some(match is_log_in {
                true => format!("prompt=login&login={name}&password=any"),
                false => "prompt=consent".to_owned(),
            });
        }
        bail!(
            "{name} is sent from page to page, last to {}",
            origin(&address)
        );
    }

    /// A token of the program for somebody.
    fn token(&self, audience: &str) -> anyhow::Result<String> {
        let basic = STANDARD.encode("dispatch:of-the-program");
        let answer = self
            .agent
            .post(format!("https://localhost:{}/token", self.port))
            .header("Authorization", format!("Basic {basic}"))
            .send_form([("grant_type", "client_credentials"), ("resource", audience)]);
        let mut answer = answer.context("the provider gives no token")?;
        let text = answer
            .body_mut()
            .read_to_string()
            .context("an answer breaks off")?;
        let said: Value = serde_json::from_str(&text).context("the answer is no JSON")?;
        let token = said["access_token"].as_str();
        token
            .map(str::to_owned)
            .with_context(|| format!("no token: {said}"))
    }

    /// What the record answers to who presents a token, once it does not ask to wait: whoever
    /// presents what is not believed is slowed down.
    fn presents(&self, token: &str) -> anyhow::Result<u16> {
        let address = format!("{}/Patient", self.stage.fhir_base());
        wait_for("an answer to a token", LIMIT, || {
            let request = self.agent.get(&address);
            let request = request.header("Authorization", format!("Bearer {token}"));
            let status = request
                .call()
                .context("the gateway does not answer")?
                .status();
            Ok(Some(status.as_u16()).filter(|status| *status != 429))
        })
    }

    /// A browser is sent away; its cookies, and where it comes back to, with a code that nobody
    /// gave.
    fn leave(&self) -> anyhow::Result<(Jar, String)> {
        let (mut jar, gateway) = (Jar::default(), self.stage.address());
        let page = self.ask(&mut jar, &format!("{gateway}/session/openid"), None)?;
        let leads = page
            .leads
            .context("the gateway sends nobody to the provider")?;
        let state = between(&leads, "state=", "&").context("no state")?;
        let back = format!(
            "{gateway}/session/openid/back?code=x&state={state}&iss=https%3A%2F%2Flocalhost%3A{}",
            self.port
        );
        Ok((jar, back))
    }

    fn come_back(&self, (jar, back): &(Jar, String)) -> anyhow::Result<u16> {
        let mut jar = Jar(jar.0.clone());
        Ok(self.ask(&mut jar, back, None)?.status)
    }

    /// A local account is made and logs in.
    fn local_account(&self) -> anyhow::Result<()> {
        let password = "a password of the rig";
        let verb = ["accounts", "add", "local", "--role", "technician"];
        let mut adding = self.stage.gateway_does(&verb);
        let mut adding = adding.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut input = adding.stdin.take().context("no way to tell a password")?;
        writeln!(input, "{password}").context("cannot tell a password")?;
        drop(input);
        ensure!(adding.wait()?.success(), "no local account can be made");
        let said = serde_json::json!({"account": "local", "password": password});
        let request = self.agent.post(format!("{}/session", self.stage.address()));
        let request = request.header("Content-Type", "application/json");
        let answer = request.send(said.to_string()).context("no answer")?;
        ensure!(answer.status() == 200, "a local account cannot log in");
        Ok(())
    }

    /// How many refusals are written down, in a trace that is whole.
    fn denied(&self) -> anyhow::Result<usize> {
        let verified = self.stage.gateway_does(&["audit", "verify"]).output();
        ensure!(verified?.status.success(), "the trace is not whole");
        let denied = self
            .stage
            .record()?
            .search("AuditEvent?outcome=8&_count=100")?;
        Ok(denied.len())
    }
}

/// What stands between two texts, first.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split(after).next().unwrap_or(rest))
}
