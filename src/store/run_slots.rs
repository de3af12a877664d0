//! The executions that are alive beside one of the same trigger, and the choice among several slots of the run lock.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use crate::{
    clock::Clock,
    domain::{
        execution::{ExecutionRef, Holder, Lease, MAX_SWAPS, Status},
        run_lock::{Neighbours, RunLock, Slot},
    },
    store::{
        Store,
        error::StoreError,
        execution_item::{ATTEMPT, EVENTS, EXECUTION_ID, LEASE_UNTIL, OWNER, STATUS, USER_ID},
        expression::Expression,
        item::{Item, integer, number, string, text},
        keys,
        run_lock::{Asked, Taking},
        table::{Query, Table},
    },
};

/// The time before an execution's fire from which executions without the run lock are looked for, in milliseconds.
/// Lambda lets a run last 15 minutes, or 90 on Managed Instances, and every record that is read is billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookBack(i64);

impl LookBack {
    const USUAL: Self = Self(2 * 60 * 60 * 1000);
    /// The longest detached run lasts a day.
    const DETACHED: Self = Self(Self::USUAL.0 + 24 * 60 * 60 * 1000);

    /// Returns two hours. For a run that is to be detached it returns a day more, because its trigger's earlier runs
    /// may be detached, too.
    pub fn of(is_detached: bool) -> Self {
        if is_detached { Self::DETACHED } else { Self::USUAL }
    }
}

/// Returns a text that sorts before the ids of the executions whose fires may be alive beside `execution_id` at `now`.
/// Ids are UUIDs that begin with the time of their fire, in milliseconds since 1970. For an id that is no UUID the text
/// is empty, and every id sorts after it.
fn first_id(execution_id: &str, now: i64, look_back: LookBack) -> String {
    let time = execution_id.split_once('-').and_then(|(high, rest)| {
        let low = rest.get(..4)?;
        i64::from_str_radix(&[high, low].concat(), 16).ok()
    });
    let Some(time) = time else { return String::new() };
    let from = time.min(now).saturating_sub(look_back.0).max(0);
    let hex = format!("{from:012x}");
    format!("{}-{}", &hex[..8], &hex[8..12])
}

/// The most rows of holders that are read at a time. The model check polls without a waker, and `try_join_all` needs
/// one for more than 30.
const MOST_IN_FLIGHT: usize = 10;

/// A record that says that its execution is alive.
struct LivingRow {
    execution_id: String,
    owner: Option<String>,
    /// True if its input may tell that it was admitted without a slot.
    may_be_without_slot: bool,
}

impl LivingRow {
    /// Reads the row of an execution, or returns `None` if it has no id. `may_be_without_slot` is true if the row names
    /// no other user, and is in its first attempt or has events.
    fn read(item: &Item, user_id: &str) -> Option<Self> {
        // The input of a later attempt may be that of the first, which does not tell whether this one was admitted.
        let is_first = integer(item, ATTEMPT) == Some(1) || item.contains_key(EVENTS);
        let is_own = string(item, USER_ID).is_none_or(|user| user == user_id);
        let (execution_id, owner) = (string(item, EXECUTION_ID)?, string(item, OWNER));
        Some(Self { execution_id, owner, may_be_without_slot: is_first && is_own })
    }
}

/// What is alive beside an execution, and which slots their holders have left.
#[derive(Default)]
pub struct Surroundings {
    /// The executions that count.
    pub neighbours: Neighbours,
    /// The slots whose attempts have ended before their leases. Each may be taken as it was read.
    over: BTreeMap<Slot, RunLock>,
}

/// The state of a slot, by what is known of its holder.
enum Holding {
    /// The slot is the asking attempt's own, or its lease is over. It is asked for like one that nobody has had.
    Free,
    /// Its attempt has ended before its lease.
    Over,
    /// This execution has it.
    By(String),
}

impl Surroundings {
    /// Notes what is known of the holder of a slot. If its attempt has ended before its lease, the slot is noted as it
    /// was read, because it can be taken only if it is still so. If an execution has it, that execution is noted. A
    /// free slot needs no note.
    fn note(&mut self, slot: Slot, lock: RunLock, holding: Holding) {
        match holding {
            Holding::Free => {}
            Holding::Over => drop(self.over.insert(slot, lock)),
            Holding::By(other) => drop(self.neighbours.held.insert(slot, other)),
        }
    }
}

