//! One request, one response: the status codes of OpenSIPS `mi_http`, and the limits it lacks.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};

use super::Answer;
use super::connections::Place;

/// Longest body, in bytes.
const BODY_BYTES: usize = 64 * 1024;

/// Answers one request.
pub(super) async fn respond(
    request: Request<Incoming>,
    answer: Answer,
    body_time: Duration,
    place: &Place,
) -> Response<Full<Bytes>> {
    if !matches!(request.uri().path(), "/mi" | "/mi/") {
        return wrong_path();
    }
    if request.method() != Method::POST {
        let mut response = json(StatusCode::METHOD_NOT_ALLOWED, Bytes::new());
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    // A browser names the page that asks; other clients send no such header. No page shall talk
    // to a daemon just because it runs where the browser does.
    if request.headers().contains_key(ORIGIN) {
        return refusal(
            StatusCode::FORBIDDEN,
            "requests from web pages are not taken",
        );
    }
    let body = match read(request.into_body(), body_time).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    place.works();
    let answered = tokio::task::spawn_blocking(move || answer(&body)).await;
    place.waits();
    match answered {
        Ok(Some(text)) => json(StatusCode::OK, text.into()),
        Ok(None) => json(StatusCode::ACCEPTED, Bytes::new()),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the command failed"),
    }
}

async fn read(body: Incoming, time: Duration) -> Result<Bytes, Response<Full<Bytes>>> {
    let too_long = || {
        refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is longer than 65536 bytes",
        )
    };
    // Said before it is sent: no need to wait for it.
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(too_long());
    }
    let collected = tokio::time::timeout(time, Limited::new(body, BODY_BYTES).collect()).await;
    match collected {
        Ok(Ok(body)) => match body.to_bytes() {
            body if body.is_empty() => Err(refusal(StatusCode::BAD_REQUEST, "the body is empty")),
            body => Ok(body),
        },
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long()),
        Ok(Err(_)) => Err(refusal(StatusCode::BAD_REQUEST, "the body is cut short")),
        Err(_) => Err(refusal(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long",
        )),
    }
}

/// What OpenSIPS answers for every path but that of the management interface.
fn wrong_path() -> Response<Full<Bytes>> {
    let page = Bytes::from_static(b"<html><body>Unable to parse URL!</body></html>");
    with_type(StatusCode::BAD_REQUEST, "text/html", page)
}

/// An error in the form that clients of the interface read anyway.
fn refusal(status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    let error = format!(r#"{{"code":-32600,"message":"Invalid Request","data":"{reason}"}}"#);
    json(
        status,
        format!(r#"{{"jsonrpc":"2.0","error":{error},"id":null}}"#).into(),
    )
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    with_type(status, "application/json", body)
}

fn with_type(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
