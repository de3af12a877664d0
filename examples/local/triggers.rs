//! The triggers that are stored in the table before the first event is sent.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use standins::DynamoDb;

use crate::report::shown;

/// Trigger items as a management API would store them.
pub(crate) struct Triggers {
    file: String,
    items: Vec<Value>,
}

/// Reads a file of items, or of one item as `triggerctl` takes it, and reports all problems at once.
pub(crate) fn read(path: &Path) -> Result<Triggers, String> {
    let file = shown(path);
    let text = fs::read_to_string(path).map_err(|e| format!("cannot read the triggers {file}: {e}"))?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let items = match serde_json::from_str(&text) {
        Ok(Value::Array(items)) => items.into_iter().map(|item| completed(item, None)).collect(),
        Ok(trigger @ Value::Object(_)) => vec![completed(trigger, Some(&stem))],
        Ok(_) => return Err(format!("{file}: must be a trigger, or an array of triggers, each an object with an id")),
        Err(e) => return Err(format!("{file}: is not JSON: {e}")),
    };
    let problems = problems(&items);
    if problems.is_empty() { Ok(Triggers { file, items }) } else { Err(listed(&file, &problems)) }
}

/// The user of a page without triggers: that of the sample triggers.
const USER: &str = "user-456";

/// Returns an item with the user of the local run, and with this id, if it has none of its own.
fn completed(mut item: Value, id: Option<&str>) -> Value {
    if let Value::Object(members) = &mut item {
        for (name, value) in id.map(|id| ("id", id)).into_iter().chain([("userId", USER)]) {
            members.entry(name).or_insert_with(|| value.into());
        }
    }
    item
}

impl Triggers {
    /// Returns the user who has all of the triggers.
    ///
    /// # Errors
    /// If several users have some: the page shows those of one.
    pub(crate) fn user(&self) -> Result<String, String> {
        let users: BTreeSet<&str> = self.items.iter().filter_map(|item| item["userId"].as_str()).collect();
        match users.len() {
            0 | 1 => Ok(users.first().copied().unwrap_or(USER).to_owned()),
            _ => {
                let users: Vec<_> = users.into_iter().collect();
                Err(format!("{}: --serve shows the triggers of one user, not of {}", self.file, users.join(", ")))
            }
        }
    }

    /// Stores the items.
    pub(crate) fn seed(&self, dynamodb: &DynamoDb) -> Result<(), String> {
        let store = |(at, item): (usize, &Value)| {
            let refused = dynamodb.try_put_trigger(item).err()?;
            Some(format!("$[{at}]: DynamoDB refuses it: {refused}"))
        };
        let problems: Vec<_> = self.items.iter().enumerate().filter_map(store).collect();
        if problems.is_empty() { Ok(()) } else { Err(listed(&self.file, &problems)) }
    }
}

/// Returns the problems that keep items from being stored. The function itself reports all others when a trigger is to
/// run.
fn problems(items: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for (at, item) in items.iter().enumerate() {
        if !item.is_object() {
            problems.push(format!("$[{at}]: must be an object"));
            continue;
        }
        let mut id = |name: &str| match &item[name] {
            Value::String(id) if !id.trim().is_empty() => Some(id.as_str()),
            Value::Null => {
                problems.push(format!("$[{at}].{name}: is missing"));
                None
            }
            _ => {
                problems.push(format!("$[{at}].{name}: must be a text that is not empty"));
                None
            }
        };
        if let (Some(id), Some(user_id)) = (id("id"), id("userId"))
            && !seen.insert((user_id, id))
        {
            problems.push(format!("$[{at}].id: {id} of {user_id} is there already"));
        }
    }
    problems
}

fn listed(file: &str, problems: &[String]) -> String {
    problems.iter().fold(format!("{file} cannot be stored:"), |text, problem| format!("{text}\n  {problem}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_may_hold_one_trigger_without_ids() {
        let file = std::env::temp_dir().join(format!("local-{}.json", uuid::Uuid::new_v4()));
        let stem = file.file_stem().unwrap().to_str().unwrap().to_owned();
        for (text, items) in [
            (r#"{"name": "n"}"#, Ok(json!([{"name": "n", "id": stem, "userId": USER}]))),
            (r#"{"id": "t", "userId": "ada"}"#, Ok(json!([{"id": "t", "userId": "ada"}]))),
            (r#"[{"id": "a"}, {"id": "b"}]"#, Ok(json!([{"id": "a", "userId": USER}, {"id": "b", "userId": USER}]))),
            // Two of them cannot have the name of the file.
            ("[{}, {}]", Err("$[0].id: is missing")),
            ("7", Err("must be a trigger, or an array of triggers")),
        ] {
            fs::write(&file, text).unwrap();
            match (read(&file), items) {
                (Ok(read), Ok(items)) => assert_eq!(Value::from(read.items), items, "{text}"),
                (Err(problem), Err(words)) => assert!(problem.contains(words), "{text}: {problem}"),
                (read, _) => panic!("{text}: {:?}", read.map(|read| read.items)),
            }
        }
        fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_page_shows_the_triggers_of_one_user() {
        let of = |users: &[&str]| {
            let items = users.iter().map(|user| json!({"id": "x", "userId": user})).collect();
            Triggers { file: "triggers.json".to_owned(), items }.user()
        };
        assert_eq!(of(&[]).as_deref(), Ok(USER));
        assert_eq!(of(&["ada", "ada"]).as_deref(), Ok("ada"));
        let refused = of(&["bob", "ada"]).unwrap_err();
        assert!(refused.contains("triggers.json") && refused.contains("not of ada, bob"), "{refused}");
    }
}
