//! Runs AI agents when a schedule or an event fires, and keeps one truthful record of what happened.
