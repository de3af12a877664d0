//! The settings that a command needs besides the table, if the control plane's code runs in this process.

/// The value of a setting that the command does not need.
const UNUSED: &str = "unused";

const FUNCTION: (&str, &str) = ("RUN_FUNCTION_ARN", "the stack's output FunctionArn");
const GROUP: (&str, &str) = ("SCHEDULE_GROUP_NAME", "the stack's output ScheduleGroupName");
const ROLE: (&str, &str) = ("SCHEDULER_ROLE_ARN", "the stack's output SchedulerRoleArn");
/// A schedule is always written as a whole, so one that is written without its queue loses it.
const QUEUE: (&str, &str) = ("SCHEDULE_DLQ_ARN", "the stack's output ScheduleDeadLetterQueueArn");
const HOOKS_URL: (&str, &str) = ("HOOKS_URL", "the stack's output HookUrl");
const SECRETS: (&str, &str) = ("HOOK_SECRET_PATH", "the stack's output HookSecretPath");
const HOOK_FUNCTION: (&str, &str) = ("HOOK_FUNCTION_ARN", "the stack's output HookFunctionArn");
/// The settings of the hooks surface.
const HOOKS: [&str; 3] = [HOOKS_URL.0, SECRETS.0, HOOK_FUNCTION.0];
/// The end of the stack's output of webhooks, to which a webhook's id is appended.
const HOOKS_END: &str = "/hooks";
/// The value of `SCHEDULE_DLQ_ARN` for schedules without a dead-letter queue.
const NO_QUEUE: &str = "none";

/// The services that a command needs besides the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: it reads the table, or writes to it alone.
    Table,
    /// The function, which it invokes.
    Function,
    /// The schedule group, from which it deletes.
    Group,
    /// Everything that a schedule is made of.
    Schedules,
    /// The hooks surface: its address, its secrets and its function.
    Hooks,
    /// The schedule group and the hooks surface: what a trigger with a webhook may leave behind.
    GroupAndHooks,
}

impl Needs {
    /// Returns the settings without which the command cannot do its work, each with where its value is found.
    pub(crate) fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Table => &[],
            Self::Function => &[FUNCTION],
            Self::Group => &[GROUP],
            Self::Schedules => &[FUNCTION, GROUP, ROLE, QUEUE],
            Self::Hooks => &[HOOKS_URL, SECRETS, HOOK_FUNCTION],
            Self::GroupAndHooks => &[GROUP, HOOKS_URL, SECRETS, HOOK_FUNCTION],
        }
    }

    /// Names the settings that the command needs and that are not set. `given` looks one up.
    pub(crate) fn missing(self, given: impl Fn(&str) -> Option<String>) -> Option<String> {
        let missing: Vec<_> = self
            .settings()
            .iter()
            .filter(|(name, _)| given(name).is_none())
            .map(|(name, place)| format!("{name} is not set ({place})"))
            .collect();
        let none = if missing.iter().any(|problem| problem.starts_with(QUEUE.0)) {
            format!("; {}={NO_QUEUE} stands for schedules without a dead-letter queue", QUEUE.0)
        } else {
            String::new()
        };
        (!missing.is_empty()).then(|| format!("{}{none}; --api URL needs none of them", missing.join(", ")))
    }
}

/// Returns a setting as the control plane's code gets it. `given` looks up what is set. The queue `none` is no queue. A
/// function, group or role that is not set gets a value that is never used. The settings of the hooks surface count
/// only if all of them are set, and its address is returned without the `/hooks` at its end.
pub(crate) fn setting(name: &str, given: impl Fn(&str) -> Option<String>) -> Option<String> {
    match name {
        name if name == QUEUE.0 => given(name).filter(|queue| queue != NO_QUEUE),
        name if [FUNCTION.0, GROUP.0, ROLE.0].contains(&name) => given(name).or_else(|| Some(UNUSED.to_owned())),
        // One without the others would be refused, and most commands need none of them.
        name if HOOKS.contains(&name) => {
            let value = given(name).filter(|_| HOOKS.iter().all(|name| given(name).is_some()))?;
            let is_url = name == HOOKS_URL.0;
            Some(if is_url { value.trim_end_matches('/').trim_end_matches(HOOKS_END).to_owned() } else { value })
        }
        name => given(name),
    }
}

/// Returns a setting of the hooks surface for a check that calls nothing: a trigger may have a webhook, wherever it
/// will be received.
pub(crate) fn nowhere(name: &str) -> Option<String> {
    HOOKS.contains(&name).then(|| format!("/{UNUSED}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_that_a_command_needs_is_named_with_its_output() {
        let refused = |needs| Needs::missing(needs, |_| None);
        let told = refused(Needs::Schedules).unwrap();
        for (name, output) in Needs::Schedules.settings() {
            assert!(told.contains(name) && told.contains(output), "{name} in {told}");
        }
        assert!(refused(Needs::Function).unwrap().contains("RUN_FUNCTION_ARN"));
        let told = refused(Needs::Hooks).unwrap();
        assert!(
            Needs::Hooks.settings().iter().all(|(name, place)| told.contains(name) && told.contains(place)),
            "{told}"
        );
    }

    #[test]
    fn the_hooks_surface_has_all_of_its_settings_or_none() {
        let all = |name: &str| Some(format!("https://example.com/{name}/hooks/"));
        assert_eq!(setting("HOOKS_URL", all).as_deref(), Some("https://example.com/HOOKS_URL"));
        assert_eq!(setting("HOOK_SECRET_PATH", all), all("HOOK_SECRET_PATH"));
        for without in HOOKS {
            let given = |name: &str| all(name).filter(|_| name != without);
            assert!(HOOKS.iter().all(|name| setting(name, given).is_none()), "{without}");
        }
    }
}
