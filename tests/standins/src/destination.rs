//! Lambda's on-failure destination: the report of an event that Lambda gave up on, and its way through SNS and SQS.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>,
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-sqs-as-subscriber.html>,
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::lambda_api::FUNCTION_ARN;
use crate::runtime_api::{Invocation, Outcome};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:agent-trigger-failures";
const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:agent-trigger-settle";

/// Builds Lambda's report of an event after this many attempts, the last of which had this outcome.
pub fn report(invocation: &Invocation, attempts: u32, last: &Outcome) -> Value {
    let request_id = &invocation.request_id;
    let payload = match last {
        Outcome::FunctionError { posted, .. } => posted.clone(),
        Outcome::Success(value) => value.clone(),
        Outcome::Died => json!({"errorType": "Runtime.ExitError",
            "errorMessage": format!("RequestId: {request_id} Error: Runtime exited with error: signal: killed")}),
        Outcome::TimedOut => json!({"errorType": "Sandbox.Timedout",
            "errorMessage": format!("RequestId: {request_id} Error: Task timed out after 900.00 seconds")}),
    };
    let mut report = record(invocation, attempts, "RetriesExhausted");
    report["responseContext"] = json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"});
    report["responsePayload"] = payload;
    report
}

/// Builds Lambda's report of an event that it could not run in time.
pub fn report_of_age(invocation: &Invocation) -> Value {
    record(invocation, 0, "EventAgeExceeded")
}

fn record(invocation: &Invocation, attempts: u32, condition: &str) -> Value {
    let payload: Value = serde_json::from_slice(&invocation.payload).unwrap_or(Value::Null);
    json!({"version": "1.0", "timestamp": timestamp(), "requestPayload": payload,
        "requestContext": {"requestId": invocation.request_id, "functionArn": format!("{FUNCTION_ARN}:$LATEST"),
            "condition": condition, "approximateInvokeCount": attempts}})
}

/// Wraps the message in the envelope that SNS puts around it unless raw message delivery is on.
pub fn notification(message: &str) -> String {
    let id = uuid::Uuid::new_v4().to_string();
    json!({"Type": "Notification", "MessageId": id, "TopicArn": TOPIC, "Message": message, "Timestamp": timestamp(),
        "SignatureVersion": "1", "Signature": "c3RhbmRpbg==",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-standin.pem",
        "UnsubscribeURL": format!("https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={TOPIC}:{id}")})
    .to_string()
}

/// Builds the batch in which SQS delivers these bodies, each with its message id.
pub fn sqs_batch<'a>(messages: impl IntoIterator<Item = (&'a str, &'a str)>) -> Invocation {
    let record = |(id, body): (&str, &str)| {
        json!({"messageId": id, "receiptHandle": format!("receipt-of-{id}"), "body": body, "messageAttributes": {},
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183",
                "SenderId": "AIDAIT2UOQQY3AUEKVGXU", "ApproximateFirstReceiveTimestamp": "1545082649185"},
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3", "eventSource": "aws:sqs", "eventSourceARN": QUEUE,
            "awsRegion": "us-east-1"})
    };
    let records: Vec<_> = messages.into_iter().map(record).collect();
    Invocation::event(&json!({ "Records": records }))
}

/// Returns the ids of the messages that the function wants to be delivered again.
///
/// # Panics
/// If the outcome is not what Lambda expects from a function that reports failed items: it would then deliver the whole
/// batch again.
pub fn failed_messages(outcome: &Outcome) -> Vec<String> {
    let Outcome::Success(response) = outcome else { panic!("the batch failed as a whole: {outcome:?}") };
    let failures = response["batchItemFailures"].as_array();
    let failures = failures.unwrap_or_else(|| panic!("no batchItemFailures in {response}"));
    let id = |failure: &Value| failure["itemIdentifier"].as_str().map(str::to_owned);
    failures.iter().map(|failure| id(failure).unwrap_or_else(|| panic!("no itemIdentifier in {failure}"))).collect()
}

/// Returns the present time as AWS writes it.
pub(crate) fn timestamp() -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since_epoch.as_secs() / 86_400, since_epoch.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let millis = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Returns the date this many days after 1970-01-01
/// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year_of_era + era * 400 + carry, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, date) in [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (11_016, (2000, 2, 29)), (20_484, (2026, 1, 31))] {
            assert_eq!(civil(days), date);
        }
    }
}
