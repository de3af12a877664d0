//! What the stack costs in a month in which nothing happens, computed from the template. docs/cost.md has the table.

use std::path::Path;

use serde_json::Value;
use standins::Template;

/// Prices in dollars for us-east-1, as AWS publishes them on the pages named at each constant.
mod price {
    /// A metric that an alarm of standard resolution watches (<https://aws.amazon.com/cloudwatch/pricing/>).
    pub(super) const ALARM_METRIC: f64 = 0.10;
    /// A dashboard (the same page).
    pub(super) const DASHBOARD: f64 = 3.00;
    /// An app client that gets tokens for itself (<https://aws.amazon.com/cognito/pricing/>).
    pub(super) const APP_CLIENT: f64 = 6.00;
    /// A request to a standard queue (<https://aws.amazon.com/sqs/pricing/>).
    pub(super) const QUEUE_REQUEST: f64 = 0.40e-6;
    /// A read request unit of a table's stream (<https://aws.amazon.com/dynamodb/pricing/on-demand/>).
    pub(super) const STREAM_READ: f64 = 0.02e-5;
}

const MONTH_SECONDS: f64 = 30.0 * 24.0 * 60.0 * 60.0;
/// Lambda polls a queue with five connections, each of which waits 20 s for a message
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>).
const QUEUE_POLLS: f64 = 5.0 * MONTH_SECONDS / 20.0;
/// Pipes polls each shard of a stream four times a second
/// (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-dynamodb.html>).
const STREAM_POLLS: f64 = 4.0 * MONTH_SECONDS;

/// The kinds of resources that cost something while nothing happens.
const CHARGED: [&str; 3] = ["AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::Serverless::Function"];
/// The kinds that AWS charges for their requests, their messages, their users or their contents only, or never.
const FREE_WHILE_IDLE: [&str; 27] = [
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Authorizer",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::ApiGatewayV2::Stage",
    "AWS::Cognito::UserPool",
    "AWS::Cognito::UserPoolClient",
    "AWS::Cognito::UserPoolDomain",
    "AWS::Cognito::UserPoolResourceServer",
    "AWS::DynamoDB::Table",
    "AWS::Events::EventBus",
    "AWS::Events::Rule",
    "AWS::IAM::Role",
    "AWS::IAM::RolePolicy",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Url",
    "AWS::Logs::LogGroup",
    "AWS::Logs::MetricFilter",
    "AWS::Pipes::Pipe",
    "AWS::SNS::Subscription",
    "AWS::SNS::Topic",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::Queue",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::ScheduleGroup",
    // An Express state machine, which is charged for its executions.
    "AWS::StepFunctions::StateMachine",
];

fn template() -> Template {
    Template::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("template.yaml")).unwrap()
}

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cost.md")).unwrap()
}

/// What is off by default: the parameter as docs/cost.md names it, and the condition of its alarms.
const OPTIONS: [(&str, &str); 4] = [
    ("`ApiState: ENABLED`", "MakeApi"),
    ("`ReportsState: ENABLED`", "MakeReports"),
    ("`StepFunctionsState: ENABLED`", "AnswerTasks"),
    ("`CapacityProviderArn`", "UseProvider"),
];

/// How many metrics an alarm watches: one, or those of its expression.
fn metrics_of(alarm: &Value) -> usize {
    let Some(parts) = alarm["Metrics"].as_array() else { return 1 };
    parts.iter().filter(|part| part["MetricStat"].is_object()).count()
}

/// How many queues Lambda polls for a function.
fn polled_queues(function: &Value) -> usize {
    let events = function["Events"].as_object().into_iter().flatten();
    events.filter(|(_, event)| event["Type"] == "SQS").count()
}

fn thousands(count: f64) -> String {
    let digits = format!("{count:.0}");
    let parts: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).unwrap()).collect();
    parts.join(",")
}

#[test]
fn the_page_says_what_an_idle_month_costs() {
    let template = template();
    let option_of = |id: &str| {
        let condition = template.condition(id);
        OPTIONS.iter().map(|(_, option)| *option).find(|option| condition == Some(*option))
    };
    let made = |kind, option: Option<&str>| {
        let made = template.resources(kind).into_iter().filter(|(id, _)| option_of(id) == option);
        made.map(|(_, properties)| properties).collect::<Vec<_>>()
    };
    let of = |kind| made(kind, None);
    let count = |number: usize| u32::try_from(number).map(f64::from).unwrap();
    let alarms = of("AWS::CloudWatch::Alarm");
    let watched_by = |alarms: &[Value]| count(alarms.iter().map(metrics_of).sum());
    let watched = watched_by(&alarms);
    let dashboards = count(of("AWS::CloudWatch::Dashboard").len());
    let polls = QUEUE_POLLS * count(of("AWS::Serverless::Function").iter().map(polled_queues).sum());
    let items = [
        (format!("{watched} metrics that {} alarms watch", alarms.len()), price::ALARM_METRIC, watched, "$0.10 each"),
        (format!("{dashboards} dashboard"), price::DASHBOARD, dashboards, "$3.00 each"),
        (
            format!("{} polls of the settle queue by Lambda", thousands(polls)),
            price::QUEUE_REQUEST,
            polls,
            "$0.40 a million",
        ),
    ];
    let total: f64 = items.iter().map(|(_, price, count, _)| price * count).sum();
    let rows = items.iter().map(|(item, price, count, each)| format!("| {item} | {each} | ${:.2} |\n", price * count));
    let clients = of("AWS::Cognito::UserPoolClient");
    let gets_tokens = |client: &&Value| client["AllowedOAuthFlows"].to_string().contains("client_credentials");
    let clients = count(clients.iter().filter(gets_tokens).count());
    let with_clients = format!(
        "| {clients} app client of the user pool for the function's tokens | $6.00 each | ${:.2} |\n\
         | together with `AgentAuth: cognito`, which is the default | | ${:.2} |\n",
        clients * price::APP_CLIENT,
        total + clients * price::APP_CLIENT
    );
    let table = format!("{}| together | | ${total:.2} |\n{with_clients}", rows.collect::<String>());
    assert!(page().contains(&table), "docs/cost.md must hold:\n{table}");

    let rows = OPTIONS.iter().map(|(parameter, option)| {
        let watched = watched_by(&made("AWS::CloudWatch::Alarm", Some(option)));
        format!("| {parameter} | {watched} | ${:.2} |\n", watched * price::ALARM_METRIC)
    });
    let more = rows.collect::<String>();
    assert!(page().contains(&more), "docs/cost.md must hold:\n{more}");

    let reads = STREAM_POLLS * count(of("AWS::Pipes::Pipe").len());
    let shard = format!("({} a shard and month, ${:.2})", thousands(reads), reads * price::STREAM_READ);
    assert!(page().contains(&shard), "docs/cost.md must hold: {shard}");
}

#[test]
fn nothing_else_of_the_stack_costs_anything_while_it_is_idle() {
    for kind in template().kinds() {
        let is_known = CHARGED.contains(&kind.as_str()) || FREE_WHILE_IDLE.contains(&kind.as_str());
        assert!(is_known, "{kind}: say here whether AWS charges for it while nothing happens");
    }
}
