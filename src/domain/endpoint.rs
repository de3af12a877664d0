//! The address at which an agent is called: the addresses that may get a credential, the paths that are appended, and
//! the region that an AgentCore address names.

use url::Url;

use crate::domain::request_format::RequestFormat;

/// The beginning of the path of an AgentCore runtime whose ARN is percent-encoded.
const RUNTIME_PATH: &str = "/runtimes/arn%3A";

/// Parses a URL to which a secret may be sent: https to any host, or http to `localhost` or a loopback address. It must
/// have no user name and no password. Its path, query and fragment are not checked.
///
/// # Errors
/// The error says what is wrong, without the text itself, which may hold a password.
pub(crate) fn web_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL: it must look like https://host/path")?;
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err("has no host: it must look like https://host/path");
    }
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user name or password");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err("must be https (http only for loopback)"),
    }
}

/// Returns the URL that an agent's requests go to. `address` is a URL, or the ARN of an AgentCore runtime or of one of
/// its runtime endpoints. For an ARN, `agentcore` replaces AgentCore's own host (`AWS_ENDPOINT_URL_BEDROCK_AGENTCORE`).
/// For a URL it is ignored.
///
/// AgentCore, and every agent with the form `invocations`, is called at `/invocations`. This is appended unless the
/// path ends with it. The path of an AgentCore runtime counts as AgentCore's at any host, and its ARN is
/// percent-encoded. Elsewhere a URL is used as it is given, unless it has no path: then the protocol's usual one is
/// used. A query is kept.
///
/// # Errors
/// The error says what is wrong with the address.
pub(crate) fn agent_url(address: &str, format: RequestFormat, agentcore: Option<&Url>) -> Result<Url, &'static str> {
    let mut url = match address.strip_prefix("arn:") {
        Some(_) => runtime_url(address, agentcore)?,
        None => web_url(address)?,
    };
    let path = url.path().trim_end_matches('/');
    let base = path.strip_suffix("/invocations").unwrap_or(path);
    let base = match base.strip_prefix("/runtimes/arn:") {
        Some(arn) => format!("{RUNTIME_PATH}{}", encoded(arn)),
        None => base.to_owned(),
    };
    let is_invocations = format == RequestFormat::Invocations || is_runtime(&base) || is_agentcore(&url);
    if is_invocations {
        url.set_path(&format!("{base}/invocations"));
    } else if path.is_empty() {
        url.set_path(format.usual_path());
    }
    Ok(url)
}

/// Returns the URL of an AgentCore runtime without `/invocations`, which [`agent_url`] appends. `arn` is
/// `arn:{partition}:bedrock-agentcore:{region}:{account}:runtime/{id}`. A `/runtime-endpoint/{name}` at its end becomes
/// the query `qualifier`. `agentcore` replaces scheme, host and port. Its path and query are not used.
/// <https://docs.aws.amazon.com/bedrock-agentcore/latest/APIReference/API_InvokeAgentRuntime.html>
///
/// # Errors
/// The error says what an ARN of a runtime looks like.
fn runtime_url(arn: &str, agentcore: Option<&Url>) -> Result<Url, &'static str> {
    const FORM: &str =
        "is no ARN of an AgentCore runtime: arn:aws:bedrock-agentcore:{region}:{account}:runtime/{id} is expected";
    let is_plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    let ["arn", partition, "bedrock-agentcore", region, account, resource] = arn.split(':').collect::<Vec<_>>()[..]
    else {
        return Err(FORM);
    };
    let (runtime, qualifier) = match resource.split_once("/runtime-endpoint/") {
        Some((runtime, qualifier)) => (runtime, Some(qualifier)),
        None => (resource, None),
    };
    let id = runtime.strip_prefix("runtime/").ok_or(FORM)?;
    if ![partition, region, account, id].into_iter().chain(qualifier).all(is_plain) {
        return Err(FORM);
    }
    let suffix = if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    let mut url = match agentcore {
        Some(url) => url.clone(),
        None => Url::parse(&format!("https://bedrock-agentcore.{region}.{suffix}")).map_err(|_| FORM)?,
    };
    let arn = format!("{partition}:bedrock-agentcore:{region}:{account}:{runtime}");
    url.set_path(&format!("{RUNTIME_PATH}{}", encoded(&arn)));
    url.set_query(qualifier.map(|qualifier| format!("qualifier={qualifier}")).as_deref());
    Ok(url)
}

