//! Stored triggers: their items, policies, limits and health.

mod bombs;
mod exact_text;
mod full_item;
pub(crate) mod health;
mod health_faults;
mod invalid;
mod item;
mod item_decides;
mod limits;
mod replay;
mod stored_only;
mod threshold;
mod waiting_tasks;
mod what_ran;
