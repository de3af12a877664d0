//! The head of an answer: whether its body can be read, and whether its end can be distinguished from the end of the
//! connection.

use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};

use crate::{
    agent::decoder::{Decoder, UnsupportedContentType},
    domain::{answer::is_plain_id, protocol::Protocol},
};

const REQUEST_IDS: [&str; 3] = ["x-amzn-requestid", "x-amzn-request-id", "x-request-id"];

/// The reason why the body of an answer cannot be read. Nothing of the header's own text is shown but the names of
/// codings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableHead {
    /// No agent answers with this content type.
    #[error(transparent)]
    ContentType(#[from] UnsupportedContentType),
    /// The body is compressed, though `Accept-Encoding: identity` was sent.
    #[error("the agent answered with content encoding {0}, which was not asked for; it must be sent without")]
    ContentEncoding(&'static str),
    /// The body's end cannot be distinguished from the end of the connection, or no client undoes the body's coding.
    #[error("the agent answered with a transfer coding other than chunked")]
    TransferCoding,
}

/// The facts of an answer before its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) decoder: Decoder,
    /// True if the end of the body can be distinguished from the end of the connection.
    pub(super) is_framed: bool,
    pub(super) request_id: Option<String>,
}

impl Head {
    /// Reads the headers of an answer with this status. The decoder reads by the rules of `protocol` if this setting
    /// decides how answers are read (see [`Protocol::is_set_for_answers`]). Otherwise it recognises the protocol. After
    /// 202 a body whose content type no agent answers with is read as one without a content type. The first readable
    /// header of [`REQUEST_IDS`] gives the request id, which is kept only if it looks like one.
    ///
    /// # Errors
    /// Returns an error if the body has a content encoding other than `identity`, transfer codings other than `chunked`
    /// alone, or a content type that no agent answers with. The codings are errors after 202, too.
    pub(super) fn read(status: u16, headers: &HeaderMap, protocol: Option<Protocol>) -> Result<Head, UnreadableHead> {
        if let Some(encoding) = content_encoding(headers) {
            return Err(UnreadableHead::ContentEncoding(encoding));
        }
        let is_framed = is_framed(headers).ok_or(UnreadableHead::TransferCoding)?;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let decoder = match Decoder::new(text(CONTENT_TYPE.as_str())) {
            // The page that comes with "accepted" is no answer, and none is expected.
            Err(_) if status == 202 => Decoder::new(None),
            decoder => decoder,
        }?;
        let decoder = decoder.with_status(status).with_protocol(protocol);
        let request_id = REQUEST_IDS.into_iter().find_map(text).filter(|id| is_plain_id(id)).map(str::to_owned);
        Ok(Head { decoder, is_framed, request_id })
    }
}

/// Returns the name of the first content encoding that is not `identity`, or `None` if the body has none. For an
/// unknown name, which is not repeated, the words `of an unknown name` are returned.
pub(super) fn content_encoding(headers: &HeaderMap) -> Option<&'static str> {
    let mut encodings =
        headers.get_all(CONTENT_ENCODING).iter().flat_map(|line| line.to_str().unwrap_or("?").split(','));
    let encoding = encodings.find(|encoding| {
        let encoding = encoding.trim();
        !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity")
    })?;
    let known = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "aws-chunked"];
    Some(known.into_iter().find(|name| encoding.trim().eq_ignore_ascii_case(name)).unwrap_or("of an unknown name"))
}

/// Returns true if the body's end can be distinguished from the connection's, and false if it cannot. Returns `None` if
/// its transfer codings are other than `chunked` alone. hyper undoes `chunked` if it is the last one, whatever comes
/// before it, and otherwise reads up to the end of the connection. Neither is the body as it was meant.
fn is_framed(headers: &HeaderMap) -> Option<bool> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Some(headers.contains_key(CONTENT_LENGTH)),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_chunked_and_a_length_frame_a_body() {
        for (lines, expected) in [
            (&[][..], Some(false)),
            (&[("content-length", "5")], Some(true)),
            (&[("transfer-encoding", "chunked")], Some(true)),
            (&[("transfer-encoding", " Chunked ")], Some(true)),
            (&[("transfer-encoding", "xchunked")], None),
            (&[("transfer-encoding", "gzip, chunked")], None),
            (&[("transfer-encoding", "chunked, gzip")], None),
            (&[("transfer-encoding", "identity;chunked")], None),
            (&[("transfer-encoding", "identity"), ("transfer-encoding", "chunked")], None),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], None),
            (&[("transfer-encoding", "identity"), ("content-length", "5")], None),
        ] {
            assert_eq!(is_framed(&headers(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn encodings_are_refused_by_name() {
        for (lines, expected) in [
            (&[][..], None),
            (&[("content-encoding", "identity")], None),
            (&[("content-encoding", "")], None),
            (&[("content-encoding", "GZIP")], Some("gzip")),
            (&[("content-encoding", "identity, br")], Some("br")),
            (&[("content-encoding", "identity"), ("content-encoding", "deflate")], Some("deflate")),
            (&[("content-encoding", "the prompt")], Some("of an unknown name")),
        ] {
            let headers = headers(lines);
            assert_eq!(content_encoding(&headers), expected, "{lines:?}");
            let head = Head::read(200, &headers, None);
            assert_eq!(head.is_err(), expected.is_some(), "{lines:?}");
            if let Err(error) = head {
                assert!(error.to_string().contains(expected.unwrap()) && !error.to_string().contains("prompt"));
            }
        }
    }

    #[test]
    fn ids_are_taken_only_if_they_look_like_ids() {
        for (id, is_taken) in [("abc-1.2_3:4=5/6+7", true), ("tell me a secret", false), ("a\"b", false), ("", false)] {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", HeaderValue::from_str(id).unwrap());
            let head = Head::read(200, &headers, None).unwrap();
            assert_eq!(head.request_id.is_some(), is_taken, "{id}");
        }
    }

    #[test]
    fn an_accepted_call_needs_no_content_type_of_ours() {
        let page = headers(&[("content-type", "text/html")]);
        assert!(Head::read(200, &page, None).is_err());
        assert!(Head::read(202, &page, None).is_ok());
    }
}