/// Returns an ARN with its `:` and `/` percent-encoded, for a path. Its form has no other characters that need it.
fn encoded(arn: &str) -> String {
    arn.replace(':', "%3A").replace('/', "%2F")
}

/// Returns true if a path begins as that of an AgentCore runtime, with its ARN percent-encoded.
fn is_runtime(path: &str) -> bool {
    path.starts_with(RUNTIME_PATH)
}

/// Returns true if a URL's host is AgentCore's own: `bedrock-agentcore.{region}.amazonaws.com`, in China `.com.cn`,
/// through a VPC endpoint `{id}.bedrock-agentcore.{region}.vpce.amazonaws.com`, dual-stack `.api.aws`, in China
/// `.api.amazonwebservices.com.cn`. AgentCore's label may end in `-fips`. A host that stands in for it, as
/// `AWS_ENDPOINT_URL_BEDROCK_AGENTCORE` may name one, does not count.
pub(crate) fn is_agentcore(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let amazon = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn"];
    amazon.iter().any(|suffix| host.ends_with(suffix)) && host.split('.').any(is_agentcore_label)
}

/// Returns true if a label of a host's name is AgentCore's, with or without `-fips`.
fn is_agentcore_label(label: &str) -> bool {
    matches!(label, "bedrock-agentcore" | "bedrock-agentcore-fips")
}

