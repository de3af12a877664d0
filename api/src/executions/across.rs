//! `GET /executions`: the executions of all of a user's triggers, newest first. Ids sort by the fires' times, so the
//! lists of the triggers are merged by them, and no index is needed.

use std::{cmp::Ordering, sync::Arc};

use agent_trigger::store::execution_item::TRIGGER_ID;
use axum::extract::State;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};

use crate::{
    api::Api,
    auth::Caller,
    error::ApiError,
    executions::{DEFAULT_PAGE, filter, view::listed},
    page,
    reply::Reply,
    request::Params,
    store::{
        executions::{ExecutionPage, Filter, id_of},
        triggers::MOST_LISTED,
    },
};

/// The most queries at the same time.
const MOST_IN_FLIGHT: usize = 16;
/// The least number of rows that each trigger is asked for at first, unless the whole page has fewer.
const LEAST_SHARE: usize = 10;

/// `GET /executions`: answers with one page of the executions of all of a user's triggers, each with its trigger's
/// name, and the token of the next page if there is one. A page may have fewer executions than `limit`, or none, and
/// still have a next one. Executions of triggers that are not listed any more are left out. At most 1,000 triggers
/// count. The parameters are `status`, `from`, `to`, `limit`, `nextToken` and `order`.
///
/// # Errors
/// Returns an error if a parameter is wrong, or the table refuses or does not answer.
pub async fn list(State(api): State<Arc<Api>>, caller: Caller, params: Params) -> Result<Reply, ApiError> {
    let filter = filter(&params)?;
    let limit = page::limit(params.get("limit"), DEFAULT_PAGE)?;
    let after = page::after(params.get("nextToken"))?;
    let triggers = api.items.triggers(&caller.0, None, MOST_LISTED, |_| true).await?.items;
    let ids: Vec<&str> = triggers.iter().filter_map(|item| item.get("id")?.as_str()).collect();
    let share = (2 * limit / ids.len().max(1)).clamp(LEAST_SHARE.min(limit), limit);
    let asked = ids.iter().map(|id| (*id, after.clone())).collect();
    let mut lists = pages(&api, &caller, &filter, asked, share).await?;
    // A trigger that ran often has more for this page than its share.
    let behind = behind(&lists, limit, share, filter.is_ascending);
    let asked = behind.iter().map(|at| (lists[*at].0, lists[*at].1.next.clone())).collect();
    for (at, (_, more)) in behind.into_iter().zip(pages(&api, &caller, &filter, asked, limit).await?) {
        lists[at].1.rows.extend(more.rows);
        lists[at].1.next = more.next;
    }
    let (rows, next) = merged(lists.into_iter().map(|(_, page)| page), limit, filter.is_ascending);
    let names: Map<String, Value> = triggers
        .iter()
        .filter_map(|item| Some((item.get("id")?.as_str()?.to_owned(), item.get("name")?.clone())))
        .collect();
    let executions: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut shown = listed(row);
            if let Some(name) = row.get(TRIGGER_ID).and_then(|id| names.get(id.as_str()?)) {
                shown["triggerName"] = name.clone();
            }
            shown
        })
        .collect();
    let (count, next) = (executions.len(), next.map(|id| page::token(&id)));
    Ok(Reply::ok(json!({"nextToken": next})).with("executions", executions.into()).count(count))
}

/// Reads a page of each of these triggers, up to 16 at the same time, and returns them in the same order. With each
/// trigger's id stands the id of the execution after which its page begins, or `None` for the first page. `limit` is
/// the most rows of each.
///
/// # Errors
/// Returns an error if the table refuses or does not answer.
async fn pages<'a>(
    api: &Api,
    caller: &Caller,
    filter: &Filter,
    triggers: Vec<(&'a str, Option<String>)>,
    limit: usize,
) -> Result<Vec<(&'a str, ExecutionPage)>, ApiError> {
    let asked = triggers.into_iter().map(async |(id, after)| {
        let page = api.items.executions(&caller.0, id, filter, after.as_deref(), limit).await?;
        Ok((id, page))
    });
    stream::iter(asked.collect::<Vec<_>>()).buffered(MOST_IN_FLIGHT).try_collect().await
}

/// Returns the order of two ids in a list: the greater one comes first, unless the list is ascending.
fn order(left: &str, right: &str, is_ascending: bool) -> Ordering {
    if is_ascending { left.cmp(right) } else { right.cmp(left) }
}

