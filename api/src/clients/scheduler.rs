//! EventBridge Scheduler: one schedule for each scheduled trigger. The only file that names the SDK's types.
//! <https://docs.aws.amazon.com/scheduler/latest/APIReference/Welcome.html>

use std::{sync::OnceLock, time::Duration};

use agent_trigger::error_chain::causes;
use aws_config::SdkConfig;
use aws_sdk_scheduler::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::DateTime,
    types::{
        ActionAfterCompletion, DeadLetterConfig, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy,
        ScheduleState, Target,
    },
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use jiff::Timestamp;

use crate::{
    schedules::{expression::Expression, schedule::Schedule},
    settings::Settings,
};

/// The time limit of one try, and of an operation with its retries. API Gateway's own limit is 30 s, the function's 10
/// s.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TRIES: u32 = 3;
/// The time for which Scheduler tries to deliver a fire, and the number of tries: as the schedules that
/// docs/stack.md describes.
const MAX_EVENT_AGE_SECONDS: i32 = 6 * 60 * 60;
const MAX_RETRIES: i32 = 185;

/// The reason why Scheduler refused a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchedulerError {
    /// There is no such schedule.
    #[error("the schedule does not exist")]
    NotFound,
    /// There is such a schedule already, or it is being changed.
    #[error("the schedule exists already, or is being changed")]
    Conflict,
    /// Scheduler does not take the schedule. Holds its words, for the client.
    #[error("the schedule is not valid")]
    Refused(String),
    /// Scheduler does not let the API in.
    #[error("access was denied")]
    Denied,
    /// Scheduler is throttling, failing or unreachable. Holds the error's code, or what the network's error was.
    #[error("it did not answer: {0}")]
    Unavailable(String),
}

/// A schedule as Scheduler has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// True if it fires.
    pub is_enabled: bool,
    /// The expression.
    pub expression: String,
    /// The zone.
    pub zone: String,
}

/// A schedule to be written, whole: an update replaces everything.
#[derive(Debug, Clone)]
pub struct Definition<'a> {
    /// The trigger.
    pub trigger_id: &'a str,
    /// The version of the trigger item from which this is built.
    pub version: u64,
    /// The schedule.
    pub schedule: &'a Schedule,
    /// True if it fires.
    pub is_enabled: bool,
    /// The event that the function gets.
    pub input: String,
}

/// The API. Its client is created for the first request, because most processes only read the table: it would be a
/// tenth of the start.
#[derive(Debug)]
pub struct Scheduler {
    aws: SdkConfig,
    client: OnceLock<Client>,
    group: String,
    role: String,
    function: String,
    dead_letters: Option<String>,
}

/// Returns the name of a trigger's schedule: `trigger-` and the trigger's id.
pub fn name_of(trigger_id: &str) -> String {
    format!("trigger-{trigger_id}")
}

impl Scheduler {
    /// Creates the API on the shared configuration.
    pub fn new(aws: &SdkConfig, settings: &Settings) -> Self {
        Self {
            aws: aws.clone(),
            client: OnceLock::new(),
            group: settings.schedule_group.clone(),
            role: settings.scheduler_role.clone(),
            function: settings.run_function.clone(),
            dead_letters: settings.schedule_dead_letters.clone(),
        }
    }

    /// Returns the client, which is built by the first caller.
    fn client(&self) -> &Client {
        self.client.get_or_init(|| {
            let timeouts = TimeoutConfig::builder()
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build();
            let config = aws_sdk_scheduler::config::Builder::from(&self.aws)
                .timeout_config(timeouts)
                .retry_config(RetryConfig::standard().with_max_attempts(MAX_TRIES))
                .build();
            Client::from_conf(config)
        })
    }

    /// Returns the group of the schedules.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Creates a schedule, and returns its ARN. The client token makes a retry of the same creation harmless. A start
    /// that has passed is left out.
    ///
    /// # Errors
    /// Returns an error if Scheduler does not create it. After `Unavailable` it may have been created all the same.
    pub async fn create(&self, definition: &Definition<'_>) -> Result<String, SchedulerError> {
        let Definition { schedule, .. } = definition;
        let request = self
            .client()
            .create_schedule()
            .name(name_of(definition.trigger_id))
            .group_name(&self.group)
            .client_token(format!("{}-{}", definition.trigger_id, definition.version))
            .schedule_expression(schedule.expression.canonical())
            .schedule_expression_timezone(&schedule.zone_name)
            .set_start_date(start(schedule))
            .set_end_date(schedule.end.map(date_time))
            .state(state(definition.is_enabled))
            .action_after_completion(after_completion(schedule))
            .flexible_time_window(window(schedule)?)
            .target(self.target(definition)?);
        let output = Box::pin(request.send()).await.map_err(|error| failure(&error))?;
        Ok(output.schedule_arn)
    }

