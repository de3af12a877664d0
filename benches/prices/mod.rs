//! AWS's prices, and the size of an item as DynamoDB bills it.

use serde_json::Value;

/// The function's memory in GB.
pub(crate) const MEMORY_GB: f64 = 0.25;
/// The number of runs that each table is about.
pub(crate) const RUNS: f64 = 1000.0;
/// The assumed length of a final answer, in bytes.
pub(crate) const ANSWER: usize = 2 * 1024;

/// Prices in dollars for us-east-1, as AWS published them in 2025 on the pages named at each constant. They were taken
/// from pages that quote AWS: Lambda from <https://cloudchipr.com/blog/aws-lambda-pricing>, DynamoDB from
/// <https://airbyte.com/data-engineering-resources/dynamodb-pricing> (21 July 2025), Cognito from
/// <https://cur.vantage-api.com/aws/amazoncognito/user-pools-m2m/cupm2mtokenrequestsfull> (27 April 2025).
pub(crate) mod price {
    /// A GB-second on arm64 (<https://aws.amazon.com/lambda/pricing/>).
    pub(crate) const LAMBDA_SECOND: f64 = 0.000_013_333_4;
    /// An invocation (the same page).
    pub(crate) const LAMBDA_REQUEST: f64 = 0.20e-6;
    /// A write request unit on demand (<https://aws.amazon.com/dynamodb/pricing/on-demand/>, since November 2024).
    pub(crate) const WRITE_UNIT: f64 = 0.625e-6;
    /// A read request unit on demand (the same page).
    pub(crate) const READ_UNIT: f64 = 0.125e-6;
    /// A client-credentials token (<https://aws.amazon.com/cognito/pricing/>, first tier).
    pub(crate) const TOKEN: f64 = 2.25e-3;
}

/// Returns the write request units of an item.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
pub(crate) fn write_units(item: &Value) -> u32 {
    let names_and_values = item.as_object().into_iter().flatten().map(|(name, value)| name.len() + size(value));
    u32::try_from(names_and_values.sum::<usize>().div_ceil(1024)).unwrap_or(u32::MAX)
}

fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        // DynamoDB counts one byte for every two digits, and one more.
        Value::Number(number) => number.to_string().len().div_ceil(2) + 1,
        Value::Bool(_) | Value::Null => 1,
        Value::Array(values) => 3 + values.iter().map(|value| 1 + size(value)).sum::<usize>(),
        Value::Object(members) => 3 + members.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>(),
    }
}
