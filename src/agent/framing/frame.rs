//! A frame: one event, line or document of an answer, and the limits of its size.

use crate::json::scan;

/// Bytes of the largest event that is read (1 MiB).
pub const MAX_EVENT: usize = 1024 * 1024;

/// Bytes that are kept of the beginning of a larger event that is no object (4 KiB).
pub const PREFIX: usize = 4 * 1024;

/// The members of a larger event that are kept: those that say what it is, how the run ended, what was answered and
/// what it cost.
const KEPT: &[&[u8]] = &[
    b"type",
    b"event",
    b"kind",
    b"object",
    b"jsonrpc",
    b"id",
    b"method",
    b"subtype",
    b"role",
    b"author",
    b"invocationId",
    b"runId",
    b"messageId",
    b"payload",
    b"task",
    b"statusUpdate",
    b"artifactUpdate",
    b"error",
    b"Error",
    b"ERROR",
    b"error_type",
    b"original_type",
    b"errors",
    b"errorMessage",
    b"error_message",
    b"error_description",
    b"errorText",
    b"errorType",
    b"errorCode",
    b"error_code",
    b"exception",
    b"Exception",
    b"failure",
    b"failureReason",
    b"failure_reason",
    b"hasFailed",
    b"has_failed",
    b"msg",
    b"truncated",
    b"isTruncated",
    b"is_truncated",
    b"timedOut",
    b"timed_out",
    b"detail",
    b"details",
    b"reason",
    b"code",
    b"status",
    b"state",
    b"success",
    b"ok",
    b"failed",
    b"isError",
    b"is_error",
    b"statusCode",
    b"status_code",
    b"stop_reason",
    b"stopReason",
    b"finish_reason",
    b"finishReason",
    b"done_reason",
    b"incomplete_details",
    b"interrupted",
    b"interrupt",
    b"requires_approval",
    b"requiresApproval",
    b"needs_approval",
    b"needsApproval",
    b"tripwire",
    b"outcome",
    b"stepResult",
    b"refusal",
    b"partial",
    b"force_stop",
    b"force_stop_reason",
    b"init_event_loop",
    b"tool_interrupt_event",
    b"messageStart",
    b"messageStop",
    b"messages",
    b"choices",
    b"__error__",
    b"__interrupt__",
    b"data",
    b"text",
    b"content",
    b"chunk",
    b"token",
    b"delta",
    b"response",
    b"answer",
    b"result",
    b"output",
    b"finalOutput",
    b"final_output",
    b"interruptions",
    b"message",
    b"lastMessage",
    b"usage",
    b"usageMetadata",
    b"usage_metadata",
    b"token_usage",
    b"tokenUsage",
    b"totalUsage",
    b"metadata",
    b"response_metadata",
    b"event_type",
    b"eventType",
    b"metrics",
    b"input_tokens",
    b"output_tokens",
    b"inputTokens",
    b"outputTokens",
    b"prompt_tokens",
    b"completion_tokens",
    b"promptTokens",
    b"completionTokens",
    b"tool",
    b"tool_call_id",
    b"toolCallId",
    b"tool_use_id",
    b"tool_name",
    b"toolName",
    b"toolUseId",
    b"toolResult",
    b"tool_result",
    b"err",
    b"traceback",
    b"fault",
    b"errorMsg",
    b"error_msg",
    b"errMsg",
    b"err_msg",
    b"errmsg",
    b"hasError",
    b"has_error",
    b"isSuccess",
    b"is_success",
    b"succeeded",
    b"httpStatus",
    b"http_status",
    b"approval_required",
    b"approvalRequired",
    b"awaiting_approval",
    b"awaitingApproval",
    b"pending_approval",
    b"pendingApproval",
    b"cancelled",
    b"canceled",
    b"aborted",
    b"reply",
    b"stack",
    b"stackTrace",
    b"stopreason",
    b"StopReason",
    b"candidates",
    b"responseId",
    b"response_id",
    b"index",
    b"finishMessage",
    b"finish_message",
    b"promptFeedback",
    b"prompt_feedback",
    b"blockReason",
    b"block_reason",
    b"results",
    b"outputText",
    b"completionReason",
    b"inputTextTokenCount",
    b"totalOutputTextTokenCount",
    b"outputs",
    b"generation",
    b"prompt_token_count",
    b"generation_token_count",
    b"generations",
    b"generation_id",
    b"meta",
    b"completion",
    b"amazon-bedrock-invocationMetrics",
];

/// Returns true if the member of this name is kept of an event that is too large to keep. A name with escapes counts as
/// kept, because it may be any name.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    KEPT.contains(&name) || name.ends_with(b"Exception") || name.contains(&b'\\')
}

/// The place of a frame in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A frame of server-sent events.
    Sse,
    /// A line of NDJSON.
    Line,
    /// A line of the AI SDK's data stream. The frame's name is the line's code, and its data the value.
    Part,
    /// The one JSON document.
    Document,
    /// An element of the one JSON document, which is an array.
    Element,
    /// A line between server-sent events that is no field of theirs.
    Loose,
    /// Plain text, all that is kept of it.
    Text,
}

/// One frame, or the kept part of one that was too large to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) source: Source,
    /// The `event` field of server-sent events, or otherwise empty.
    pub(crate) name: &'a [u8],
    /// The data as it came.
    pub(crate) data: &'a [u8],
    /// The data without the whitespace around it.
    pub(crate) text: &'a [u8],
    /// False for server-sent events of a name alone.
    pub(crate) has_data: bool,
    /// Set if the frame was too large. For an object, the data is the members that were kept, and this is `}` if the
    /// object had its end. For anything else, the data is the beginning, and this is the last byte.
    pub(crate) dropped: Option<u8>,
}

impl<'a> Frame<'a> {
    /// Returns a frame of this data, without a name and not too large.
    pub(crate) fn new(source: Source, data: &'a [u8]) -> Frame<'a> {
        Frame { source, name: b"", data, text: scan::trim(data), has_data: true, dropped: None }
    }

    /// Returns true if the frame is an object or a string that has its end. Only then is it believed when it says that
    /// all went well. A frame too large to keep is whole if its last byte is `}` or `]`.
    pub(crate) fn is_whole(&self) -> bool {
        self.dropped.map_or_else(|| scan::is_whole(self.text), |last| matches!(last, b'}' | b']'))
    }

    /// Returns true if the frame is the one document or an element of it.
    pub(crate) fn is_document(&self) -> bool {
        matches!(self.source, Source::Document | Source::Element)
    }
}

/// The rest of a body at a framed end.
#[derive(Debug)]
pub(crate) enum Rest<'a> {
    Nothing,
    /// The last frame, which the end of the body ends.
    Frame(Frame<'a>),
    /// The body ended within a frame that cannot be read.
    Cut,
    NotJson,
    /// A document or plain text that is only white space.
    Empty,
}
