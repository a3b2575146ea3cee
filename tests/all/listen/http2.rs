//! Frames of HTTP/2, for clients that do what no library would do.

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// What a client sends first on a connection.
pub fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &[])].concat()
}

pub fn frame(frame_type: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[frame_type, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers as the payload of a frame. Each name and value has at most 126 characters.
pub fn headers(pairs: &[(&str, &str)]) -> Vec<u8> {
    const LITERAL_WITHOUT_INDEXING: u8 = 0;
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let pair =
        |(name, value): &(&str, &str)| [vec![LITERAL_WITHOUT_INDEXING], text(name), text(value)].concat();
    pairs.iter().flat_map(pair).collect()
}
