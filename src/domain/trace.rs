//! The trace in which Lambda runs an invocation, in the notations of X-Ray, of W3C and of OpenTelemetry.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>

use crate::json::fields::ID_LIMIT;

/// The ids of a trace. They connect an alarm with the record, the log and the agent's own traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// X-Ray's id, `1-…`.
    pub trace_id: String,
    /// The same id in OpenTelemetry's notation, 32 hexadecimal digits.
    pub otel_id: Option<String>,
    /// The value of W3C's `traceparent` header.
    pub traceparent: Option<String>,
}

impl Trace {
    /// Reads the trace from Lambda's X-Ray header. The id is that of `Root`, which must have 1 to 256 hexadecimal
    /// digits and hyphens. Without such a root the result is `None`. The other notations are `None` if the header does
    /// not have their form.
    pub fn of(xray: &str) -> Option<Self> {
        let root = field(xray, "Root")?;
        let is_id =
            (1..=ID_LIMIT).contains(&root.len()) && root.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        is_id.then(|| Self { trace_id: root.to_owned(), otel_id: otel_id(root), traceparent: traceparent(xray) })
    }
}

/// Returns the W3C trace context (<https://www.w3.org/TR/trace-context/>) of an X-Ray header such as
/// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`, in lower case. Returns `None` unless
/// root and parent have their forms. It says "sampled" only if the header has `Sampled=1`.
pub(crate) fn traceparent(xray: &str) -> Option<String> {
    let trace_id = otel_id(field(xray, "Root")?)?;
    let parent_id = field(xray, "Parent").filter(|id| is_hex(id, 16))?;
    let sampled = if field(xray, "Sampled") == Some("1") { "01" } else { "00" };
    Some(format!("00-{trace_id}-{parent_id}-{sampled}").to_ascii_lowercase())
}

/// Returns the value of the first part `name=value` of an X-Ray header, whose parts are separated by semicolons, or
/// `None` if there is none.
fn field<'a>(xray: &'a str, name: &str) -> Option<&'a str> {
    xray.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Returns X-Ray's `1-5759e988-bd862e3fe1be46a994272793` as `5759e988bd862e3fe1be46a994272793`, in lower case. Returns
/// `None` unless the text begins with `1-` and has 32 hexadecimal digits after it, wherever its hyphens stand.
fn otel_id(root: &str) -> Option<String> {
    let mut id: String = root.strip_prefix("1-")?.split('-').collect();
    id.make_ascii_lowercase();
    is_hex(&id, 32).then_some(id)
}

/// Returns true if a text is hexadecimal digits of any case, exactly `length` of them.
fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent_follows_the_xray_header() {
        for (xray, expected) in [
            (
                "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
                Some("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"),
            ),
            (
                "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=a:0",
                Some("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-00"),
            ),
            ("Root=1-5759e988-bd862e3fe1be46a994272793", None),
            ("Root=2-x;Parent=y", None),
            ("", None),
        ] {
            assert_eq!(traceparent(xray).as_deref(), expected, "{xray}");
        }
    }

    #[test]
    fn a_trace_is_known_by_its_root() {
        let of = |xray: &str| Trace::of(xray).map(|trace| (trace.trace_id, trace.otel_id, trace.traceparent));
        let root = "1-5759E988-bd862e3fe1be46a994272793";
        let otel_id = Some("5759e988bd862e3fe1be46a994272793".to_owned());
        assert_eq!(of(&format!("Self=1-2-3; Root={root}")), Some((root.to_owned(), otel_id, None)));
        assert_eq!(of("Root=1-2-3"), Some(("1-2-3".to_owned(), None, None)));
        for none in ["", "Root=", "Root=\"; drop", "Parent=53995c3f42cd8ad8", &format!("Root={}", "a".repeat(257))] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
