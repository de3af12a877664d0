//! The one route of the surface. The checks that cost nothing come first: the size, the form of the token, the form of
//! the report. Then the row is read, the token is compared, and only for its own token is anything written: a refused
//! write is billed as one that succeeds, and would be a lever for strangers.

use std::{sync::Arc, time::Duration};

use agent_trigger::{
    domain::{agent_report::AgentReport, report::ReportAnswer, run_state::RunState},
    json::surrogate::to_json,
    lifecycle::{
        close::CloseLimits,
        report::{AppliedReport, apply_report},
    },
    store::error::StoreError,
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::time::{Instant, timeout};

use crate::{
    error::ApiError,
    reports::state::Reports,
    request::LARGEST_BODY,
    router::{not_allowed, not_found, render},
};

/// The time after which a report is answered with 503 at the latest. Lambda ends the invocation after 10 s.
const LIMIT: Duration = Duration::from_secs(9);
/// The time by which an end must be written, so that what stands beside it may be left out.
const CLOSE_LIMIT: Duration = Duration::from_secs(8);
/// The lengths that a token may have. One that is shorter than any token of the function's is not looked up.
const TOKEN_LENGTHS: std::ops::RangeInclusive<usize> = 32..=256;

/// Returns the router of the reports surface.
pub fn routes(reports: Arc<Reports>) -> Router {
    Router::new()
        .route("/reports", post(receive))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(from_fn(render))
        .with_state(reports)
}

/// `POST /reports`: applies an agent's report to its execution, and answers 200, or 409 if the run has ended otherwise
/// or its time is over. An end is counted in the metrics by a later look of the run function. After 9 s it is answered
/// with 503.
///
/// # Errors
/// Returns 401 without a token that could be one and for a wrong one, 413 for a body that is too large, 400 for one
/// that is no report, and the error of the table.
async fn receive(State(reports): State<Arc<Reports>>, request: Request) -> Result<Response, ApiError> {
    let token = bearer(request.headers()).ok_or(ApiError::Unauthenticated)?.to_owned();
    let body = body(request).await?;
    // A character that was cut in two within an output must not cost a run its end.
    let text = String::from_utf8_lossy(&body);
    let report = AgentReport::read(&text).map_err(|error| ApiError::InvalidArgument(error.to_string()))?;
    let state = RunState::default();
    let limits = CloseLimits { until: Instant::now() + CLOSE_LIMIT, state: &state };
    let applying = apply_report(&reports.store, &reports.looks, &token, &report, limits);
    let applied = timeout(LIMIT, applying).await.unwrap_or(Err(StoreError::OutOfTime))?;
    if let Some((ending, _)) = &applied.uncounted {
        // The metrics are the run function's, whose name this surface does not know.
        let (trigger, execution) = (report.trigger_id.as_str(), report.execution_id.as_str());
        let ended = ending.status.as_str();
        tracing::error!(triggerId = trigger, executionId = execution, ended, "the end of a run is not counted");
    }
    answer(&report, &applied)
}

/// Returns the response to a report that was applied. Its ids are logged if its token was right: a stranger must not
/// fill the log.
///
/// # Errors
/// Returns `Unauthenticated` if the token or the execution is unknown.
fn answer(report: &AgentReport, applied: &AppliedReport) -> Result<Response, ApiError> {
    if applied.answer == ReportAnswer::Unknown {
        return Err(ApiError::Unauthenticated);
    }
    let status = StatusCode::from_u16(applied.answer.status()).map_err(|_| ApiError::Internal)?;
    tracing::info!(
        triggerId = report.trigger_id.as_str(),
        executionId = report.execution_id.as_str(),
        reported = ?report.status,
        status = status.as_u16(),
        "report"
    );
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((status, headers, to_json(&applied.answer.body())).into_response())
}

/// Reads the body. One that is announced as too large is not read at all.
///
/// # Errors
/// Returns `TooLarge` if it has more than [`LARGEST_BODY`] bytes or cannot be read.
async fn body(request: Request) -> Result<Vec<u8>, ApiError> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > LARGEST_BODY as u64) {
        return Err(ApiError::TooLarge);
    }
    let body = axum::body::Bytes::from_request(request, &()).await.map_err(|_| ApiError::TooLarge)?;
    if body.len() > LARGEST_BODY { Err(ApiError::TooLarge) } else { Ok(body.into()) }
}

/// Returns the token of a request, or `None` if it has no bearer token of 32 to 256 bytes.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && TOKEN_LENGTHS.contains(&token.len())).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_be_a_token_is_looked_up() {
        let token = "t".repeat(43);
        for (header, expected) in [
            (format!("Bearer {token}"), true),
            (format!("bearer  {token} "), true),
            (format!("Basic {token}"), false),
            (token.clone(), false),
            ("Bearer ".to_owned(), false),
            ("Bearer short".to_owned(), false),
            (format!("Bearer {}", "t".repeat(257)), false),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, header.parse().unwrap())]);
            assert_eq!(bearer(&headers), expected.then_some(token.as_str()), "{header}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
