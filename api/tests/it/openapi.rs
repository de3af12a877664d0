//! The API reference, docs/openapi.yaml. Every route is in it, and every answer that any of these tests gets fits it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::hooks::manage::hook_function;
use crate::support::{Answer, USER, World, id, scheduled, subscribed};

/// The operation of the reports surface, a function of its own. The tests of reports get its answers.
const OF_REPORTS: &str = "POST /reports";
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.yaml")).unwrap();
    standins::template::yaml(&text).unwrap()
});
/// The validators that were needed already, by the pointer to their schema.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Returns the path of the document that a request's path fits. One without parameters takes precedence, as in the router.
fn path_of(path: &str) -> Option<&'static str> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let path = path.strip_prefix("/v1").unwrap_or(path);
    let fits = |template: &str| {
        let (parts, given) = (template.split('/'), path.split('/'));
        parts.clone().count() == given.clone().count()
            && parts.zip(given).all(|(part, given)| part == given || (part.starts_with('{') && !given.is_empty()))
    };
    let paths = DOCUMENT["paths"].as_object().unwrap().keys().map(String::as_str);
    paths.filter(|template| fits(template)).min_by_key(|template| template.matches('{').count())
}

/// Follows a reference within the document.
fn followed(pointer: String) -> String {
    match DOCUMENT.pointer(&pointer).and_then(|value| value["$ref"].as_str()) {
        Some(reference) => followed(reference.trim_start_matches('#').to_owned()),
        None => pointer,
    }
}

fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

/// Asserts that a value fits the schema at this place of the document.
fn assert_fits(pointer: &str, value: &Value, what: &str) {
    let validator = {
        let mut validators = VALIDATORS.lock().unwrap();
        let new = || {
            let schema = json!({"components": DOCUMENT["components"], "allOf": [DOCUMENT.pointer(pointer).unwrap()]});
            Arc::new(jsonschema::validator_for(&schema).unwrap())
        };
        Arc::clone(validators.entry(pointer.to_owned()).or_insert_with(new))
    };
    let problems: Vec<String> = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(problems.is_empty(), "{what} is not as docs/openapi.yaml says: {}\n{value:#}", problems.join("\n"));
}

/// Asserts that an answer is one that the document promises, and that a request which was accepted is one that it allows.
pub(crate) fn check(method: &str, path: &str, sent: Option<&Value>, answer: &Answer) {
    let what = format!("{method} {path}: {}", answer.status);
    let method = method.to_lowercase();
    let operation = path_of(path).map(|template| format!("/paths/{}/{method}", escaped(template)));
    let operation = operation.filter(|pointer| DOCUMENT.pointer(pointer).is_some());
    let is_json = || answer.headers.get("content-type").is_some_and(|kind| kind == "application/json");
    let Some(operation) = operation else {
        // The page's own files are none of the API. HEAD answers as GET does, without a body.
        if answer.status >= 400 && method != "head" && is_json() {
            assert_fits("/components/schemas/Error", &answer.body, &what);
        }
        return;
    };
    let responses = format!("{operation}/responses");
    let own = format!("{responses}/{}", answer.status);
    let response = match DOCUMENT.pointer(&own) {
        Some(_) => followed(own),
        None if answer.status >= 400 => followed(format!("{responses}/default")),
        None => panic!("{what}: docs/openapi.yaml has no such status"),
    };
    let schema = format!("{response}/content/application~1json/schema");
    if DOCUMENT.pointer(&schema).is_some() {
        assert!(is_json(), "{what}: {:?}", answer.headers);
        assert_fits(&schema, &answer.body, &what);
    } else {
        assert_eq!(answer.body, json!(""), "{what}");
    }
    let body = followed(format!("{operation}/requestBody"));
    let schema = format!("{body}/content/application~1json/schema");
    if let Some(sent) = sent.filter(|_| answer.status < 300 && DOCUMENT.pointer(&schema).is_some()) {
        assert_fits(&schema, sent, &format!("the body of {what}"));
    }
}

/// Returns the methods and paths of the document.
fn documented() -> BTreeSet<String> {
    let methods = |item: &Value| -> Vec<String> {
        let names = item.as_object().unwrap().keys();
        names
            .filter(|name| !["parameters", "servers"].contains(&name.as_str()))
            .map(|name| name.to_uppercase())
            .collect()
    };
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| methods(item).into_iter().map(move |method| format!("{method} {path}"))).collect()
}

#[test]
fn every_route_is_in_the_reference() {
    let router = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/router.rs")).unwrap();
    let (_, managed) = router.split_once("\nfn managed(").unwrap();
    let (managed, _) = managed.split_once("];\n").unwrap();
    let mut routes = BTreeSet::new();
    for route in managed.split("(\"/").skip(1) {
        let (path, handlers) = route.split_once('"').unwrap();
        let methods = ["get", "post", "put", "patch", "delete"];
        let known = methods.into_iter().filter(|method| handlers.contains(&format!("{method}(")));
        routes.extend(known.map(|method| format!("{} /{path}", method.to_uppercase())));
    }
    assert!(routes.len() > 20, "{routes:?}");
    routes.insert(OF_REPORTS.to_owned());
    assert_eq!(documented(), routes);
}

#[test]
fn the_reference_has_the_members_of_the_schema_of_triggers() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/trigger.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let names =
        |schema: &Value| -> BTreeSet<String> { schema["properties"].as_object().unwrap().keys().cloned().collect() };
    let mut wanted = names(&schema);
    for of_the_table in ["$schema", "PK", "SK", "GSI2PK", "GSI2SK", "userId", "followsAnyUser"] {
        assert!(wanted.remove(of_the_table), "{of_the_table}");
    }
    assert_eq!(names(&DOCUMENT["components"]["schemas"]["TriggerInput"]), wanted);
}

