//! The documented members of a trigger item (docs/triggers.md, The item), so that a misspelt one is reported.

use serde_json::Value;

use crate::{
    domain::task::TASK_FIELDS,
    json::{
        fields::{Fields, member, member_at},
        near_miss::near_misses,
    },
};

/// The members besides those of a task.
const ITEM: [&str; 15] = [
    "id",
    "userId",
    "name",
    "type",
    "enabled",
    "deletedAt",
    "pausedAt",
    "inputMapping",
    "eventConfig",
    "overlap",
    "timeoutSeconds",
    "maxRunsPerDay",
    "maxTokensPerDay",
    "pauseAfterFailures",
    "followsAnyUser",
];
/// The members of `scheduleConfig`. Only the control plane reads them.
const SCHEDULE_CONFIG: [&str; 5] = ["expression", "timezone", "startDate", "endDate", "flexibleTimeWindowMinutes"];
const EVENT_CONFIG: [&str; 4] = ["eventSourceId", "eventPattern", "condition", "threshold"];
const THRESHOLD: [&str; 2] = ["count", "windowSeconds"];
const CONDITION: [&str; 4] = ["field", "operator", "value", "order"];

/// Adds a problem for each misspelt member of the item itself: its name is nearly a documented one that the item does
/// not have. Its keys are never problems. The members of its objects are not looked at.
pub(crate) fn misspelt(fields: &mut Fields<'_>) {
    near_misses(fields, &[&TASK_FIELDS, &ITEM]);
}

/// Adds a problem for each misspelt member of `eventConfig`, and of its `threshold` and its conditions. An event
/// pattern may hold any name, because it has the names of events.
pub(crate) fn misspelt_config(config: &Value, problems: &mut Vec<String>) {
    let place = "$.eventConfig";
    look(config, place, &EVENT_CONFIG, problems);
    look(&config["threshold"], &member(place, "threshold"), &THRESHOLD, problems);
    let condition = member(place, "condition");
    match &config["condition"] {
        Value::Array(list) => {
            for (at, item) in list.iter().enumerate() {
                look(item, &member_at(&condition, at), &CONDITION, problems);
            }
        }
        single => look(single, &condition, &CONDITION, problems),
    }
}

/// Adds a problem for each misspelt member of `scheduleConfig`.
pub(crate) fn misspelt_schedule(config: &Value, problems: &mut Vec<String>) {
    look(config, "$.scheduleConfig", &SCHEDULE_CONFIG, problems);
}

/// Adds a problem for each member of the object at `place` with a name that is nearly one of the `known` names which
/// the object does not have. Null counts as absent. A value that is no object has no problem.
fn look(value: &Value, place: &str, known: &[&str], problems: &mut Vec<String>) {
    let Value::Object(object) = value else { return };
    let mut fields = Fields { problems: std::mem::take(problems), ..Fields::new(place, object) };
    near_misses(&mut fields, &[known]);
    *problems = fields.problems;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(problems: &[String]) -> Vec<&str> {
        problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect()
    }

    #[test]
    fn misspelt_members_are_named_in_each_documented_object() {
        let item = json!({"PK": "TRIGGER#u", "SK": "TRIGGER#t", "GSI1PK": "a", "GSI2PK": "b", "Enabled": false,
            "maxRunPerDay": 1, "input": {"Prompt": 1}, "inputMapping": {"agent_id": "$.id"}, "createdAt": "x"});
        let mut fields = Fields::new("$", item.as_object().unwrap());
        misspelt(&mut fields);
        assert_eq!(paths(&fields.problems), ["$.Enabled", "$.maxRunPerDay"]);

        let mut problems = Vec::new();
        let config = json!({"treshold": {}, "eventPattern": {"Condition": [1]}, "ruleArn": "x", "eventBusName": "y",
            "condition": [{"Field": "a"}, {"field": "a", "Operator": "eq"}, 7]});
        misspelt_config(&config, &mut problems);
        let expected =
            ["$.eventConfig.treshold", "$.eventConfig.condition[0].Field", "$.eventConfig.condition[1].Operator"];
        assert_eq!(paths(&problems), expected);

        problems.clear();
        misspelt_config(
            &json!({"threshold": {"Count": 1, "windowSecond": 2}, "condition": {"Value": 1}}),
            &mut problems,
        );
        let expected =
            ["$.eventConfig.threshold.Count", "$.eventConfig.threshold.windowSecond", "$.eventConfig.condition.Value"];
        assert_eq!(paths(&problems), expected);

        problems.clear();
        misspelt_schedule(&json!({"timeZone": "UTC", "expresion": 1, "startDate": 1, "StartDate": 2}), &mut problems);
        assert_eq!(paths(&problems), ["$.scheduleConfig.expresion", "$.scheduleConfig.timeZone"]);
    }

    #[test]
    fn an_item_of_the_management_api_holds_no_near_miss() {
        let item = json!({"PK": "TRIGGER#u", "SK": "TRIGGER#t", "GSI1PK": "TYPE#schedule", "GSI1SK": "USER#u#TRIGGER#t",
            "GSI2PK": "EVENTSOURCE#aws-s3", "GSI2SK": "USER#u#TRIGGER#t", "id": "t", "userId": "u", "name": "n",
            "description": "d", "type": "event", "enabled": true, "agentId": "a", "prompt": "p", "sessionId": "s",
            "modelId": "m", "workingDirectory": "/", "enabledTools": [], "createdAt": "x", "updatedAt": "x",
            "lastExecutedAt": "x", "version": 1, "ttl": 1, "health": "ok", "healthSince": "x", "failures": 0,
            "healthExecutionId": "e", "healthErrorType": "x", "healthError": "x", "pausedReason": "x", "pausedAt": "x",
            "scheduleConfig": {"expression": "rate(1 day)", "timezone": "UTC", "schedulerArn": "x",
                "scheduleGroupName": "g"},
            "eventConfig": {"eventSourceId": "aws-s3", "eventPattern": {}, "eventBusName": "b", "ruleArn": "r"}});
        let mut fields = Fields::new("$", item.as_object().unwrap());
        misspelt(&mut fields);
        let mut problems = fields.problems;
        misspelt_config(&item["eventConfig"], &mut problems);
        misspelt_schedule(&item["scheduleConfig"], &mut problems);
        assert_eq!(problems, Vec::<String>::new());
    }
}
