//! The table's stream as a pipe reads it.

use dynoxide::Database;
use serde_json::{Value, json};

use crate::dynamodb::{TABLE, parse, render};

/// The stream's ARN, as a pipe's records name it.
pub const STREAM_ARN: &str =
    "arn:aws:dynamodb:us-east-1:123456789012:table/standin-triggers/stream/2026-01-01T00:00:00.000";

/// A reader of the table's changes, in the order in which they were made.
pub struct Changes {
    database: Database,
    position: Option<String>,
}

impl Changes {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, position: None }
    }

    /// Returns the changes since the last call, up to 1000 of them, in the form in which EventBridge Pipes get them
    /// (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-dynamodb.html>); none if there is no table.
    pub fn next_page(&mut self) -> Vec<Value> {
        let Some(position) = self.position.take().or_else(|| self.beginning()) else { return Vec::new() };
        let Ok(page) = self.database.get_records(parse(json!({"ShardIterator": position}))) else { return Vec::new() };
        let page = render(&page);
        self.position = page["NextShardIterator"].as_str().map(str::to_owned);
        let Value::Array(mut records) = page["Records"].clone() else { return Vec::new() };
        // DynamoDB does not report a write that changes nothing, but dynoxide does.
        records.retain(|record| record["dynamodb"]["NewImage"] != record["dynamodb"]["OldImage"]);
        for record in &mut records {
            record["awsRegion"] = "us-east-1".into();
            record["eventSourceARN"] = STREAM_ARN.into();
        }
        records
    }

    fn beginning(&self) -> Option<String> {
        let streams = render(&self.database.list_streams(parse(json!({"TableName": TABLE}))).ok()?);
        let stream = &streams["Streams"][0]["StreamArn"];
        let described = render(&self.database.describe_stream(parse(json!({"StreamArn": stream}))).ok()?);
        let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
        let request = json!({"StreamArn": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        self.database.get_shard_iterator(parse(request)).ok()?.shard_iterator
    }
}