    /// Replaces a schedule as a whole, and returns its ARN. A start that has passed is left out.
    ///
    /// # Errors
    /// Returns `NotFound` if there is none, and another error if Scheduler does not replace it. After `Unavailable` it
    /// may have been replaced all the same.
    pub async fn update(&self, definition: &Definition<'_>) -> Result<String, SchedulerError> {
        let Definition { schedule, .. } = definition;
        let request = self
            .client()
            .update_schedule()
            .name(name_of(definition.trigger_id))
            .group_name(&self.group)
            .schedule_expression(schedule.expression.canonical())
            .schedule_expression_timezone(&schedule.zone_name)
            .set_start_date(start(schedule))
            .set_end_date(schedule.end.map(date_time))
            .state(state(definition.is_enabled))
            .action_after_completion(after_completion(schedule))
            .flexible_time_window(window(schedule)?)
            .target(self.target(definition)?);
        let output = Box::pin(request.send()).await.map_err(|error| failure(&error))?;
        Ok(output.schedule_arn)
    }

    /// Deletes a schedule. A schedule that is not there counts as deleted.
    ///
    /// # Errors
    /// Returns an error if Scheduler does not delete it.
    pub async fn delete(&self, trigger_id: &str) -> Result<(), SchedulerError> {
        self.delete_in(&self.group, trigger_id).await
    }

    /// Deletes a schedule of another group, where another API has made it. A schedule that is not there counts as
    /// deleted.
    ///
    /// # Errors
    /// Returns an error if Scheduler does not delete it.
    pub async fn delete_in(&self, group: &str, trigger_id: &str) -> Result<(), SchedulerError> {
        let request = self.client().delete_schedule().name(name_of(trigger_id)).group_name(group);
        match Box::pin(request.send()).await.map_err(|error| failure(&error)) {
            Ok(_) | Err(SchedulerError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads a schedule of this API's group. Returns `None` if there is none.
    ///
    /// # Errors
    /// Returns an error if Scheduler refuses or does not answer.
    pub async fn get(&self, trigger_id: &str) -> Result<Option<Known>, SchedulerError> {
        let request = self.client().get_schedule().name(name_of(trigger_id)).group_name(&self.group);
        match Box::pin(request.send()).await.map_err(|error| failure(&error)) {
            Ok(found) => Ok(Some(Known {
                is_enabled: found.state != Some(ScheduleState::Disabled),
                expression: found.schedule_expression.unwrap_or_default(),
                zone: found.schedule_expression_timezone.unwrap_or_default(),
            })),
            Err(SchedulerError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the target of a schedule: the run function, with the definition's event, Scheduler's retries of six
    /// hours, and the queue for dead letters if there is one.
    ///
    /// # Errors
    /// Returns `Refused` if it cannot be built, which does not happen.
    fn target(&self, definition: &Definition<'_>) -> Result<Target, SchedulerError> {
        let retries = RetryPolicy::builder()
            .maximum_event_age_in_seconds(MAX_EVENT_AGE_SECONDS)
            .maximum_retry_attempts(MAX_RETRIES)
            .build();
        let dead_letters = self.dead_letters.as_ref().map(|queue| DeadLetterConfig::builder().arn(queue).build());
        let target = Target::builder()
            .arn(&self.function)
            .role_arn(&self.role)
            .retry_policy(retries)
            .set_dead_letter_config(dead_letters)
            .input(&definition.input);
        target.build().map_err(|error| SchedulerError::Refused(error.to_string()))
    }
}

/// Returns Scheduler's word for a schedule that fires or does not.
fn state(is_enabled: bool) -> ScheduleState {
    if is_enabled { ScheduleState::Enabled } else { ScheduleState::Disabled }
}

/// Returns the action after the last fire. A schedule that fires once deletes itself.
fn after_completion(schedule: &Schedule) -> ActionAfterCompletion {
    match schedule.expression {
        Expression::At(_) => ActionAfterCompletion::Delete,
        Expression::Cron(_) | Expression::Rate { .. } => ActionAfterCompletion::None,
    }
}

/// Returns the window within which a fire may come: that of the schedule in minutes, or none.
///
/// # Errors
/// Returns `Refused` if it cannot be built, which does not happen.
fn window(schedule: &Schedule) -> Result<FlexibleTimeWindow, SchedulerError> {
    let mode = match schedule.window_minutes {
        Some(_) => FlexibleTimeWindowMode::Flexible,
        None => FlexibleTimeWindowMode::Off,
    };
    let window = FlexibleTimeWindow::builder().mode(mode);
    let window = window.set_maximum_window_in_minutes(schedule.window_minutes.map(i32::from)).build();
    window.map_err(|error| SchedulerError::Refused(error.to_string()))
}

/// Returns the start, or `None` if there is none or it has passed: Scheduler refuses a start that is more than five
/// minutes ago.
fn start(schedule: &Schedule) -> Option<DateTime> {
    schedule.start.filter(|start| *start > Timestamp::now()).map(date_time)
}

/// Returns a time in the SDK's type, in whole milliseconds.
fn date_time(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millisecond())
}

/// Returns the error of a request, by the code that Scheduler answers. Without an answer, and for any other code, it is
/// `Unavailable`.
fn failure<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> SchedulerError {
    let SdkError::ServiceError(_) = error else {
        return SchedulerError::Unavailable(causes(error));
    };
    match error.code() {
        Some("ResourceNotFoundException") => SchedulerError::NotFound,
        Some("ConflictException") => SchedulerError::Conflict,
        Some("ValidationException") => SchedulerError::Refused(error.message().unwrap_or_default().to_owned()),
        Some("AccessDeniedException") => SchedulerError::Denied,
        code => SchedulerError::Unavailable(code.unwrap_or("unknown error").to_owned()),
    }
}
