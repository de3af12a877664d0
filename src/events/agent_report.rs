//! Reports of detached runs that come over a bus. The bus is one of its own: its only rule is the stack's, and what its
//! mark allows are reports alone, so agents need no permission for the bus that carries commands.

use serde_json::{Map, Value};

use crate::{
    config::Secret,
    domain::agent_report::{AgentReport, InvalidReport},
    events::{classify::MarkedEvent, invalid::InvalidEvent},
    json::fields::Fields,
};

/// The `detail-type` of a report.
const AGENT_REPORT: &str = "Agent Report";

/// A report with the token that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusReport {
    /// The token.
    pub token: Secret,
    /// The report.
    pub report: AgentReport,
}

impl BusReport {
    /// Reads a marked event as an agent's report with its token. Its `detail-type` must be `Agent Report`. The detail
    /// must hold `token`, a text that is not blank, and what [`AgentReport::of_members`] requires. A detail that is no
    /// object counts as an empty one.
    ///
    /// # Errors
    /// The error says that the `detail-type` is another one, or names every unusable member of the detail at once.
    pub(crate) fn read(event: &MarkedEvent) -> Result<Self, InvalidEvent> {
        let detail_type = event.envelope.get("detail-type").and_then(Value::as_str);
        if detail_type != Some(AGENT_REPORT) {
            let problem = format!("$.detail-type: must be {AGENT_REPORT:?} on the bus of reports");
            return Err(InvalidEvent::new(vec![problem]));
        }
        let no_detail = Map::new();
        let detail = event.envelope.get("detail").and_then(Value::as_object).unwrap_or(&no_detail);
        let mut fields = Fields::new("$.detail", detail);
        let token = fields.required_text("token").unwrap_or_default();
        match (AgentReport::of_members("$.detail", detail), fields.problems) {
            (Ok(report), problems) if problems.is_empty() => Ok(Self { token: Secret::new(token), report }),
            (report, mut problems) => {
                if let Err(InvalidReport { problems: further }) = report {
                    problems.extend(further);
                }
                Err(InvalidEvent::new(problems))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(event: Value) -> Result<BusReport, Vec<String>> {
        let Value::Object(payload) = event else { unreachable!() };
        let event = MarkedEvent::read(payload).map_err(|invalid| invalid.problems)?;
        BusReport::read(&event).map_err(|invalid| invalid.problems)
    }

    #[test]
    fn a_report_has_a_token_and_nothing_else_is_read_from_its_bus() {
        let event = |detail_type: &str, detail: Value| json!({"_from": "report-bus", "_event": {"source": "my.agent", "detail-type": detail_type, "detail": detail}});
        let detail = json!({"token": "t0k3n", "triggerId": "t", "executionId": "e", "status": "running"});
        let report = read(event("Agent Report", detail.clone())).unwrap();
        assert_eq!((report.token.expose(), report.report.execution_id.as_str()), ("t0k3n", "e"));
        assert_eq!(
            read(event("Run Trigger", detail)).unwrap_err(),
            ["$.detail-type: must be \"Agent Report\" on the bus of reports"]
        );
        assert_eq!(
            read(event("Agent Report", json!({"status": "done", "triggerId": "t"}))).unwrap_err(),
            [
                "$.detail.token: is missing",
                "$.detail.executionId: is missing",
                "$.detail.status: must be \"running\", \"completed\" or \"failed\"",
            ]
        );
    }
}
