//! Google's ADK: the events of `/run_sse` and `/run`.
//! <https://google.github.io/adk-docs/events/>

use crate::agent::framing::frame::Frame;
use crate::agent::protocol::duplicates;
use crate::agent::protocol::failure::{SIGNS, failure_of};
use crate::agent::protocol::form::Form;
use crate::agent::protocol::members::{Members, Name, Names};
use crate::agent::protocol::names::name_of;
use crate::agent::protocol::reader::{Reader, foreign};
use crate::agent::protocol::words::{message_of, push_parts, reported, texts};
use crate::agent::transcript::Transcript;
use crate::domain::answer::Verdict;
use crate::domain::finish_reason::FinishReason;
use crate::json::scan::{self, RawJson};

/// Returns true for an event of ADK: it has `invocationId` and `author`. Both are required, because other frames may
/// have one of them alone.
pub(super) fn recognises(_: &Frame<'_>, members: &Members<'_>) -> bool {
    members.has(Name::InvocationId) && members.has(Name::Author)
}

/// The members that ADK's events never have. One of them that is something says more than the event.
const OTHERS: Names = Names::of(&[
    Name::Error,
    Name::Errors,
    Name::Success,
    Name::Ok,
    Name::Failed,
    Name::Status,
    Name::IsError,
    Name::StopReason,
    Name::Interrupt,
    Name::NeedsApproval,
    Name::Tripwire,
    Name::Text,
]);

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The text under way is that of partial events: another repeats it as a whole.
    is_partial: bool,
    /// What the agent waits for: it called a long-running tool, as for an approval, and has said nothing since.
    waits: Option<FinishReason>,
    form: Form,
}

impl Reader for Reading {
    /// Takes an event. None decides the run, because ADK has no terminal event. So the last event counts, and each
    /// takes back a failure or a reason to stop that the one before it reported. `interrupted` takes precedence over
    /// `errorCode`'s reason, and that over `finishReason`. An `errorCode` that is no reason to stop short is a failure.
    /// After the call of a long-running tool the agent waits for a person or a system, unless it goes on to say
    /// something. The user's own messages and the usage of partial events are left out. A frame without `invocationId`
    /// is left to the generic rules. So is one without `errorCode` that reports a failure, or says something under a
    /// member which ADK's events never have. Returns `None` for a frame that decides nothing.
    fn read(&mut self, frame: &Frame<'_>, transcript: &mut Transcript) -> Option<Verdict> {
        if self.form.is_of(frame) && !transcript.wants_text() {
            return None;
        }
        self.form.clear();
        let [mut invocation, mut author, mut partial, mut content] = [None; 4];
        let [mut code, mut reason, mut interrupted, mut usage, mut long_running] = [None; 5];
        let (mut says_otherwise, mut may_fail) = (false, false);
        for (name, value) in scan::Members::of(frame.text) {
            let place = match &*name_of(name) {
                b"invocationId" => &mut invocation,
                b"author" => &mut author,
                b"partial" => &mut partial,
                b"content" => &mut content,
                b"errorCode" => &mut code,
                b"finishReason" => &mut reason,
                b"interrupted" => &mut interrupted,
                b"usageMetadata" => &mut usage,
                b"longRunningToolIds" => &mut long_running,
                _ => {
                    let name = Name::of_member(name, value);
                    let is_said = value.is_something() || value.is_false();
                    says_otherwise |= is_said && name.is_some_and(|name| OTHERS.contains(name));
                    may_fail |= is_said && name.is_some_and(|name| SIGNS.contains(name));
                    continue;
                }
            };
            duplicates::hear(place, value);
        }
        // ADK's own events say none of this.
        let fails = || failure_of(frame, &Members::of(frame.text)).is_some();
        if invocation.is_none() || (code.is_none() && (says_otherwise || may_fail && fails())) {
            return foreign(transcript);
        }
        transcript.is_understood = true;
        let is_partial = partial.is_some_and(RawJson::is_true);
        let is_full = is_partial && self.is_partial && !transcript.wants_text();
        if author.and_then(RawJson::as_str).is_none_or(|author| !author.is("user")) {
            self.take_content(content, is_partial, transcript);
            if long_running.and_then(RawJson::first_element).is_some() {
                self.waits = Some(waits_for(content));
            }
        }
        if !is_partial {
            transcript.add_usage(usage);
        }
        // The last event decides.
        transcript.go_on();
        transcript.finish = None;
        let word = |value: Option<RawJson<'_>>| value.and_then(RawJson::whole_str).map(|word| word.read(64));
        match word(code).filter(|code| !code.is_empty()) {
            Some(code) => match FinishReason::from_wire(&code) {
                Some(reason) => transcript.finish = Some(reason),
                None => {
                    let message = message_of(RawJson::cut(frame.text), &["errorCode"]);
                    transcript.failure = Some(reported(message));
                }
            },
            None => transcript.finish = word(reason).and_then(|reason| FinishReason::from_wire(&reason)).or(self.waits),
        }
        if interrupted.is_some_and(RawJson::is_true) {
            transcript.finish = Some(FinishReason::Interrupt);
        }
        if is_full {
            let text = || content?.get("parts")?.first_element()?.get("text")?.whole_str();
            text().into_iter().for_each(|text| self.form.note(frame, text));
        }
        None
    }

