//! What must hold of WebSocket whatever bytes a peer sends. The fuzzer looks for bytes that break it; the
//! ordinary tests replay those it has found.

use noctule_ws::{
    ClientUpgrade, Conversation, HEAD_BYTES_MAX, Subprotocol, Taken, head_end, read_request,
};

/// Frames may have so many bytes.
const FRAME_BYTES_MAX: u64 = 1_000;

/// The first byte says what the others are: a request, a response, or frames for a server or a client; and
/// in which pieces they come.
pub(crate) fn ws(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    match choice % 4 {
        0 => request(bytes),
        1 => response(bytes),
        2 => frames(|| Conversation::server(FRAME_BYTES_MAX), bytes, usize::from(choice / 4) + 1),
        _ => frames(|| Conversation::client(FRAME_BYTES_MAX), bytes, usize::from(choice / 4) + 1),
    }
}

/// A request is granted or refused, and both are answers with an end.
fn request(bytes: &[u8]) {
    let Some(end) = head_end(bytes, 0) else {
        return;
    };
    for looked in [end / 2, end.saturating_sub(1)] {
        assert_eq!(head_end(&bytes[..end], looked), Some(end));
    }
    let answer = match read_request(&bytes[..end]) {
        Ok(request) => {
            assert!(end <= HEAD_BYTES_MAX);
            let _ = request.forwarded_for(|address| address.is_loopback());
            request.response()
        }
        Err(refusal) => refusal.response(),
    };
    assert!(answer.starts_with(b"HTTP/1.1 ") && head_end(&answer, 0).is_some());
}

fn response(bytes: &[u8]) {
    let client = ClientUpgrade::with_nonce(Subprotocol::Mqtt, *b"the sample nonce");
    if let Ok(Some(end)) = client.read_response(bytes) {
        assert!(end <= bytes.len());
    }
}

/// Pieces do not matter, what waits has an end, and after the end nothing comes.
fn frames(conversation: impl Fn() -> Conversation, bytes: &[u8], step: usize) {
    let whole = hear(conversation(), bytes, bytes.len().max(1));
    assert_eq!(hear(conversation(), bytes, step), whole);
}

fn hear(mut conversation: Conversation, bytes: &[u8], step: usize) -> (Vec<u8>, Option<String>) {
    let (mut payload, mut end) = (Vec::new(), None);
    for piece in bytes.chunks(step) {
        let mut buffer = piece.to_vec();
        let Taken { payload: taken, end: ended } = conversation.take_in(&mut buffer);
        assert!(taken <= piece.len());
        assert!(taken == 0 || end.is_none(), "payload behind the end");
        payload.extend_from_slice(&buffer[..taken]);
        if let Some(ended) = ended {
            assert!(end.is_none(), "the end is told once");
            assert!(conversation.has_closed());
            end = Some(format!("{ended:?}"));
        }
        assert!(conversation.answers().len() < 2_048);
    }
    let answers = conversation.answers().len();
    conversation.answers_sent(answers);
    assert!(conversation.answers().is_empty());
    (payload, end)
}