#[test]
fn an_answer_that_differs_is_found() {
    let headers = Map::from_iter([("content-type".to_owned(), json!("application/json"))]);
    let metadata = json!({"requestId": "r", "timestamp": "2026-01-01T00:00:00.000Z"});
    let fits = |status: u16, body: Value| {
        let answer = Answer { status, headers: headers.clone(), body };
        std::panic::catch_unwind(|| check("GET", "/v1/ping", None, &answer)).is_ok()
    };
    assert!(fits(200, json!({"status": "ok", "version": "1", "metadata": metadata})));
    assert!(!fits(200, json!({"status": "ok", "metadata": metadata})));
    assert!(!fits(200, json!({"status": "ok", "version": "1", "more": 1, "metadata": metadata})));
    assert!(!fits(201, json!({"status": "ok", "version": "1", "metadata": metadata})));
    assert!(!fits(500, json!({"status": "ok", "version": "1", "metadata": metadata})));
}

#[tokio::test]
async fn every_operation_answers_as_the_reference_says() {
    let world = World::start().await;
    let api = world.lambda(&[]).await;
    // The delivery of a test goes to it.
    let _hooks = hook_function(&world).await;
    let mut done = BTreeSet::new();
    let created = api.send("POST", "/triggers", Some(scheduled())).await.expect(201);
    let trigger = id(&created["trigger"]).to_owned();
    let uploads = api.send("POST", "/triggers", Some(subscribed())).await.expect(201);
    let uploads = id(&uploads["trigger"]).to_owned();
    let mut hooked = subscribed();
    hooked["eventConfig"] = json!({"eventSourceId": "webhook"});
    hooked["webhookConfig"] = json!({"preset": "standard"});
    let hooked = api.send("POST", "/triggers", Some(hooked)).await.expect(201);
    let hooked = id(&hooked["trigger"]).to_owned();
    let run = world.put_execution(&trigger, "2026-01-01T07:00:00Z", json!({"status": "running"}));
    let failed =
        world.put_execution(&trigger, "2026-01-01T08:00:00Z", json!({"status": "failed", "errorType": "AgentFailed"}));
    world.stack.dynamodb.put_item(&json!({"PK": format!("TRIGGER#{trigger}"), "SK": format!("INPUT#{failed}"),
        "detail": json!({"userId": USER, "agentId": "agent-1", "prompt": "Look"}).to_string()}));
    let named = |execution: &str| json!({"executions": [{"triggerId": trigger, "executionId": execution}, {"triggerId": "no", "executionId": "no"}]});
    let config = json!({"expression": "0 9 * * *"});
    let event = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../events/s3-object-created.json")).unwrap();
    let event: Value = serde_json::from_str(&event).unwrap();
    let requests = [
        ("GET", "/triggers".to_owned(), None, 200),
        ("POST", "/triggers/check".to_owned(), Some(json!({"triggerId": uploads, "event": event})), 200),
        ("POST", "/triggers/check".to_owned(), Some(json!({"trigger": scheduled()})), 200),
        ("GET", format!("/triggers/{trigger}"), None, 200),
        ("PUT", format!("/triggers/{trigger}"), Some(json!({"name": "Another", "scheduleConfig": config})), 200),
        ("POST", format!("/triggers/{trigger}/disable"), None, 200),
        ("POST", format!("/triggers/{trigger}/enable"), None, 200),
        ("POST", format!("/triggers/{trigger}/run"), None, 202),
        ("GET", format!("/triggers/{trigger}/status"), None, 200),
        ("GET", format!("/triggers/{trigger}/next-runs"), None, 200),
        ("GET", format!("/triggers/{trigger}/executions"), None, 200),
        ("GET", format!("/triggers/{trigger}/executions/{run}"), None, 200),
        ("GET", format!("/triggers/{trigger}/executions/{failed}/input"), None, 200),
        ("POST", format!("/triggers/{trigger}/executions/{run}/cancel"), None, 202),
        ("POST", format!("/triggers/{trigger}/executions/{failed}/replay"), None, 202),
        ("GET", format!("/triggers/{hooked}"), None, 200),
        ("GET", format!("/triggers/{hooked}/deliveries"), None, 200),
        ("POST", format!("/triggers/{hooked}/webhook/secret"), Some(json!({"graceSeconds": 60})), 200),
        ("POST", format!("/triggers/{hooked}/webhook/test"), Some(json!({})), 202),
        ("GET", "/providers".to_owned(), None, 200),
        ("GET", "/executions?status=failed,running".to_owned(), None, 200),
        ("POST", "/executions/cancel".to_owned(), Some(named(&run)), 200),
        ("POST", "/executions/replay".to_owned(), Some(named(&failed)), 200),
        ("POST", "/schedules/preview".to_owned(), Some(config.clone()), 200),
        ("GET", "/upcoming-runs".to_owned(), None, 200),
        ("GET", "/events".to_owned(), None, 200),
        ("GET", "/ping".to_owned(), None, 200),
        ("DELETE", format!("/triggers/{uploads}"), None, 200),
    ];
    done.insert("POST /triggers".to_owned());
    // Each answer is checked as it comes (support.rs).
    for (method, path, body, status) in requests {
        api.send(method, &path, body.clone()).await.expect(status);
        api.send(method, &format!("/v1{path}"), body).await;
        done.insert(format!("{method} {}", path_of(&path).unwrap()));
    }
    done.insert(OF_REPORTS.to_owned());
    assert_eq!(done, documented());
}
