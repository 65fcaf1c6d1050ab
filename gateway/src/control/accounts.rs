//! Accounts, as the operator makes and shuts them.

use serde_json::{Value, json};

use super::{Control, Refused};
use crate::access::{AccessError, NewAccount, Role, Secret};

fn refused(error: &AccessError) -> Refused {
    Refused::of(error, error.code())
}

fn done(name: &str) -> Value {
    json!({"schema": "account/1", "name": name})
}

impl Control {
    pub(super) async fn account_add(
        &self,
        account: NewAccount,
        password: Option<Secret>,
    ) -> Result<Value, Refused> {
        let name = account.name.clone();
        let added = self.access.add(account, password).await;
        added.map_err(|error| refused(&error))?;
        tracing::info!(event = "AccountAdded", account = name);
        Ok(done(&name))
    }

    pub(super) async fn accounts_list(&self) -> Result<Value, Refused> {
        let accounts = self.access.list().await;
        let accounts = accounts.map_err(|error| Refused::of(&error, error.code()))?;
        Ok(json!({"schema": "accounts/1", "accounts": accounts}))
    }

    pub(super) async fn account_shut(&self, name: &str, is_shut: bool) -> Result<Value, Refused> {
        let shut = self.access.shut(name.to_owned(), is_shut).await;
        shut.map_err(|error| refused(&error))?;
        tracing::info!(event = "AccountShut", account = name, is_shut);
        Ok(done(name))
    }

    pub(super) async fn account_password(
        &self,
        name: &str,
        password: Secret,
    ) -> Result<Value, Refused> {
        let set = self.access.set_password(name.to_owned(), password).await;
        set.map_err(|error| refused(&error))?;
        tracing::info!(event = "AccountPasswordSet", account = name);
        Ok(done(name))
    }

    pub(super) async fn account_token(
        &self,
        name: &str,
        label: &str,
        role: Option<Role>,
        days: u32,
    ) -> Result<Value, Refused> {
        let (name, label) = (name.to_owned(), label.to_owned());
        let made = self
            .access
            .add_token(name.clone(), label.clone(), role, days);
        let token = made.await.map_err(|error| refused(&error))?;
        tracing::info!(event = "AccountTokenMade", account = name, label);
        Ok(json!({
            "schema": "account-token/1", "name": name, "label": label, "token": token.text(),
        }))
    }

    pub(super) async fn account_revoke(&self, name: &str, label: &str) -> Result<Value, Refused> {
        let revoking = self.access.revoke_token(name.to_owned(), label.to_owned());
        revoking.await.map_err(|error| refused(&error))?;
        tracing::info!(event = "AccountTokenRevoked", account = name, label);
        Ok(done(name))
    }
}
