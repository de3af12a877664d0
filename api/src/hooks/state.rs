//! The shared handles of the hooks surface, and what it reads of a hook before it looks at a delivery.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use agent_trigger::{
    clients::{credentials::sdk_config, http::AwsClient, lambda::Dispatcher},
    config::Secret,
    error_chain::chain,
    store::error::StoreError,
};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    clients::ssm::{SecretError, SecretStore},
    error::ApiError,
    hooks::{
        event::Receiver,
        manners::Manners,
        receipts::Receipts,
        scheme::Scheme,
        secrets::Secrets,
        settings::HookSettings,
        webhook::{Webhook, is_address, live_versions},
    },
    store::{
        Items,
        hooks::{Found, Pointer},
        triggers::is_tombstone,
    },
};

/// The id of the stack's own GitHub webhook, which belongs to no trigger. No hook of a trigger has such an id.
pub const GITHUB_HOOK: &str = "github";
/// The most hooks whose full minute is remembered.
const MOST_FULL: usize = 1_000;

/// The settings and the services.
#[derive(Debug)]
pub struct Hooks {
    /// The settings.
    pub settings: HookSettings,
    /// The table.
    pub items: Items,
    /// The client that invokes the run function.
    pub dispatcher: Dispatcher,
    /// The receipts of refusals.
    pub receipts: Receipts,
    secrets: Secrets,
    /// The hooks whose count of a minute is full, so that further deliveries of it need no write.
    full: Mutex<HashMap<String, i64>>,
}

/// A hook as it stands.
#[derive(Debug)]
pub struct Hook {
    /// The id.
    pub id: String,
    /// Its trigger, unless it is the stack's own.
    pub pointer: Option<Pointer>,
    /// Its settings.
    pub webhook: Webhook,
    /// The versions of the secret that are live, the present one first. `None` is the newest one.
    versions: Vec<Option<i64>>,
}

/// The reason why an address has no hook that receives.
#[derive(Debug)]
pub enum NoHook {
    /// What the sender is told.
    Error(ApiError),
    /// What is needed of its settings is not understood. Holds the hook's id and its trigger's.
    Settings(String, String),
}

impl From<ApiError> for NoHook {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

impl Hook {
    /// Returns the receiver of its deliveries: its trigger, or for the stack's own all that are subscribed to GitHub.
    pub fn receiver(&self) -> Receiver<'_> {
        match &self.pointer {
            Some(Pointer { user_id, trigger_id }) => Receiver::Trigger { id: trigger_id, user_id },
            None => Receiver::GithubSubscribers,
        }
    }

    /// Returns the id of its trigger, or nothing for the stack's own.
    pub fn trigger_id(&self) -> Option<&str> {
        self.pointer.as_ref().map(|pointer| pointer.trigger_id.as_str())
    }
}

impl Hooks {
    /// Builds the handles. It sends no request yet.
    pub async fn new(settings: HookSettings, client: AwsClient) -> Self {
        let aws = sdk_config(&settings.region, client.clone()).await;
        Self {
            items: Items::new(&aws, settings.table_name.clone()).connected(),
            secrets: Secrets::new(SecretStore::new(&aws, &settings.secret_path)),
            dispatcher: Dispatcher::new(&aws, client),
            receipts: Receipts::default(),
            full: Mutex::default(),
            settings,
        }
    }

    /// Reads a hook by its id or its alias: the pointer, then its trigger, with the versions of its secret that are
    /// live at `now`. What is known by the id of a hook, such as its secret and the deliveries that were seen, is the
    /// same under both addresses.
    ///
    /// # Errors
    /// Returns [`ApiError::NotFound`] if there is none, [`ApiError::Gone`] if its trigger was deleted or gave up the
    /// alias, [`ApiError::Unavailable`] if the table refuses or does not answer, and [`NoHook::Settings`] if what is
    /// needed of its settings is not understood.
    pub async fn hook(&self, address: &str, now: Timestamp) -> Result<Hook, NoHook> {
        if !is_address(address) {
            return Err(ApiError::NotFound.into());
        }
        let found = self.items.hook(address).await.map_err(fault)?.ok_or(ApiError::NotFound)?;
        let Found { pointer, is_retired } = found;
        let item = self.items.trigger_of_hook(&pointer).await.map_err(fault)?.ok_or(ApiError::NotFound)?;
        if is_tombstone(&item) {
            return Err(ApiError::Gone.into());
        }
        let config = item.get("webhookConfig").and_then(Value::as_object).ok_or(ApiError::NotFound)?;
        let text = |name: &str| config.get(name).and_then(Value::as_str);
        // A pointer that is left over leads nowhere.
        let id = text("hookId").filter(|id| *id == address || text("alias") == Some(address));
        let id = id.ok_or(if is_retired { ApiError::Gone } else { ApiError::NotFound })?;
        let webhook = match Webhook::of_stored(config) {
            Ok(webhook) => webhook,
            Err(problems) => {
                let members: Vec<_> = problems.into_iter().map(|(name, _)| name).collect();
                tracing::error!(
                    triggerId = pointer.trigger_id,
                    ?members,
                    "the trigger's webhookConfig is not understood"
                );
                return Err(NoHook::Settings(id.to_owned(), pointer.trigger_id));
            }
        };
        let versions = live_versions(config, now).into_iter().map(Some).collect();
        Ok(Hook { id: id.to_owned(), pointer: Some(pointer), webhook, versions })
    }