impl<T: Table, C: Clock> Store<T, C> {
    /// Returns the executions of this user's trigger that are alive beside the one of `holder`: those that hold slots
    /// of the run lock, and those that were admitted without one, because the trigger had no limit then. The latter are
    /// looked for, the newest first, until there are `most` in all. `first` is slot 0 as it was found, if another
    /// attempt has it: it is not read here. Of executions without a slot, fires from `look_back` before this one, or
    /// before now if that is earlier, are looked at.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result, or an item is unreadable.
    pub async fn neighbours(
        &self,
        holder: Holder<'_>,
        lease: Lease,
        look_back: LookBack,
        most: u32,
        first: Option<RunLock>,
    ) -> Result<Surroundings, StoreError> {
        let ExecutionRef { trigger_id, execution_id, .. } = holder.execution;
        let (_, from) = keys::execution_key(trigger_id, &first_id(execution_id, self.clock.now_millis(), look_back));
        let (rows, slots) = self.living(holder.execution, lease, from).await?;
        let slots = first.map(|lock| (0, lock)).into_iter().chain(slots).collect();
        let mut found = Surroundings::default();
        self.note_slots(holder, lease, slots, &rows, &mut found).await?;
        let others = rows.into_iter().filter(|row| row.may_be_without_slot && row.execution_id != execution_id);
        let others: Vec<_> = others.filter(|row| !found.neighbours.has(&row.execution_id)).collect();
        // Ids sort by time, so the newest comes last.
        for row in others.into_iter().rev() {
            if found.neighbours.in_the_way(most).is_some() {
                break;
            }
            if self.was_admitted_without_lock(trigger_id, &row.execution_id).await? {
                found.neighbours.without.push(row.execution_id);
            }
        }
        Ok(found)
    }

    /// Returns the execution that leaves no room because of the slots alone, or `None` if they leave some. This is the
    /// newest one, or the asking execution itself if another attempt of it has a slot. `first` is slot 0 as it was
    /// found. A query of the slots reads no record, and the records of the holders are read only if the slots whose
    /// leases last are enough. So a refused fire never reads what those that were refused before it have written.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result, or an item is unreadable.
    async fn without_room(
        &self,
        holder: Holder<'_>,
        lease: Lease,
        most: u32,
        first: Option<&RunLock>,
    ) -> Result<Option<String>, StoreError> {
        let (_, slots) = self.living(holder.execution, lease, keys::FURTHER_SLOT.to_owned()).await?;
        let over_before = lease.over_before(self.clock.now_millis());
        let slots = first.map(|lock| (0, lock.clone())).into_iter().chain(slots);
        let held: Vec<_> = slots.filter(|(_, lock)| lock.is_held_beside(holder.owner, over_before)).collect();
        if held.len() < usize::try_from(most).unwrap_or(usize::MAX) {
            return Ok(None);
        }
        let mut found = Surroundings::default();
        self.note_slots(holder, lease, held, &[], &mut found).await?;
        let execution_id = holder.execution.execution_id;
        let newest = found.neighbours.in_the_way(most);
        Ok(newest.map(|newest| if found.neighbours.has(execution_id) { execution_id } else { newest }.to_owned()))
    }

    /// Reads the trigger's items from the sort key `from` on: the records of executions that are running within their
    /// leases, and the further slots whose leases last, in one query. Executions of other users are among them.
    /// DynamoDB reads and bills all records in between, those that have ended, too.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result.
    async fn living(
        &self,
        execution: ExecutionRef<'_>,
        lease: Lease,
        from: String,
    ) -> Result<(Vec<LivingRow>, Vec<(Slot, RunLock)>), StoreError> {
        let ExecutionRef { user_id, trigger_id, execution_id } = execution;
        let (partition, _) = keys::execution_key(trigger_id, execution_id);
        let mut expression = Expression::default();
        let is_running = expression.equals(STATUS, Some(text(Status::Running.as_str())));
        // A slot has no status.
        let is_slot = expression.equals(STATUS, None);
        let is_alive = expression.above(LEASE_UNTIL, number(lease.over_before(self.clock.now_millis())));
        let filter = format!("({is_running} OR {is_slot}) AND {is_alive}");
        let to = keys::LAST_SLOT.to_owned();
        let items = self.table.query(Query { partition, from, to, filter, expression }).await?;
        let (mut rows, mut slots) = (Vec::new(), Vec::new());
        for item in &items {
            if item.contains_key(STATUS) {
                rows.extend(LivingRow::read(item, user_id));
            } else if let Some(slot) = string(item, "SK").and_then(|sort_key| keys::slot_of(&sort_key, user_id)) {
                slots.push((slot, RunLock::read(item)));
            }
        }
        Ok((rows, slots))
    }

