//! `enrol`: makes this box known to a gateway, with the claim code that its operator gave.

use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use cardio_wire::enrol::{ClaimCode, Scan};
use zeroize::Zeroizing;

use super::{ConfigArg, Failure, out};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::enrolment::request::{Enrolling, Invitation, Progress, RequestError};
use crate::hygiene;

/// Longest line that holds a code.
const LINE_MAX_BYTES: u64 = 4096;
const ASK_EVERY: Duration = Duration::from_secs(2);
/// It works, and is not done: an operator has to decide.
const PENDING: u8 = 1;
const REFUSED: u8 = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Where the gateway enrols boxes.
    #[arg(long, value_name = "HOST:PORT", requires_all = ["ca_sha256", "code"])]
    gateway: Option<String>,
    /// SHA-256 of its authority's certificate.
    #[arg(long, value_name = "HEX", requires_all = ["gateway", "code"])]
    ca_sha256: Option<String>,
    /// The claim code; `-` reads it from standard input, where no list of processes shows it.
    #[arg(long, requires_all = ["gateway", "ca_sha256"])]
    code: Option<String>,
    /// All three, as scanned from the QR code; `-` reads them from standard input. Without any of
    /// them, what was begun goes on.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["gateway", "ca_sha256", "code"])]
    qr: Option<String>,
    /// Show the words and end; the same command without a code goes on later.
    #[arg(long)]
    no_wait: bool,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    hygiene::close_leaks()?;
    let config = Config::load(&args.config.config)?;
    let path = config.site.enrolment_file();
    if let Some(folder) = path.parent() {
        crate::service::make_state(folder)?;
    }
    let clock = Arc::new(SystemClock::open().map_err(|err| Failure::new(&err, err.code()))?);
    let enrolling = match invitation(args)? {
        Some(invitation) => Enrolling::begin(&path, &invitation, clock)?,
        None => Enrolling::open(&path, clock)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(until_decided(enrolling, args.no_wait))
}

fn invitation(args: &Args) -> Result<Option<Invitation>, Failure> {
    let unreadable = |err| Failure::from(RequestError::Unreadable(err));
    if let Some(text) = &args.qr {
        let scan: Scan = secret(text, std::io::stdin().lock())?
            .parse()
            .map_err(unreadable)?;
        return Ok(Some(Invitation {
            address: scan.address,
            authority: scan.authority,
            code: scan.code,
        }));
    }
    let (Some(address), Some(authority), Some(code)) = (&args.gateway, &args.ca_sha256, &args.code)
    else {
        return Ok(None);
    };
    let code: ClaimCode = secret(code, std::io::stdin().lock())?
        .parse()
        .map_err(unreadable)?;
    Ok(Some(Invitation {
        address: address.clone(),
        authority: authority.to_lowercase(),
        code,
    }))
}

/// What was given, or the line that `-` stands for.
fn secret(given: &str, input: impl BufRead) -> Result<Zeroizing<String>, Failure> {
    if given != "-" {
        return Ok(Zeroizing::new(given.to_owned()));
    }
    let mut line = Zeroizing::new(String::new());
    input.take(LINE_MAX_BYTES).read_line(&mut line)?;
    Ok(Zeroizing::new(line.trim().to_owned()))
}

async fn until_decided(mut enrolling: Enrolling, no_wait: bool) -> Result<u8, Failure> {
    let mut shown = None;
    loop {
        let progress = match enrolling.step().await {
            // the words stand; the gateway may be back in a moment
            Err(err) if err.is_retryable() && shown.is_some() => {
                tokio::time::sleep(ASK_EVERY).await;
                continue;
            }
            progress => progress?,
        };
        match progress {
            Progress::Enrolled { name } => {
                out::text(&format!("ENROLLED   box {name}\n"))?;
                return Ok(0);
            }
            Progress::Refused => {
                out::text("REFUSED   the operator refused; nothing of it is left\n")?;
                return Ok(REFUSED);
            }
            Progress::Pending { words } => {
                if shown.as_ref() != Some(&words) {
                    out::text(&format!(
                        "PENDING   {words}\n\
                         fr: lisez ces six mots à l'opérateur de la passerelle ; \
                         il confirme s'il voit les mêmes\n\
                         en: read these six words to the operator of the gateway, \
                         who confirms if they are the same\n"
                    ))?;
                    shown = Some(words);
                }
                if no_wait {
                    return Ok(PENDING);
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::secret;

    #[test]
    fn a_dash_stands_for_the_line_that_follows_on_standard_input() {
        let read = |given: &str| {
            secret(given, &b" ABCD-EFGH \nmore\n"[..])
                .unwrap()
                .to_string()
        };
        assert_eq!(read("-"), "ABCD-EFGH");
        assert_eq!(read("WXYZ"), "WXYZ");
    }
}
