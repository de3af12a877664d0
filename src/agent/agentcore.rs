//! What is particular to agents on Amazon Bedrock AgentCore.

use reqwest::Url;

/// Returns the URL of StopRuntimeSession, or `None` for a path that is not a runtime's. A runtime is called at
/// `/runtimes/{arn}/invocations`, with the colons of its ARN encoded. The stop is beside it, with the same query, which
/// holds the qualifier.
/// <https://docs.aws.amazon.com/bedrock-agentcore/latest/APIReference/API_StopRuntimeSession.html>
pub(super) fn stop_url(agent_url: &Url) -> Option<Url> {
    let runtime = agent_url.path().strip_suffix("/invocations")?;
    if !runtime.starts_with("/runtimes/arn%3A") {
        return None;
    }
    let mut url = agent_url.clone();
    url.set_path(&format!("{runtime}/stopruntimesession"));
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_agentcore_runtimes_can_be_stopped() {
        let runtime = "https://bedrock-agentcore.us-west-2.amazonaws.com/runtimes/arn%3Aaws%3Ax";
        for (url, expected) in [
            (format!("{runtime}/invocations?qualifier=v1"), Some(format!("{runtime}/stopruntimesession?qualifier=v1"))),
            ("https://agent.example.com/invocations".to_owned(), None),
        ] {
            assert_eq!(stop_url(&Url::parse(&url).unwrap()).map(String::from), expected);
        }
    }
}
