//! The schema of an execution's record: each attribute's name and type are spelled here, and nowhere else.
//!
//! The function writes and reads [`ExecutionItem`]; `triggerctl` and the control plane read it. Expressions name
//! attributes by the constants. docs/records.md, The record, says what each attribute means, and
//! tests/it/store/record_schema.rs holds both against each other.
//!
//! The crate `serde_dynamo` is not used. It reads an item as a whole or not at all, so that one attribute of a strange
//! type would lose the record, and expressions would still have to spell the names a second time.

use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

/// A value of an item, as DynamoDB has it or as JSON. It reads as `None` if it is of another type than the one asked
/// for.
pub trait Stored: Sized {
    /// Returns a text, or `None` for another type.
    fn text(self) -> Option<String>;
    /// Returns a number, or `None` for another type and for a number that `N` cannot hold.
    fn number<N: FromStr>(self) -> Option<N>;
    /// Returns a boolean, or `None` for another type.
    fn flag(self) -> Option<bool>;
    /// Returns the members of a map, or `None` for another type.
    fn members(self) -> Option<impl IntoIterator<Item = (String, Self)>>;
}

impl Stored for AttributeValue {
    /// Returns the text of an `S`, or `None` for another type.
    fn text(self) -> Option<String> {
        if let Self::S(text) = self { Some(text) } else { None }
    }

    /// Returns the number of an `N`, or `None` for another type and for a number that does not fit the type asked for.
    fn number<N: FromStr>(self) -> Option<N> {
        self.as_n().ok()?.parse().ok()
    }

    /// Returns the flag of a `BOOL`, or `None` for another type.
    fn flag(self) -> Option<bool> {
        self.as_bool().ok().copied()
    }

    /// Returns the members of an `M`, or `None` for another type.
    fn members(self) -> Option<impl IntoIterator<Item = (String, Self)>> {
        if let Self::M(members) = self { Some(members) } else { None }
    }
}

impl Stored for Value {
    /// Returns the text of a string, or `None` for another type.
    fn text(self) -> Option<String> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// Returns a number, or `None` for another type and for a number that does not fit the type asked for.
    fn number<N: FromStr>(self) -> Option<N> {
        self.as_number()?.to_string().parse().ok()
    }

    /// Returns a boolean, or `None` for another type.
    fn flag(self) -> Option<bool> {
        self.as_bool()
    }

    /// Returns the members of an object, or `None` for another type.
    fn members(self) -> Option<impl IntoIterator<Item = (String, Self)>> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }
}

/// The type of an attribute.
trait Kind: Sized {
    /// DynamoDB's name of the type.
    const NAME: &'static str;

    /// Returns the value as this type, or `None` if it is of another one.
    fn read(value: impl Stored) -> Option<Self>;
    /// Returns the value as DynamoDB has it.
    fn write(self) -> AttributeValue;
}

impl Kind for String {
    const NAME: &'static str = "S";

    /// Reads a text, or returns `None` for another type.
    fn read(value: impl Stored) -> Option<Self> {
        value.text()
    }

    /// Returns an `S`.
    fn write(self) -> AttributeValue {
        AttributeValue::S(self)
    }
}

impl Kind for bool {
    const NAME: &'static str = "BOOL";

    /// Reads a boolean, or returns `None` for another type.
    fn read(value: impl Stored) -> Option<Self> {
        value.flag()
    }

    /// Returns a `BOOL`.
    fn write(self) -> AttributeValue {
        AttributeValue::Bool(self)
    }
}

macro_rules! numbers {
    ($($kind:ty)*) => {$(
        impl Kind for $kind {
            const NAME: &'static str = "N";

            /// Reads a number, or returns `None` for another type and for a number that does not fit this one.
            fn read(value: impl Stored) -> Option<Self> {
                value.number()
            }

            /// Returns an `N`.
            fn write(self) -> AttributeValue {
                AttributeValue::N(self.to_string())
            }
        }
    )*};
}

numbers! { i64 u32 u64 }

impl Kind for UsageItem {
    const NAME: &'static str = "M";

    /// Reads the counts of a map, or returns `None` for another type. A count of another type is absent.
    fn read(value: impl Stored) -> Option<Self> {
        value.members().map(Self::read)
    }

