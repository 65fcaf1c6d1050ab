//! Accounts of the provider as they are stored, beside the local ones.

use cardio_core::clock::UtcMicros;

use crate::access::rows::{add, put_teams};
use crate::access::{AccessError, NewAccount};
use crate::db::{Connection, DbError, values};

/// Whom a provider vouches for.
#[derive(Clone, Debug)]
pub(super) struct Vouched {
    /// The account as its claims grant it.
    pub(super) account: NewAccount,
    /// The provider.
    pub(super) issuer: String,
    /// Whom it knows them as.
    pub(super) subject: String,
}

impl Vouched {
    fn unknown(&self) -> AccessError {
        AccessError::Unknown {
            name: self.account.name.clone(),
        }
    }

    fn taken(&self) -> AccessError {
        AccessError::Taken {
            name: self.account.name.clone(),
        }
    }
}

/// What is known of an account's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is open, and of this subject.
    Open,
    /// It is shut.
    Shut,
    /// It is somebody else's: of another provider's subject.
    Foreign,
    /// Nobody has it.
    Absent,
}

/// How an account stands.
pub(super) fn standing(c: &Connection, of: &Vouched) -> Result<Standing, DbError> {
    let row = c.row(
        "look for an account of the provider",
        "SELECT issuer, subject, disabled_us FROM accounts WHERE name = ?1",
        values![of.account.name],
    )?;
    let Some(mut row) = row else {
        return Ok(Standing::Absent);
    };
    let (issuer, subject): (Option<String>, Option<String>) = (row.take(0)?, row.take(1)?);
    let shut: Option<UtcMicros> = row.take(2)?;
    let is_same = issuer.as_ref() == Some(&of.issuer) && subject.as_ref() == Some(&of.subject);
    Ok(match (is_same, shut) {
        (false, _) => Standing::Foreign,
        (true, Some(_)) => Standing::Shut,
        (true, None) => Standing::Open,
    })
}

/// Writes an account down as it is granted now, unless it is shut or somebody else's.
pub(super) fn write(
    tx: &Connection,
    of: &Vouched,
    now: UtcMicros,
) -> Result<Result<(), AccessError>, DbError> {
    let account = &of.account;
    match standing(tx, of)? {
        Standing::Shut => return Ok(Err(of.unknown())),
        Standing::Foreign => return Ok(Err(of.taken())),
        Standing::Absent => {
            if let Err(error) = add(tx, account, now)? {
                return Ok(Err(error));
            }
        }
        Standing::Open => {
            let gone = "DELETE FROM account_teams WHERE account = ?1";
            tx.execute("renew the teams of an account", gone, values![account.name])?;
            put_teams(tx, account)?;
        }
    }
    tx.execute(
        "write down an account of the provider",
        "UPDATE accounts SET role = ?2, practitioner = ?3, everything = ?4, issuer = ?5,
         subject = ?6 WHERE name = ?1",
        values![
            account.name,
            account.role.name(),
            account.practitioner,
            account.all_patients,
            of.issuer,
            of.subject
        ],
    )?;
    Ok(Ok(()))
}