    /// Decides an answer that ends in order by what the last event said, as [`Transcript::at_end`] does.
    fn end(&mut self, transcript: &mut Transcript) -> Verdict {
        transcript.at_end()
    }
}

impl Reading {
    /// Takes the content of an event, if its role is the model's or missing. Thoughts are always left out. Text ends
    /// the wait for a long-running tool. Partial events are the pieces of one message. The event that is not partial
    /// repeats that message as a whole, and its text replaces the pieces. If it has no text, they stay. The calls of
    /// functions are counted in it alone.
    fn take_content(&mut self, content: Option<RawJson<'_>>, is_partial: bool, transcript: &mut Transcript) {
        // The text is full, and this is more of it.
        if is_partial && self.is_partial && !transcript.wants_text() {
            return;
        }
        let Some(content) = content else { return };
        let [role, parts] = scan::pick(content.raw(), ["role", "parts"]);
        let is_models = role.and_then(RawJson::as_str).is_none_or(|role| role.is("model"));
        let Some(parts) = parts.filter(|_| is_models) else { return };
        if self.waits.is_some() && texts(parts).any(|text| !text.is_empty()) {
            self.waits = None;
        }
        if !is_partial {
            self.is_partial = false;
            let calls = parts.elements().filter(|part| part.get("functionCall").is_some_and(RawJson::is_object));
            transcript.progress.tool_uses += calls.count() as u64;
            return transcript.message(|out| push_parts(parts, out));
        }
        if !std::mem::replace(&mut self.is_partial, true) {
            transcript.begin_message();
        }
        if transcript.wants_text() {
            for part in parts.elements() {
                let [text, thought] = scan::pick(part.raw(), ["text", "thought"]);
                if !thought.is_some_and(RawJson::is_true) {
                    transcript.delta(text.and_then(RawJson::as_str));
                }
            }
        }
    }
}

/// Returns what the call of a long-running tool waits for: `AuthRequired` if one of the functions that are called is
/// `adk_request_credential`, by which ADK asks for a credential, and `Interrupt` otherwise.
fn waits_for(content: Option<RawJson<'_>>) -> FinishReason {
    let parts = content.and_then(|content| content.get("parts"));
    let mut names = parts
        .into_iter()
        .flat_map(RawJson::elements)
        .filter_map(|part| part.get("functionCall")?.get("name")?.as_str());
    match names.any(|name| name.is("adk_request_credential")) {
        true => FinishReason::AuthRequired,
        false => FinishReason::Interrupt,
    }
}