    /// Returns an `M` of the counts that are present.
    fn write(self) -> AttributeValue {
        AttributeValue::M(self.into_attributes().into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

/// Declares a map's attributes: for each the field, its type, the constant of its name, and the name.
macro_rules! attributes {
    ($(#[$of_item:meta])* $item:ident {
        $($(#[$of_field:meta])* $field:ident: $kind:ty = $constant:ident $name:literal,)*
    }) => {
        $(
            #[doc = concat!("The name of the attribute `", $name, "`.")]
            pub const $constant: &str = $name;
        )*

        $(#[$of_item])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $item {
            $($(#[$of_field])* pub $field: Option<$kind>,)*
        }

        impl $item {
            /// Each attribute's name, with DynamoDB's name of its type.
            pub const ATTRIBUTES: &[(&str, &str)] = &[$(($name, <$kind as Kind>::NAME)),*];

            /// Reads attributes. One that is missing or of another type is `None`, and one that is not listed here is
            /// left out.
            pub fn read<V: Stored>(attributes: impl IntoIterator<Item = (String, V)>) -> Self {
                let mut item = Self::default();
                for (name, value) in attributes {
                    match name.as_str() {
                        $($name => item.$field = Kind::read(value),)*
                        _ => {}
                    }
                }
                item
            }

            /// Returns the attributes that are present, by name, in the order in which they are declared.
            pub(crate) fn into_attributes(self) -> Vec<(&'static str, AttributeValue)> {
                let present = [$(self.$field.is_some()),*].into_iter().filter(|is_present| *is_present).count();
                let mut attributes = Vec::with_capacity(present);
                $(attributes.extend(self.$field.map(|value| ($name, value.write())));)*
                attributes
            }
        }
    };
}

attributes! {
    /// The tokens that all attempts used, as far as the agent reported them.
    UsageItem {
        /// Tokens sent to the model.
        input_tokens: u64 = INPUT_TOKENS "inputTokens",
        /// Tokens that the model wrote.
        output_tokens: u64 = OUTPUT_TOKENS "outputTokens",
        /// Input tokens read from the prompt cache.
        cache_read_input_tokens: u64 = CACHE_READ_INPUT_TOKENS "cacheReadInputTokens",
        /// Input tokens written to the prompt cache.
        cache_write_input_tokens: u64 = CACHE_WRITE_INPUT_TOKENS "cacheWriteInputTokens",
    }
}

attributes! {
    /// An execution's record without its key.
    ExecutionItem {
        /// The trigger.
        trigger_id: String = TRIGGER_ID "triggerId",
        /// The execution.
        execution_id: String = EXECUTION_ID "executionId",
        /// The user on whose behalf the agent runs.
        user_id: String = USER_ID "userId",
        /// The agent.
        agent_id: String = AGENT_ID "agentId",
        /// The status, one of the words of [`Status`](crate::domain::execution::Status).
        status: String = STATUS "status",
        /// The start of the first attempt, RFC 3339.
        started_at: String = STARTED_AT "startedAt",
        /// The end, RFC 3339.
        completed_at: String = COMPLETED_AT "completedAt",
        /// The text of the failure.
        error: String = ERROR "error",
        /// The type of the failure.
        error_type: String = ERROR_TYPE "errorType",
        /// True if it failed and another attempt may claim it.
        retryable: bool = RETRYABLE "retryable",
        /// The protocol by which the agent is asked or its answer was read.
        protocol: String = PROTOCOL "protocol",
        /// How the agent stopped short.
        finish_reason: String = FINISH_REASON "finishReason",
        /// Why it was skipped.
        skip_reason: String = SKIP_REASON "skipReason",
        /// The other execution that was alive, if it was skipped because of it.
        overlaps: String = OVERLAPS "overlaps",
        /// The number of executions that may run at once, and ran, if the trigger's policy names it and this one was
        /// skipped for that.
        overlap_limit: u32 = OVERLAP_LIMIT "overlapLimit",
        /// The agent's final answer.
        output: String = OUTPUT "output",
        /// True if the answer was longer than what is stored.
        output_truncated: bool = OUTPUT_TRUNCATED "outputTruncated",
        /// The tokens that all attempts used.
        usage: UsageItem = USAGE "usage",
        /// The agent's session.
        session_id: String = SESSION_ID "sessionId",
        /// The agent's request id.
        request_id: String = REQUEST_ID "requestId",
        /// The duration of the last attempt in milliseconds. For an end that an agent reported, it is the time from the
        /// start of the first attempt.
        duration_ms: u64 = DURATION_MS "durationMs",
        /// The time from the call to the first event of the answer, in milliseconds.
        first_event_ms: u64 = FIRST_EVENT_MS "firstEventMs",
        /// The events of the answer so far.
        events: u64 = EVENTS "events",
        /// The bytes of the answer so far.
        bytes: u64 = BYTES "bytes",
        /// The events that could not be understood.
        skipped_events: u64 = SKIPPED_EVENTS "skippedEvents",
        /// The tools that the agent called.
        tool_uses: u64 = TOOL_USES "toolUses",
        /// The time at which the last event arrived, RFC 3339.
        last_event_at: String = LAST_EVENT_AT "lastEventAt",
        /// The time for which a scheduled fire was due, as the schedule wrote it.
        scheduled_time: String = SCHEDULED_TIME "scheduledTime",
        /// The id of the event that fired.
        event_id: String = EVENT_ID "eventId",
        /// The source of the event that fired.
        source: String = SOURCE "source",
        /// The detail type of the event that fired.
        detail_type: String = DETAIL_TYPE "detailType",
        /// The time of the event that fired.
        event_time: String = EVENT_TIME "eventTime",
        /// The event source to which the trigger is subscribed.
        event_source_id: String = EVENT_SOURCE_ID "eventSourceId",
        /// The execution that it follows in a chain.
        follows: String = FOLLOWS "follows",
        /// The number of executions that led to it.
        chain_depth: u32 = CHAIN_DEPTH "chainDepth",
        /// The execution that it runs again.
        replay_of: String = REPLAY_OF "replayOf",
        /// True if a task of Step Functions waits for it.
        has_task: bool = HAS_TASK "hasTask",
        /// The ARN of the execution of Step Functions that waits.
        caller: String = CALLER "caller",
        /// The SHA-256 hash of the kept input.
        settings_hash: String = SETTINGS_HASH "settingsHash",
        /// The version of the function.
        function_version: String = FUNCTION_VERSION "functionVersion",
        /// The version of the trigger item.
        trigger_version: String = TRIGGER_VERSION "triggerVersion",
        /// True for a replay whose agent was defined in another way when the replayed execution ran.
        agent_definition_changed: bool = AGENT_DEFINITION_CHANGED "agentDefinitionChanged",
        /// True if its trigger is a stored one.
        stored: bool = STORED "stored",
        /// X-Ray's id of the trace.
        trace_id: String = TRACE_ID "traceId",
        /// The W3C trace context that the agent was sent.
        traceparent: String = TRACEPARENT "traceparent",
        /// The number of attempts so far.
        attempt: u32 = ATTEMPT "attempt",
        /// The attempt that holds, or last held, the lease.
        owner: String = OWNER "owner",
        /// The end of the lease in milliseconds since 1970.
        lease_until: i64 = LEASE_UNTIL "leaseUntil",
        /// True if the attempt that holds the lease stops when it ends, so that another may run the execution again.
        rerun_if_interrupted: bool = RERUN_IF_INTERRUPTED "rerunIfInterrupted",
        /// The Lambda request of the last attempt.
        lambda_request_id: String = LAMBDA_REQUEST_ID "lambdaRequestId",
        /// True if somebody requested its cancellation.
        cancel_requested: bool = CANCEL_REQUESTED "cancelRequested",
        /// True if the agent's session was asked to stop.
        stop_requested: bool = STOP_REQUESTED "stopRequested",
        /// True if AgentCore confirmed that it stopped the session.
        stop_confirmed: bool = STOP_CONFIRMED "stopConfirmed",
        /// True if the run may go on after its invocation.
        detached: bool = DETACHED "detached",
        /// The time at which the lease passed to the agent, RFC 3339.
        detached_at: String = DETACHED_AT "detachedAt",
        /// The time by which a detached run must have ended, in milliseconds since 1970.
        deadline: i64 = DEADLINE "deadline",
        /// The time for the first report if the acknowledgement was lost, in seconds.
        first_report_seconds: u32 = FIRST_REPORT_SECONDS "firstReportSeconds",
        /// The interval at which the agent promised to report, in seconds.
        heartbeat_seconds: u32 = HEARTBEAT_SECONDS "heartbeatSeconds",
        /// True if the lease passed to the agent without its acknowledgement.
        ack_lost: bool = ACK_LOST "ackLost",
        /// The status of a report that came too late.
        late_report: String = LATE_REPORT "lateReport",
        /// The hash of the token with which the agent reports.
        report_key: String = REPORT_KEY "reportKey",
        /// The ways to stop short that count as completed, joined by commas.
        accept_finish_reasons: String = ACCEPT_FINISH_REASONS "acceptFinishReasons",
        /// True if the run holds its trigger's run lock until it ends.
        has_run_lock: bool = HAS_RUN_LOCK "hasRunLock",
        /// The slot of the run lock, if it is not the first.
        run_slot: u32 = RUN_SLOT "runSlot",
        /// The time at which the record expires, in seconds since 1970.
        ttl: i64 = TTL "ttl",
    }
}

/// The attributes that only a failed execution has.
pub(crate) const FAILURE_ATTRIBUTES: [&str; 3] = [ERROR, ERROR_TYPE, RETRYABLE];

/// The attributes that say what ran. A fire that was skipped ran nothing.
pub(crate) const SNAPSHOT_ATTRIBUTES: [&str; 4] = [SETTINGS_HASH, PROTOCOL, FUNCTION_VERSION, TRIGGER_VERSION];

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::{Map, json};

    use super::*;

    /// Returns an item that has every attribute.
    fn full() -> Map<String, Value> {
        let value = |name: &str, kind: &str| match kind {
            "S" => json!(name),
            "N" => json!(7),
            "BOOL" => json!(true),
            "M" => UsageItem::ATTRIBUTES.iter().map(|(name, _)| ((*name).to_owned(), json!(7))).collect(),
            other => panic!("{other}"),
        };
        ExecutionItem::ATTRIBUTES.iter().map(|(name, kind)| ((*name).to_owned(), value(name, kind))).collect()
    }

    #[test]
    fn every_attribute_reads_back_as_it_was_written() {
        let item = ExecutionItem::read(full());
        let written = item.clone().into_attributes();
        let names: Vec<_> = written.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ExecutionItem::ATTRIBUTES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        assert_eq!(item.usage.clone().map(|usage| usage.into_attributes().len()), Some(UsageItem::ATTRIBUTES.len()));
        let written: HashMap<_, _> = written.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(ExecutionItem::read(written), item);
    }

    #[test]
    fn an_absent_attribute_is_not_written() {
        assert_eq!(ExecutionItem::default().into_attributes(), []);
        let usage = UsageItem { output_tokens: Some(0), ..UsageItem::default() };
        assert_eq!(usage.into_attributes(), [(OUTPUT_TOKENS, AttributeValue::N("0".to_owned()))]);
    }

    #[test]
    fn an_attribute_of_a_strange_type_is_absent_and_costs_no_other() {
        let whole = ExecutionItem::read(full());
        for strange in [json!(null), json!([1]), json!(-1.5), json!({"S": "text"}), json!("7"), json!(true)] {
            for (name, kind) in ExecutionItem::ATTRIBUTES {
                let mut row = full();
                row.insert((*name).to_owned(), strange.clone());
                row.insert("colour".to_owned(), strange.clone());
                let fits = matches!(
                    (*kind, &strange),
                    ("S", Value::String(_)) | ("BOOL", Value::Bool(_)) | ("M", Value::Object(_))
                );
                let read = ExecutionItem::read(row).into_attributes();
                let found: Vec<_> = read.iter().map(|(name, _)| *name).collect();
                let expected = whole.clone().into_attributes();
                let expected: Vec<_> =
                    expected.iter().map(|(name, _)| *name).filter(|other| fits || other != name).collect();
                assert_eq!(found, expected, "{name} is {strange}");
            }
        }
        let strange = [
            (STATUS, AttributeValue::Null(true)),
            (TTL, AttributeValue::S("7".to_owned())),
            (EVENTS, AttributeValue::N("1.5".to_owned())),
        ];
        let read = ExecutionItem::read(strange.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(read, ExecutionItem::default());
    }
}
