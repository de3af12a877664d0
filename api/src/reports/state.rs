//! The shared handles that every report borrows: the table and the settle queue.

use std::sync::Arc;

use agent_trigger::{
    clients::{credentials::sdk_config, http::AwsClient, sigv4::Signer, sqs::SettleQueue},
    store::Store,
};

use crate::reports::settings::ReportSettings;

/// The services.
#[derive(Debug)]
pub struct Reports {
    /// The table.
    pub store: Store,
    /// The queue for the looks that follow ends.
    pub looks: SettleQueue,
}

impl Reports {
    /// Builds the handles. It sends no request yet.
    ///
    /// # Errors
    /// Returns an error if `SETTLE_QUEUE_URL` is no URL.
    pub async fn new(settings: ReportSettings, client: AwsClient) -> Result<Self, String> {
        let queue = settings.settle_queue.as_deref().map(str::parse).transpose();
        let queue = queue.map_err(|error| format!("SETTLE_QUEUE_URL is no URL: {error}"))?;
        let aws = sdk_config(&settings.region, client.clone()).await;
        let signer = Arc::new(Signer::new(&aws));
        Ok(Self {
            looks: SettleQueue::new(queue, &settings.region, client, signer),
            store: Store::new(&aws, settings.table_name),
        })
    }
}