    /// Notes in `found` what is known of the holders of `slots`. The rows of some are read at the same time.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result, or a slot names no execution.
    async fn note_slots(
        &self,
        holder: Holder<'_>,
        lease: Lease,
        slots: Vec<(Slot, RunLock)>,
        rows: &[LivingRow],
        found: &mut Surroundings,
    ) -> Result<(), StoreError> {
        let mut slots = slots.into_iter().peekable();
        while slots.peek().is_some() {
            let some: Vec<_> = slots.by_ref().take(MOST_IN_FLIGHT).collect();
            let holdings = try_join_all(some.iter().map(|(_, lock)| self.holding(holder, lease, lock, rows))).await?;
            for ((slot, lock), holding) in some.into_iter().zip(holdings) {
                found.note(slot, lock, holding);
            }
        }
        Ok(())
    }

    /// Returns whether the holder of a slot is alive. `rows` are living ones: a holder that is not among them has its
    /// row read, and the slot is over if that says that its attempt has ended.
    ///
    /// # Errors
    /// Returns an error if DynamoDB gives no result, or the slot names no execution.
    async fn holding(
        &self,
        holder: Holder<'_>,
        lease: Lease,
        lock: &RunLock,
        rows: &[LivingRow],
    ) -> Result<Holding, StoreError> {
        if !lock.is_held_beside(holder.owner, lease.over_before(self.clock.now_millis())) {
            return Ok(Holding::Free);
        }
        let Some(other) = lock.execution_id.clone() else { return Err(StoreError::Unreadable) };
        if rows.iter().any(|row| row.execution_id == other && row.owner == lock.owner) {
            return Ok(Holding::By(other));
        }
        let ExecutionRef { trigger_id, execution_id, .. } = holder.execution;
        let row = self.execution(trigger_id, &other).await?;
        Ok(if lock.may_be_taken(row.as_ref(), execution_id, false) { Holding::Over } else { Holding::By(other) })
    }

    /// Takes one of `slots` slots of the trigger's run lock, if there is room. Slot 0 is asked for unseen, as if it
    /// were the only one. If this attempt gets it, the caller must still look at the neighbours. If it is not free, the
    /// other slots are read, and if they leave room, the neighbours, and another slot is chosen. Each refusal tells who
    /// has taken that slot meanwhile, and the choice is made again. An execution whose other attempt has a slot is
    /// refused with its own id.
    ///
    /// # Errors
    /// Returns an error if DynamoDB does not take it, or an item is unreadable, or the slots keep changing. A slot may
    /// have been taken all the same.
    pub async fn take_slot(
        &self,
        holder: Holder<'_>,
        lease: Lease,
        look_back: LookBack,
        slots: u32,
    ) -> Result<Taking, StoreError> {
        let first = match self.ask_slot(holder, lease, 0, None, false).await? {
            Asked::Taken(until) => return Ok(Taking::Taken(0, until)),
            Asked::Refused(first) => first,
        };
        let execution_id = holder.execution.execution_id;
        if let Some(other) = self.without_room(holder, lease, slots, first.as_ref()).await? {
            return Ok(Taking::Refused(other));
        }
        let mut found = self.neighbours(holder, lease, look_back, slots, first).await?;
        for _ in 0..MAX_SWAPS.saturating_add(usize::try_from(slots).unwrap_or(usize::MAX)) {
            // Another attempt of this execution has a slot, and owns the execution.
            if found.neighbours.has(execution_id) {
                return Ok(Taking::Refused(execution_id.to_owned()));
            }
            let Some(slot) = found.neighbours.choose(slots, execution_id) else {
                let newest = found.neighbours.in_the_way(slots).ok_or(StoreError::Contended)?;
                return Ok(Taking::Refused(newest.to_owned()));
            };
            let seen = found.over.remove(&slot);
            match self.ask_slot(holder, lease, slot, seen.as_ref(), false).await? {
                Asked::Taken(until) => return Ok(Taking::Taken(slot, until)),
                Asked::Refused(Some(lock)) => {
                    let holding = self.holding(holder, lease, &lock, &[]).await?;
                    found.note(slot, lock, holding);
                }
                Asked::Refused(None) => {}
            }
        }
        Err(StoreError::Contended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_hours_before_sort_after_the_first() {
        // 2026-01-31T07:00:00Z, as the vectors of `domain::fire` have it.
        const AT: i64 = 1_769_842_800_000;
        let id = "019c12d9-f580-7649-82fb-aad573e743bb";
        for (now, first) in [
            (AT + 1, "019c126c-1880"),
            (AT + 24 * LookBack::USUAL.0, "019c126c-1880"),
            (AT - LookBack::USUAL.0, "019c11fe-3b80"),
            (0, "00000000-0000"),
        ] {
            assert_eq!(first_id(id, now, LookBack::of(false)), first);
            assert!(first < id);
        }
        assert_eq!(first_id(id, AT, LookBack::of(true)), "019c0d45-bc80");
        assert_eq!(first_id("e1", AT, LookBack::of(false)), "");
    }
}
