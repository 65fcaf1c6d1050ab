//! What each role may do: one table.
//!
//! Deliberately absent: which patients somebody sees ([`crate::record::Scope`]).

use serde::{Deserialize, Serialize};

/// Something that one may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Read devices, organizations and professionals.
    ReadDirectory,
    /// Read what is about patients of the scope.
    ReadRecord,
    /// Write patients, requests, consents and files within the scope.
    WriteRecord,
    /// Take alerts on and close them.
    TakeAlerts,
    /// Conclude on an exam and sign its report.
    SignReports,
    /// Write the directory, and make one record of two.
    Administer,
    /// Read who did what.
    Audit,
}

/// What an account is to the team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Visits patients.
    Nurse,
    /// Reads and judges recordings.
    Cardiologist,
    /// Looks after the equipment.
    Technician,
    /// Looks after accounts, identities and the trace of who did what.
    Admin,
    /// Who holds the token of the key folder; no account has this role.
    Gateway,
}

use Permission::{
    Administer, Audit, ReadDirectory, ReadRecord, SignReports, TakeAlerts, WriteRecord,
};

/// The table.
const TABLE: [(Role, &str, &[Permission]); 5] = [
    (
        Role::Nurse,
        "nurse",
        &[ReadDirectory, ReadRecord, WriteRecord],
    ),
    (
        Role::Cardiologist,
        "cardiologist",
        &[
            ReadDirectory,
            ReadRecord,
            WriteRecord,
            TakeAlerts,
            SignReports,
        ],
    ),
    (Role::Technician, "technician", &[ReadDirectory]),
    (Role::Admin, "admin", &[ReadDirectory, Administer, Audit]),
    (
        Role::Gateway,
        "gateway",
        &[
            ReadDirectory,
            ReadRecord,
            WriteRecord,
            TakeAlerts,
            Administer,
            Audit,
        ],
    ),
];

impl Role {
    /// The roles that an account may have.
    pub const OF_ACCOUNTS: [Self; 4] = [
        Self::Nurse,
        Self::Cardiologist,
        Self::Technician,
        Self::Admin,
    ];

    fn row(self) -> (&'static str, &'static [Permission]) {
        let row = TABLE.iter().find(|(role, ..)| *role == self);
        row.map_or(("", &[]), |(_, name, permissions)| (*name, *permissions))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Whether it may do something.
    pub fn may(self, permission: Permission) -> bool {
        self.row().1.contains(&permission)
    }

    /// Whether it may do nothing that the other may not.
    pub fn is_within(self, other: Self) -> bool {
        self.row().1.iter().all(|permission| other.may(*permission))
    }

    /// The role of an account by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::OF_ACCOUNTS
            .into_iter()
            .find(|role| role.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Permission, Role, TABLE};

    #[test]
    fn every_role_stands_in_the_table_once_under_its_own_name() {
        for role in Role::OF_ACCOUNTS.into_iter().chain([Role::Gateway]) {
            assert_eq!(TABLE.iter().filter(|row| row.0 == role).count(), 1);
        }
        assert_eq!(Role::from_name("nurse"), Some(Role::Nurse));
        assert_eq!(Role::from_name("gateway"), None);
    }

    #[test]
    fn who_looks_after_things_reads_no_patient() {
        for role in [Role::Technician, Role::Admin] {
            assert!(!role.may(Permission::ReadRecord), "{role:?}");
            assert!(!role.may(Permission::WriteRecord), "{role:?}");
        }
        let signs = Role::OF_ACCOUNTS.map(|role| role.may(Permission::SignReports));
        assert_eq!(
            signs.iter().filter(|signs| **signs).count(),
            1,
            "doctors only"
        );
        assert!(Role::Technician.is_within(Role::Nurse));
        assert!(!Role::Nurse.is_within(Role::Admin));
    }
}
