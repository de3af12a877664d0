//! The forms of the request that agents are sent, by the names that settings hold.

use std::fmt;

use crate::domain::protocol::Protocol;

/// The form of a request. Each is that of a protocol; A2A has one for each of its two versions, which differ in every
/// name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFormat {
    /// The body of AgentCore's samples, under `/invocations`.
    Invocations,
    /// A JSON template of the user's own.
    Custom,
    /// AG-UI's RunAgentInput.
    AgUi,
    /// A message sent to an A2A agent whose answer is streamed.
    A2a(A2aVersion),
    /// A call of an MCP tool.
    Mcp,
    /// OpenAI's Responses API.
    OpenaiResponses,
    /// OpenAI's Chat Completions API.
    OpenaiChat,
    /// A stateless run on a LangGraph server.
    Langgraph,
    /// A run on Google's ADK server.
    Adk,
}

/// A version of A2A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum A2aVersion {
    /// 0.3, whose method is `message/stream`.
    V0_3,
    /// 1.0, whose method is `SendStreamingMessage`.
    V1_0,
}

impl RequestFormat {
    /// All forms.
    pub const ALL: [Self; 10] = [
        Self::Invocations,
        Self::AgUi,
        Self::A2a(A2aVersion::V0_3),
        Self::A2a(A2aVersion::V1_0),
        Self::Mcp,
        Self::OpenaiResponses,
        Self::OpenaiChat,
        Self::Langgraph,
        Self::Adk,
        Self::Custom,
    ];

    /// Returns the name as settings hold it: that of the protocol, but `a2a-1.0` for A2A 1.0. A2A 0.3 is `a2a`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A2a(A2aVersion::V1_0) => "a2a-1.0",
            other => other.protocol().as_str(),
        }
    }

    /// Returns the form whose name is exactly `name`, or `None` if there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    /// Returns all names, joined by commas, for an error message.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }

    /// Returns the protocol of the request. Both versions of A2A have the same. The answer is read by its rules only if
    /// [`Protocol::is_set_for_answers`]. Otherwise the answer is recognised by what it holds.
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Invocations => Protocol::Invocations,
            Self::Custom => Protocol::Custom,
            Self::AgUi => Protocol::AgUi,
            Self::A2a(_) => Protocol::A2a,
            Self::Mcp => Protocol::Mcp,
            Self::OpenaiResponses => Protocol::OpenaiResponses,
            Self::OpenaiChat => Protocol::OpenaiChat,
            Self::Langgraph => Protocol::Langgraph,
            Self::Adk => Protocol::Adk,
        }
    }

    /// Returns the path that is appended to an address without one: the usual one of the protocol's servers, or `/` if
    /// there is none.
    pub(crate) fn usual_path(self) -> &'static str {
        match self {
            Self::Invocations => "/invocations",
            Self::Custom | Self::AgUi | Self::A2a(_) => "/",
            Self::Mcp => "/mcp",
            Self::OpenaiResponses => "/v1/responses",
            Self::OpenaiChat => "/v1/chat/completions",
            Self::Langgraph => "/runs/stream",
            Self::Adk => "/run_sse",
        }
    }
}

impl fmt::Display for RequestFormat {
    /// Writes the name, as [`RequestFormat::as_str`] returns it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_is_one_that_a_setting_may_have() {
        for format in RequestFormat::ALL {
            assert_eq!(RequestFormat::from_name(format.as_str()), Some(format));
            assert!(format.protocol().is_setting(), "{format}");
        }
        let settings = Protocol::ALL.into_iter().filter(|protocol| protocol.is_setting());
        for protocol in settings {
            assert!(RequestFormat::from_name(protocol.as_str()).is_some(), "{protocol}");
        }
        assert_eq!(RequestFormat::from_name("strands"), None);
    }
}
