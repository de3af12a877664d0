//! The protocols that agents speak, by the names that settings and records hold (docs/agents.md, Requests and In a
//! protocol).

use std::fmt;

/// A protocol. The names never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The request of `/invocations`. It is a setting alone, because its answers are recognised.
    Invocations,
    /// A request of the user's own making. It is a setting alone, because its answers are recognised.
    Custom,
    /// AG-UI.
    AgUi,
    /// A2A, 0.3 and 1.0.
    A2a,
    /// MCP.
    Mcp,
    /// OpenAI's Responses API.
    OpenaiResponses,
    /// OpenAI's Chat Completions API.
    OpenaiChat,
    /// The LangGraph server.
    Langgraph,
    /// Google's ADK.
    Adk,
    /// Strands, the Python SDK.
    Strands,
    /// Strands, the TypeScript SDK, and moca.
    StrandsTypescript,
    /// Anthropic's Messages API.
    Anthropic,
    /// The Vercel AI SDK's UI stream.
    Vercel,
    /// LangServe.
    Langserve,
    /// Mastra.
    Mastra,
    /// Bedrock's ConverseStream, sent on.
    Bedrock,
    /// Frames, documents or text of an agent's own making.
    Generic,
    /// Events that no rules understood.
    Unknown,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 18] = [
        Self::Invocations,
        Self::Custom,
        Self::AgUi,
        Self::A2a,
        Self::Mcp,
        Self::OpenaiResponses,
        Self::OpenaiChat,
        Self::Langgraph,
        Self::Adk,
        Self::Strands,
        Self::StrandsTypescript,
        Self::Anthropic,
        Self::Vercel,
        Self::Langserve,
        Self::Mastra,
        Self::Bedrock,
        Self::Generic,
        Self::Unknown,
    ];

    /// Returns the name as settings and records hold it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invocations => "invocations",
            Self::Custom => "custom",
            Self::AgUi => "ag-ui",
            Self::A2a => "a2a",
            Self::Mcp => "mcp",
            Self::OpenaiResponses => "openai-responses",
            Self::OpenaiChat => "openai-chat",
            Self::Langgraph => "langgraph",
            Self::Adk => "adk",
            Self::Strands => "strands",
            Self::StrandsTypescript => "strands-typescript",
            Self::Anthropic => "anthropic",
            Self::Vercel => "vercel",
            Self::Langserve => "langserve",
            Self::Mastra => "mastra",
            Self::Bedrock => "bedrock",
            Self::Generic => "generic",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the protocol whose name is exactly `name`, or `None` if there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == name)
    }

    /// Returns true if an agent's settings may name the protocol: it is a form in which requests are sent. The others
    /// are only recognised in answers.
    pub fn is_setting(self) -> bool {
        matches!(self, Self::Invocations | Self::Custom) || self.is_set_for_answers()
    }

    /// Returns true if a setting of this name also decides how the answer is read. It is false for `invocations` and
    /// `custom`, whose answers are recognised by what they hold, and for every protocol that is no setting.
    pub fn is_set_for_answers(self) -> bool {
        matches!(
            self,
            Self::AgUi | Self::A2a | Self::Mcp | Self::OpenaiResponses | Self::OpenaiChat | Self::Langgraph | Self::Adk
        )
    }
}

impl fmt::Display for Protocol {
    /// Writes the name, as [`Protocol::as_str`] returns it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::from_name(protocol.as_str()), Some(protocol));
        }
    }

    #[test]
    fn settings_are_those_with_a_request_of_their_own() {
        let settings: Vec<_> = Protocol::ALL.into_iter().filter(|p| p.is_setting()).map(Protocol::as_str).collect();
        let expected =
            ["invocations", "custom", "ag-ui", "a2a", "mcp", "openai-responses", "openai-chat", "langgraph", "adk"];
        assert_eq!(settings, expected);
    }
}
