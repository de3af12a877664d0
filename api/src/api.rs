//! The shared handles that every request borrows: the settings and one client for each service.

use agent_trigger::clients::{credentials::sdk_config, http::AwsClient, lambda::Dispatcher};

use crate::{
    clients::{scheduler::Scheduler, ssm::SecretStore},
    settings::Settings,
    store::Items,
};

/// The settings and the services.
#[derive(Debug)]
pub struct Api {
    /// The settings.
    pub settings: Settings,
    /// The table.
    pub items: Items,
    /// EventBridge Scheduler.
    pub scheduler: Scheduler,
    /// The secrets of webhooks, if the hooks surface is deployed.
    pub secrets: Option<SecretStore>,
    /// The client that invokes the run function.
    pub dispatcher: Dispatcher,
}

impl Api {
    /// Builds the handles. It sends no request yet.
    pub async fn new(settings: Settings, client: AwsClient) -> Self {
        let aws = sdk_config(&settings.region, client.clone()).await;
        Self {
            items: Items::new(&aws, settings.table_name.clone()),
            scheduler: Scheduler::new(&aws, &settings),
            secrets: SecretStore::of_settings(&aws, &settings),
            dispatcher: Dispatcher::new(&aws, client),
            settings,
        }
    }
}
