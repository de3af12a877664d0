//! Checks that the table's index, transactions and stream behave as DynamoDB's do.

use std::time::Duration;

use serde_json::{Value, json};
use standins::{DynamoDb, Fault, INDEX, Rule, TABLE};

async fn ask(db: &DynamoDb, operation: &str, body: Value) -> reqwest::Result<(u16, Value)> {
    let response = crate::client()
        .post(db.url())
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("x-amz-date", "20260101T000000Z")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=0")
        .timeout(Duration::from_secs(60))
        .body(body.to_string())
        .send()
        .await?;
    Ok((response.status().as_u16(), response.json().await?))
}

fn subscribers() -> Value {
    json!({"TableName": TABLE, "IndexName": INDEX, "KeyConditionExpression": "GSI2PK = :source",
        "ExpressionAttributeValues": {":source": {"S": "EVENTSOURCE#aws-s3"}}})
}

fn subscribe(db: &DynamoDb, ids: impl Iterator<Item = u32>, prompt: &str) {
    for id in ids {
        db.put_trigger(&json!({"id": format!("t{id:03}"), "userId": "user-1", "agentId": "a", "prompt": prompt,
            "type": "event", "eventConfig": {"eventSourceId": "aws-s3", "eventPattern": {"detail": {"size": [1]}}}}));
    }
}

/// Returns the ids of all subscribers and the size of each page.
async fn paged(db: &DynamoDb, mut request: Value) -> (Vec<String>, Vec<usize>) {
    let (mut ids, mut pages) = (Vec::new(), Vec::new());
    loop {
        let (status, page) = ask(db, "Query", request.clone()).await.expect("an answer");
        assert_eq!(status, 200, "{page}");
        let items: Vec<_> = page["Items"].as_array().into_iter().flatten().collect();
        pages.push(items.len());
        ids.extend(items.iter().map(|item| item["id"]["S"].as_str().unwrap_or_default().to_owned()));
        match page.get("LastEvaluatedKey") {
            Some(last) => request["ExclusiveStartKey"] = last.clone(),
            None => return (ids, pages),
        }
    }
}

#[tokio::test]
async fn a_trigger_is_found_through_the_index() {
    let db = DynamoDb::start().await;
    subscribe(&db, 1..2, "p");
    db.put_trigger(&json!({"id": "other", "userId": "user-1", "eventConfig": {"eventSourceId": "aws-ec2"}}));
    db.put_trigger(&json!({"id": "none", "userId": "user-1", "type": "schedule"}));
    db.put_trigger(&json!({"PK": "TRIGGER#user-2", "SK": "TRIGGER#own", "prompt": "without an id"}));
    let (_, page) = ask(&db, "Query", subscribers()).await.unwrap();
    assert_eq!(page["Count"], 1);
    let item = &page["Items"][0];
    assert_eq!((&item["PK"]["S"], &item["SK"]["S"]), (&json!("TRIGGER#user-1"), &json!("TRIGGER#t001")));
    assert_eq!(item["GSI2SK"]["S"], "USER#user-1#TRIGGER#t001");
    assert_eq!(item["eventConfig"]["M"]["eventPattern"]["M"]["detail"]["M"]["size"]["L"][0]["N"], "1");
    assert_eq!(db.item("TRIGGER#user-1", "TRIGGER#none").unwrap().get("GSI2PK"), None);
    assert!(db.item("TRIGGER#user-2", "TRIGGER#own").is_some());
    db.delete("TRIGGER#user-1", "TRIGGER#t001");
    assert_eq!(paged(&db, subscribers()).await.0, [""; 0]);
}

