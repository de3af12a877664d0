//! The part of HTTP/1.1 that is needed to read requests from a socket that scripts then use directly.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A request that was read completely.
#[derive(Debug)]
pub(crate) struct RawRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl RawRequest {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Reads one request. Returns `None` if the client closed the connection before another request began. Bytes after the
/// request stay in `buffer`.
pub(crate) async fn read_request(
    socket: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> io::Result<Option<RawRequest>> {
    let mut request = loop {
        if let Some((request, length)) = parse_head(buffer)? {
            buffer.advance(length);
            break request;
        }
        if socket.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    };
    if request.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        request.body = read_chunked(socket, buffer).await?;
    } else {
        let length = request.header("content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
        request.body = take(socket, buffer, length).await?;
    }
    Ok(Some(request))
}

fn parse_head(buffer: &[u8]) -> io::Result<Option<(RawRequest, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(buffer).map_err(io::Error::other)? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(length) => {
            let headers = head.headers.iter();
            let request = RawRequest {
                method: head.method.unwrap_or_default().to_owned(),
                path: head.path.unwrap_or_default().to_owned(),
                headers: headers.map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned())).collect(),
                body: Vec::new(),
            };
            Ok(Some((request, length)))
        }
    }
}

async fn take(socket: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut, length: usize) -> io::Result<Vec<u8>> {
    while buffer.len() < length {
        if socket.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.split_to(length).to_vec())
}

async fn read_chunked(socket: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            if socket.read_buf(buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let line = buffer.split_to(end + 2);
        let size = String::from_utf8_lossy(&line[..end]);
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        let mut chunk = take(socket, buffer, size + 2).await?;
        chunk.truncate(size);
        body.append(&mut chunk);
        if size == 0 {
            return Ok(body);
        }
    }
}