/// Returns the region of an AgentCore address. If the host is AgentCore's own, this is the label after AgentCore's. For
/// any other host it is the region of the runtime's ARN in the path. Returns `None` if neither names one: the caller
/// then uses its own.
pub(crate) fn region_of(url: &Url) -> Option<&str> {
    if is_agentcore(url) {
        return url.host_str()?.split('.').skip_while(|label| !is_agentcore_label(label)).nth(1);
    }
    let arn = url.path().strip_prefix(RUNTIME_PATH)?;
    arn.split("%3A").nth(2).filter(|region| !region.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::request_format::A2aVersion;

    fn url_of(address: &str, format: RequestFormat) -> String {
        agent_url(address, format, None).unwrap().into()
    }

    #[test]
    fn invocations_are_appended_for_its_protocol_and_on_agentcore() {
        let agentcore = "https://bedrock-agentcore.us-west-2.amazonaws.com/runtimes";
        let encoded = "arn%3Aaws%3Abedrock-agentcore%3Aus-west-2%3A123456789012%3Aruntime%2Fdemo-1";
        for (given, expected) in [
            ("https://a.example.com", "https://a.example.com/invocations"),
            ("https://a.example.com/", "https://a.example.com/invocations"),
            ("https://a.example.com/api/", "https://a.example.com/api/invocations"),
            ("https://a.example.com/invocations", "https://a.example.com/invocations"),
            ("https://a.example.com/invocations/?q=1", "https://a.example.com/invocations?q=1"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/invocations"),
            ("http://[::1]:8080", "http://[::1]:8080/invocations"),
            (&format!("{agentcore}/{encoded}"), &format!("{agentcore}/{encoded}/invocations")),
        ] {
            assert_eq!(url_of(given, RequestFormat::Invocations), expected);
        }
        let plain = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/demo-1";
        for format in [RequestFormat::Invocations, RequestFormat::Mcp, RequestFormat::A2a(A2aVersion::V1_0)] {
            let given = format!("{agentcore}/{plain}/invocations?qualifier=DEFAULT");
            assert_eq!(url_of(&given, format), format!("{agentcore}/{encoded}/invocations?qualifier=DEFAULT"));
            assert_eq!(url_of(plain, format), format!("{agentcore}/{encoded}/invocations"));
        }
    }

    #[test]
    fn elsewhere_a_url_is_used_as_it_is_given_or_gets_the_usual_path() {
        for (given, format, expected) in [
            ("https://a.example.com", RequestFormat::Mcp, "https://a.example.com/mcp"),
            ("https://a.example.com/", RequestFormat::OpenaiResponses, "https://a.example.com/v1/responses"),
            ("https://a.example.com", RequestFormat::OpenaiChat, "https://a.example.com/v1/chat/completions"),
            ("https://a.example.com", RequestFormat::Langgraph, "https://a.example.com/runs/stream"),
            ("https://a.example.com", RequestFormat::Adk, "https://a.example.com/run_sse"),
            ("https://a.example.com", RequestFormat::AgUi, "https://a.example.com/"),
            ("https://a.example.com", RequestFormat::A2a(A2aVersion::V0_3), "https://a.example.com/"),
            ("https://a.example.com/x/?k=v", RequestFormat::Custom, "https://a.example.com/x/?k=v"),
            ("https://a.example.com/openai/chat", RequestFormat::OpenaiChat, "https://a.example.com/openai/chat"),
        ] {
            assert_eq!(url_of(given, format), expected);
        }
    }

    #[test]
    fn an_arn_is_called_at_the_endpoint_of_its_region() {
        let runtime = "runtime/demo-1";
        for (partition, region, resource, expected) in [
            ("aws", "eu-west-1", runtime.to_owned(), "https://bedrock-agentcore.eu-west-1.amazonaws.com/"),
            ("aws-cn", "cn-north-1", runtime.to_owned(), "https://bedrock-agentcore.cn-north-1.amazonaws.com.cn/"),
            ("aws", "eu-west-1", format!("{runtime}/runtime-endpoint/v2"), "https://bedrock-agentcore.eu-west-1"),
        ] {
            let url = url_of(&format!("arn:{partition}:bedrock-agentcore:{region}:1:{resource}"), RequestFormat::AgUi);
            assert!(url.starts_with(expected), "{url}");
            assert_eq!(url.ends_with("/invocations?qualifier=v2"), resource.ends_with("v2"), "{url}");
        }
        for wrong in [
            "arn:aws:lambda:eu-west-1:1:function:x",
            "arn:aws:bedrock-agentcore:eu-west-1:1:memory/x",
            "arn:aws:bedrock-agentcore::1:runtime/x",
            "arn:aws:bedrock-agentcore:evil.example.com/:1:runtime/x",
            "arn:aws:bedrock-agentcore:eu-west-1:1:runtime/x/../y",
        ] {
            assert!(agent_url(wrong, RequestFormat::AgUi, None).is_err(), "{wrong}");
        }
        let stand_in = Url::parse("http://127.0.0.1:9/").unwrap();
        let url = agent_url("arn:aws:bedrock-agentcore:eu-west-1:1:runtime/x", RequestFormat::Mcp, Some(&stand_in));
        let expected = "http://127.0.0.1:9/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aeu-west-1%3A1%3Aruntime%2Fx";
        assert_eq!(url.unwrap().as_str(), format!("{expected}/invocations"));
    }

    #[test]
    fn agentcore_and_its_region_are_known_by_the_host_or_the_arn() {
        for (url, agentcore, region) in [
            ("https://bedrock-agentcore.us-west-2.amazonaws.com/runtimes/x", true, Some("us-west-2")),
            ("https://vpce-1.bedrock-agentcore.us-west-2.vpce.amazonaws.com/runtimes/x", true, Some("us-west-2")),
            ("https://bedrock-agentcore-fips.us-west-2.amazonaws.com/runtimes/x", true, Some("us-west-2")),
            ("https://bedrock-agentcore.us-west-2.api.aws/runtimes/x", true, Some("us-west-2")),
            ("http://127.0.0.1/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aeu-west-1%3A1%3Ax", false, Some("eu-west-1")),
            ("https://bedrock-agentcore.example.com", false, None),
            ("https://bedrock-agentcores.us-west-2.amazonaws.com", false, None),
            ("https://agent.amazonaws.com", false, None),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!((is_agentcore(&url), region_of(&url)), (agentcore, region), "{url}");
        }
    }
}