#[tokio::test]
async fn the_index_pages_by_a_megabyte_and_by_a_limit() {
    let db = DynamoDb::start().await;
    subscribe(&db, 0..25, &"p".repeat(100_000));
    let all: Vec<_> = (0..25).map(|id| format!("t{id:03}")).collect();
    let (ids, pages) = paged(&db, subscribers()).await;
    assert_eq!((ids, pages), (all.clone(), vec![10, 10, 5]));
    db.page_size(4);
    assert_eq!(paged(&db, subscribers()).await, (all.clone(), vec![4, 4, 4, 4, 4, 4, 1]));
    let mut two = subscribers();
    two["Limit"] = 2.into();
    assert_eq!(paged(&db, two).await.1.len(), 13, "a smaller limit of the request's own counts");
    db.page_size(5);
    assert_eq!(paged(&db, subscribers()).await.1, [5, 5, 5, 5, 5, 0], "a full page never says that it is the last");
    let sent = &db.requests()[0];
    assert_eq!(sent.json().get("Limit"), None, "what is kept is the request as it came");
}

fn transaction(owner: &str) -> Value {
    let item = |sk: &str| json!({"PK": {"S": "TRIGGER#t"}, "SK": {"S": sk}, "owner": {"S": owner}});
    let put = |sk: &str| {
        json!({"Put": {"TableName": TABLE, "Item": item(sk), "ConditionExpression": "attribute_not_exists(PK)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}})
    };
    json!({"TransactItems": [put("MARK#1"), {"Update": {"TableName": TABLE,
        "Key": {"PK": {"S": "TRIGGER#t"}, "SK": {"S": "THRESHOLD"}}, "UpdateExpression": "ADD #c :one",
        "ExpressionAttributeNames": {"#c": "count"}, "ExpressionAttributeValues": {":one": {"N": "1"}}}}]})
}

#[tokio::test]
async fn a_cancelled_transaction_changes_nothing_and_tells_the_old_item() {
    let db = DynamoDb::start().await;
    assert_eq!(ask(&db, "TransactWriteItems", transaction("first")).await.unwrap(), (200, json!({})));
    let (status, refused) = ask(&db, "TransactWriteItems", transaction("second")).await.unwrap();
    assert_eq!(status, 400);
    assert_eq!(refused["__type"], "com.amazonaws.dynamodb.v20120810#TransactionCanceledException");
    let reasons = &refused["CancellationReasons"];
    assert_eq!((&reasons[0]["Code"], &reasons[1]["Code"]), (&json!("ConditionalCheckFailed"), &json!("None")));
    assert_eq!(reasons[0]["Item"]["owner"]["S"], "first");
    assert_eq!(db.item("TRIGGER#t", "THRESHOLD").unwrap()["count"], 1);
    assert_eq!(db.changes().next_page().len(), 2, "nor does the stream tell of it");
    assert_eq!((db.count_for("TransactWriteItems", "THRESHOLD"), db.count_for("TransactWriteItems", "x")), (2, 0));
    assert_eq!(db.requests()[0].keys("SK"), ["MARK#1", "THRESHOLD"]);
}

#[tokio::test]
async fn of_concurrent_transactions_each_counts_once() {
    let db = DynamoDb::start().await;
    let mut tasks = tokio::task::JoinSet::new();
    let db = std::sync::Arc::new(db);
    for n in 0..40 {
        let (db, mut body) = (std::sync::Arc::clone(&db), transaction("x"));
        body["TransactItems"][0]["Put"]["Item"]["SK"]["S"] = format!("MARK#{}", n / 2).into();
        tasks.spawn(async move { ask(&db, "TransactWriteItems", body).await.unwrap().0 });
    }
    let statuses = tasks.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 20);
    assert_eq!(db.item("TRIGGER#t", "THRESHOLD").unwrap()["count"], 20);
}

#[tokio::test]
async fn faults_befall_queries_and_transactions() {
    let db = DynamoDb::start().await;
    subscribe(&db, 0..3, "p");
    let throttled = db.inject(Rule::new("Query", Fault::Throttle).containing("EVENTSOURCE#aws-s3").after(1).once());
    assert_eq!(ask(&db, "Query", subscribers()).await.unwrap().0, 200);
    assert_eq!(ask(&db, "Query", subscribers()).await.unwrap().0, 400);
    assert_eq!((ask(&db, "Query", subscribers()).await.unwrap().0, throttled.hits()), (200, 1));

    db.inject(Rule::new("TransactWriteItems", Fault::Conflict).once());
    let (status, conflict) = ask(&db, "TransactWriteItems", transaction("a")).await.unwrap();
    let codes: Vec<_> = (0..2).map(|i| conflict["CancellationReasons"][i]["Code"].as_str().unwrap()).collect();
    assert_eq!((status, codes), (400, vec!["TransactionConflict", "None"]));
    assert_eq!(db.item("TRIGGER#t", "MARK#1"), None);
    db.inject(Rule::new("TransactWriteItems", Fault::ApplyThenLose).once());
    assert!(ask(&db, "TransactWriteItems", transaction("a")).await.is_err());
    assert!(db.item("TRIGGER#t", "MARK#1").is_some());
    db.inject(Rule::new("GetItem", Fault::Conflict).once());
    let key = json!({"TableName": TABLE, "Key": {"PK": {"S": "TRIGGER#t"}, "SK": {"S": "MARK#1"}}});
    let (_, conflict) = ask(&db, "GetItem", key).await.unwrap();
    assert_eq!(conflict["__type"], "com.amazonaws.dynamodb.v20120810#TransactionConflictException");
}

#[tokio::test]
async fn the_stream_tells_every_change_in_order() {
    let db = DynamoDb::start().await;
    let mut changes = db.changes();
    assert!(changes.next_page().is_empty());
    db.put_item(&json!({"PK": "TRIGGER#t", "SK": "EXECUTION#1", "status": "running"}));
    db.update("TRIGGER#t", "EXECUTION#1", &json!({"status": "completed"}));
    db.update("TRIGGER#t", "EXECUTION#1", &json!({"status": "completed"}));
    db.delete("TRIGGER#t", "EXECUTION#1");
    let page = changes.next_page();
    let told: Vec<_> = page.iter().map(|record| record["eventName"].as_str().unwrap()).collect();
    assert_eq!(told, ["INSERT", "MODIFY", "REMOVE"], "a write that changes nothing is not told");
    let modify = &page[1];
    assert_eq!(modify["dynamodb"]["Keys"], json!({"PK": {"S": "TRIGGER#t"}, "SK": {"S": "EXECUTION#1"}}));
    assert_eq!(modify["dynamodb"]["OldImage"]["status"]["S"], "running");
    assert_eq!(modify["dynamodb"]["NewImage"]["status"]["S"], "completed");
    assert_eq!(modify["dynamodb"]["StreamViewType"], "NEW_AND_OLD_IMAGES");
    assert_eq!((&modify["eventSource"], &modify["awsRegion"]), (&json!("aws:dynamodb"), &json!("us-east-1")));
    assert!(modify["eventSourceARN"].as_str().unwrap().contains(":table/standin-triggers/stream/"));
    assert!(modify["eventID"].is_string() && modify["dynamodb"]["ApproximateCreationDateTime"].is_number());
    assert!(page[0]["dynamodb"].get("OldImage").is_none() && page[2]["dynamodb"].get("NewImage").is_none());
    for n in 0..2100 {
        db.put_item(&json!({"PK": "TRIGGER#t", "SK": format!("EXECUTION#{n:04}")}));
    }
    let mut pages = Vec::new();
    loop {
        let page = changes.next_page();
        if page.is_empty() {
            break;
        }
        pages.push((page.len(), page[0]["dynamodb"]["Keys"]["SK"]["S"].clone()));
    }
    let first = |n: usize| json!(format!("EXECUTION#{n:04}"));
    assert_eq!(pages, [(1000, first(0)), (1000, first(1000)), (100, first(2000))]);
}