    /// Returns the stack's own GitHub webhook, with its newest secret, no list of addresses and no rate. Nothing is
    /// read.
    pub fn github_hook(&self) -> Hook {
        let webhook =
            Webhook { scheme: Scheme::Github, manners: Manners::default(), allowed: Vec::new(), rate_per_minute: None };
        Hook { id: GITHUB_HOOK.to_owned(), pointer: None, webhook, versions: vec![None] }
    }

    /// Returns the present secret of a hook.
    ///
    /// # Errors
    /// Returns an error if it cannot be read. One that is missing is a fault of this side, and it may be on its way:
    /// the sender must try again. The stack's own webhook does not exist without a secret.
    pub async fn present_secret(&self, hook: &Hook) -> Result<Secret, ApiError> {
        let Some(version) = hook.versions.first() else {
            return Err(ApiError::Unavailable("the webhook has no secret yet; send again".to_owned()));
        };
        self.secrets.get(&hook.id, *version).await.map_err(|error| match error {
            SecretError::NotFound if hook.pointer.is_none() => ApiError::NotFound,
            error => {
                tracing::error!(triggerId = hook.trigger_id(), cause = %error, "the webhook's secret cannot be read");
                ApiError::Unavailable("the secret cannot be read; send again".to_owned())
            }
        })
    }

    /// Returns the secrets before the present one that are live at `now`, in seconds since 1970, as far as they can be
    /// read, and the error if one of them cannot. They are read at once, and only for a signature that the present one
    /// does not fit. A sender that has the present one does not wait for them. One that was deleted is live no longer.
    /// The stack's own webhook has one: the version before, for ten minutes.
    pub async fn earlier_secrets(&self, hook: &Hook, now: i64) -> (Vec<Secret>, Option<ApiError>) {
        let listed =
            hook.versions.iter().skip(1).map(async |version| self.secrets.get(&hook.id, *version).await.map(Some));
        let mut read = join_all(listed).await;
        if hook.pointer.is_none() {
            read.push(self.secrets.replaced(&hook.id, now).await);
        }
        let (mut secrets, mut fault) = (Vec::new(), None);
        for read in read {
            match read {
                Ok(secret) => secrets.extend(secret),
                Err(error) => {
                    tracing::warn!(triggerId = hook.trigger_id(), cause = %error, "a secret in its grace time cannot be read");
                    if error != SecretError::NotFound {
                        fault = Some(ApiError::Unavailable("the secret cannot be read; send again".to_owned()));
                    }
                }
            }
        }
        (secrets, fault)
    }

    /// Returns the secret that the stack's own webhook has by now, if it is another one than `tried`, which did not fit
    /// a signature. A trigger's item names its secret's versions, which never change, so its hook has no other: `None`.
    ///
    /// # Errors
    /// Returns an error if the secret cannot be read, because then nobody knows whether the signature is right, or if
    /// it was deleted.
    pub async fn other_secret(&self, hook: &Hook, tried: &Secret) -> Result<Option<Secret>, ApiError> {
        if hook.pointer.is_some() {
            return Ok(None);
        }
        self.secrets.other_than(&hook.id, tried).await.map_err(|error| match error {
            SecretError::NotFound => ApiError::NotFound,
            error => {
                tracing::error!(cause = %error, "the stack's GitHub secret cannot be read again");
                ApiError::Unavailable("the secret cannot be read; send again".to_owned())
            }
        })
    }

    /// Counts a delivery for the hook's rate of the minute of `now`. Returns the seconds until the next minute if there
    /// were too many in this one, and `None` otherwise. A full minute is remembered by the process, so that further
    /// deliveries need no write. Without a rate nothing is counted.
    ///
    /// # Errors
    /// Returns an error if the table refuses or does not answer.
    pub async fn count(&self, hook: &Hook, now: Timestamp) -> Result<Option<u64>, ApiError> {
        let Some(limit) = hook.webhook.rate_per_minute else { return Ok(None) };
        let minute = now.as_second() - now.as_second().rem_euclid(60);
        let wait = u64::try_from(minute + 60 - now.as_second()).unwrap_or(60).max(1);
        let full = || self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if full().get(&hook.id) == Some(&minute) {
            return Ok(Some(wait));
        }
        if self.items.count_rate(&hook.id, minute, limit).await.map_err(fault)? {
            return Ok(None);
        }
        let mut full = full();
        if full.len() >= MOST_FULL {
            full.clear();
        }
        full.insert(hook.id.clone(), minute);
        Ok(Some(wait))
    }
}

/// Returns the error for a sender whose delivery met a failure of the table, `Unavailable`, and logs the cause, which
/// the error does not hold. The sender tries again.
pub fn fault(error: StoreError) -> ApiError {
    tracing::error!(cause = %chain(&error), "the table failed");
    ApiError::Unavailable("the table does not answer; send again".to_owned())
}