/// Returns the places of the lists that may have more rows for the page: those that were read up to their share, and
/// not as far as the page would go. At most `limit / share` can be.
fn behind<T>(lists: &[(T, ExecutionPage)], limit: usize, share: usize, is_ascending: bool) -> Vec<usize> {
    let mut ids: Vec<&str> = lists.iter().flat_map(|(_, page)| page.rows.iter().map(id_of)).collect();
    ids.sort_by(|left, right| order(left, right, is_ascending));
    let last = ids.get(limit - 1);
    let is_behind = |page: &ExecutionPage| {
        let next = page.next.as_deref().filter(|_| page.rows.len() >= share);
        next.is_some_and(|next| last.is_none_or(|last| order(next, last, is_ascending).is_lt()))
    };
    lists.iter().enumerate().filter(|(_, (_, page))| is_behind(page)).map(|(at, _)| at).collect()
}

/// Merges the pages of several lists into one of at most `limit` rows, and returns it with the id after which the next
/// one begins, or `None` if this is the last. A page may end before its list does. What lies beyond the nearest such
/// end is left to the next page, because that list may have rows before it.
fn merged(
    pages: impl Iterator<Item = ExecutionPage>,
    limit: usize,
    is_ascending: bool,
) -> (Vec<Map<String, Value>>, Option<String>) {
    let (mut rows, mut horizon) = (Vec::new(), None::<String>);
    for page in pages {
        rows.extend(page.rows);
        if let Some(next) = page.next
            && horizon.as_ref().is_none_or(|known| order(&next, known, is_ascending).is_lt())
        {
            horizon = Some(next);
        }
    }
    if let Some(horizon) = &horizon {
        rows.retain(|row| order(id_of(row), horizon, is_ascending).is_le());
    }
    rows.sort_by(|left, right| order(id_of(left), id_of(right), is_ascending));
    if rows.len() > limit {
        rows.truncate(limit);
        horizon = rows.last().map(|row| id_of(row).to_owned());
    }
    (rows, horizon)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(ids: &[&str], next: Option<&str>) -> ExecutionPage {
        let row = |id: &&str| Map::from_iter([("SK".to_owned(), json!(format!("EXECUTION#{id}")))]);
        ExecutionPage { rows: ids.iter().map(row).collect(), next: next.map(str::to_owned) }
    }

    #[test]
    fn a_page_ends_where_the_first_list_was_read_to() {
        type Lists<'a> = &'a [(&'a [&'a str], Option<&'a str>)];
        for (lists, limit, is_ascending, expected, next) in [
            (&[] as Lists<'_>, 3, false, &[] as &[&str], None),
            (&[(&["9", "7"], None), (&["8"], None)], 3, false, &["9", "8", "7"], None),
            (&[(&["9", "7"], None), (&["8", "6"], None)], 3, false, &["9", "8", "7"], Some("7")),
            // Nothing fits, and there is more to look at.
            (&[(&[], Some("5"))], 3, false, &[], Some("5")),
            // What is older than the end of what was read waits.
            (&[(&["9", "4"], None), (&[], Some("5"))], 3, false, &["9"], Some("5")),
            (&[(&["4"], None), (&[], Some("5"))], 3, false, &[], Some("5")),
            (&[(&["9", "5"], Some("5")), (&["8", "6"], Some("6"))], 9, false, &["9", "8", "6"], Some("6")),
            (&[(&["9", "5"], Some("5")), (&["8", "6"], Some("6"))], 2, false, &["9", "8"], Some("8")),
            (&[(&["1", "6"], None), (&[], Some("5"))], 3, true, &["1"], Some("5")),
            (&[(&["1", "6"], Some("6")), (&["2", "7"], Some("7"))], 9, true, &["1", "2", "6"], Some("6")),
        ] {
            let pages = lists.iter().map(|(ids, next)| page(ids, *next));
            let (rows, found) = merged(pages, limit, is_ascending);
            let ids: Vec<&str> = rows.iter().map(id_of).collect();
            assert_eq!((ids.as_slice(), found.as_deref()), (expected, next), "{lists:?} {limit}");
        }
    }

    #[test]
    fn lists_that_hold_the_page_back_are_read_on() {
        let lists = [
            // All of its share is on the page.
            ("busy", page(&["9", "8"], Some("8"))),
            ("quiet", page(&["7", "1"], Some("1"))),
            ("at its end", page(&["6", "5"], None)),
            // It stopped because it has read enough, and not because it has found enough.
            ("rare", page(&["8"], Some("8"))),
        ];
        assert_eq!(behind(&lists, 4, 2, false), [0]);
        assert_eq!(behind(&lists, 2, 2, false), Vec::<usize>::new());
        assert_eq!(behind(&lists, 7, 2, false), [0]);
        assert_eq!(behind(&lists, 8, 2, false), [0, 1], "the page is not full");
    }
}
