//! The platform that hosts the agent. Amazon Bedrock AgentCore has rules of its own for session ids.

/// AgentCore's `runtimeSessionId` has 33 to 256 characters (InvokeAgentRuntime, API reference).
const AGENTCORE_SHORTEST_SESSION_ID: usize = 33;

/// The platform that hosts the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// Amazon Bedrock AgentCore, called at its own endpoint.
    AgentCore,
    /// Any other HTTP server.
    Other,
}

impl Platform {
    /// Returns the platform of an agent. `is_agentcore` is true for one on AgentCore.
    pub fn of(is_agentcore: bool) -> Self {
        if is_agentcore { Self::AgentCore } else { Self::Other }
    }

    /// Returns the least number of characters of a session id: 33 on AgentCore, and 1 elsewhere.
    pub fn shortest_session_id(self) -> usize {
        match self {
            Self::AgentCore => AGENTCORE_SHORTEST_SESSION_ID,
            Self::Other => 1,
        }
    }
}
