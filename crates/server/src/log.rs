//! The way of log lines to standard error.
//!
//! A thread of its own writes them, because whoever reads them may be slow, or gone. The loops only
//! put entries into a queue with an end, in number and in bytes; one that finds it full is counted,
//! and the count is written as soon as there is room. Records of messages and packets are laid out
//! by that thread, too. The invariant: logging never waits and never fails.

use crate::json_text::{Layout, write_string};
use crate::local_time::LocalTime;
use crate::message_log::MessageLog;
use crate::raw_log::RawPacket;
use noctule_broker::Published;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Entries that may wait to be written, and their bytes.
const ENTRIES_MAX: usize = 1_024;
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Each line is a JSON object.
    pub(crate) json: bool,
    /// How records of messages are laid out.
    pub(crate) records: Layout,
    /// How many records of messages a second are written; all of them if `None`.
    pub(crate) records_per_second: Option<u32>,
}

/// Takes log lines without waiting.
#[derive(Debug, Clone)]
pub(crate) struct LogQueue {
    entries: SyncSender<Entry>,
    fill: Arc<Fill>,
}

/// What waits and what was lost.
#[derive(Debug, Default)]
struct Fill {
    bytes: AtomicUsize,
    lost: AtomicU64,
    /// Messages that nobody handed over and of which the thread has not heard.
    not_shown: AtomicU64,
    /// How many records of messages a second are written, or [`ALL`].
    per_second: AtomicU32,
}

/// No bound to the records of a second.
const ALL: u32 = u32::MAX;

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    Published(Box<Published>),
    /// More messages were published and not handed over.
    NotShown,
    Raw(Box<RawPacket>),
    /// Says that everything before it is written.
    Written(Sender<()>),
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Line(line) => line.len(),
            Self::Published(published) => published.payload.len() + published.topic.len(),
            Self::Raw(packet) => packet.hex.len(),
            Self::NotShown | Self::Written(_) => 0,
        }
    }
}

impl LogQueue {
    /// A queue that a thread empties into `out`. The thread ends with the queue.
    ///
    /// # Errors
    /// What the operating system says about starting a thread.
    pub(crate) fn start(out: impl Write + Send + 'static, look: Look) -> io::Result<Self> {
        let (entries, waiting) = sync_channel(ENTRIES_MAX);
        let per_second = AtomicU32::new(look.records_per_second.unwrap_or(ALL));
        let fill = Arc::new(Fill { per_second, ..Fill::default() });
        let mut writer = Writer {
            out,
            fill: Arc::clone(&fill),
            messages: MessageLog::new(look.records, look.records_per_second),
            json: look.json,
            time: LocalTime::default(),
            text: String::new(),
        };
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_all(&waiting))?;
        Ok(Self { entries, fill })
    }

    /// Waits until the lines so far are written, but no longer than `patience`.
    pub(crate) fn drain(&self, patience: Duration) {
        let (written, wait) = channel();
        if self.entries.try_send(Entry::Written(written)).is_ok() {
            let _ = wait.recv_timeout(patience);
        }
    }

    /// From now on so many records of messages a second are written; all of them if `None`.
    pub(crate) fn set_per_second(&self, per_second: Option<u32>) {
        self.fill.per_second.store(per_second.unwrap_or(ALL), Ordering::Relaxed);
    }

    /// A message was published.
    pub(crate) fn published(&self, published: Box<Published>) {
        self.offer(Entry::Published(published));
    }

    /// So many messages were published that are not handed over.
    pub(crate) fn not_shown(&self, messages: u64) {
        self.fill.not_shown.fetch_add(messages, Ordering::Relaxed);
        // If there is no room for it, the thread is awake and will look.
        let _ = self.entries.try_send(Entry::NotShown);
    }

    /// A packet has passed.
    pub(crate) fn raw(&self, packet: RawPacket) {
        self.offer(Entry::Raw(Box::new(packet)));
    }

    fn offer(&self, entry: Entry) {
        let bytes = entry.bytes();
        let others = self.fill.bytes.fetch_add(bytes, Ordering::Relaxed);
        if others + bytes > BYTES_MAX || self.entries.try_send(entry).is_err() {
            self.fill.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.fill.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One event's line on its way into the queue.
pub(crate) struct Line<'a> {
    queue: &'a LogQueue,
    bytes: Vec<u8>,
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, bytes: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = std::mem::take(&mut self.bytes);
        if !line.is_empty() {
            self.queue.offer(Entry::Line(line));
        }
    }
}

/// The thread's side.
struct Writer<W> {
    out: W,
    fill: Arc<Fill>,
    messages: MessageLog,
    json: bool,
    time: LocalTime,
    /// What is being laid out.
    text: String,
}

impl<W: Write> Writer<W> {
    /// Writes entries until the queue is gone. That nobody reads them is no reason to stop taking
    /// them.
    fn write_all(&mut self, waiting: &Receiver<Entry>) {
        loop {
            let entry = match self.messages.due() {
                Some(due) => {
                    let patience = due.saturating_duration_since(Instant::now());
                    waiting.recv_timeout(patience)
                }
                None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            self.text.clear();
            match entry {
                Ok(entry) => self.write(entry),
                Err(RecvTimeoutError::Timeout) => {
                    self.messages.begin_window(&mut self.text, Instant::now());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.messages.say_not_shown(&mut self.text);
                    let _ = self.out.write_all(self.text.as_bytes());
                    return;
                }
            }
            let _ = self.out.write_all(self.text.as_bytes());
        }
    }

    fn write(&mut self, entry: Entry) {
        self.fill.bytes.fetch_sub(entry.bytes(), Ordering::Relaxed);
        self.messages.count(self.fill.not_shown.swap(0, Ordering::Relaxed));
        match entry {
            Entry::Line(line) => {
                self.say_lost();
                self.text.push_str(&String::from_utf8_lossy(&line));
            }
            Entry::Published(published) => {
                self.say_lost();
                let per_second = self.fill.per_second.load(Ordering::Relaxed);
                self.messages.set_per_second((per_second != ALL).then_some(per_second));
                self.messages.show(&mut self.text, &published, Instant::now());
            }
            Entry::NotShown => {}
            Entry::Raw(packet) => {
                self.say_lost();
                self.lay_out(&packet);
            }
            Entry::Written(tell) => {
                self.messages.say_not_shown(&mut self.text);
                let _ = self.out.write_all(self.text.as_bytes());
                self.text.clear();
                let _ = tell.send(());
            }
        }
    }

    fn say_lost(&mut self) {
        let lost = self.fill.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        let what = format!("{lost} log lines were lost: the output was too slow");
        if self.json {
            self.text.push_str("{\"timestamp\":\"");
            self.time.write_now(&mut self.text);
            self.text.push_str(&format!("\",\"level\":\"WARN\",\"message\":\"{what}\"}}\n"));
        } else {
            self.text.push_str(&what);
            self.text.push('\n');
        }
    }

    fn lay_out(&mut self, packet: &RawPacket) {
        let RawPacket { received, client, name, size, hex, .. } = packet;
        let direction = if *received { "received" } else { "sent" };
        if self.json {
            self.text.push_str("{\"timestamp\":\"");
            self.time.write(&mut self.text, packet.wall_ms);
            self.text.push_str(&format!("\",\"direction\":\"{direction}\",\"client\":"));
            write_string(&mut self.text, client);
            self.text
                .push_str(&format!(",\"packet\":\"{name}\",\"size\":{size},\"hex\":\"{hex}\"}}\n"));
        } else {
            let arrow = if *received { "<-" } else { "->" };
            self.time.write(&mut self.text, packet.wall_ms);
            self.text.push_str(&format!(" {direction} {arrow} "));
            write_string(&mut self.text, client);
            self.text.push_str(&format!(" {name}, {size} bytes: {hex}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Look = Look { json: false, records: Layout::OneLine, records_per_second: Some(20) };

    /// An output that takes nothing until it is told to, and passes on what it took.
    struct Slow {
        gate: Receiver<()>,
        taken: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.gate.recv();
            let _ = self.taken.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn published(payload_bytes: usize) -> Box<Published> {
        Box::new(Published {
            wall_ms: 0,
            publisher: "p".into(),
            topic: "t".into(),
            qos: noctule_mqtt::QoS::AtMostOnce,
            retain: false,
            payload: vec![b'x'; payload_bytes].into(),
            payload_bytes,
        })
    }

    #[test]
    fn an_output_that_stands_still_costs_lines_and_no_time_and_says_how_many() {
        let (open, gate) = channel();
        let (taken, seen) = channel();
        let queue = LogQueue::start(Slow { gate, taken }, LOOK).unwrap();
        let offered = ENTRIES_MAX * 2;
        for number in 0..offered {
            writeln!(queue.make_writer(), "line {number}").unwrap();
        }
        // One that comes when there is room again brings the count along.
        drop(open);
        let (told, wait) = channel();
        queue.entries.send(Entry::Written(told)).unwrap();
        assert_eq!(wait.recv(), Ok(()));
        writeln!(queue.make_writer(), "line {offered}").unwrap();
        drop(queue);
        let seen: String = seen.iter().collect();
        let (mut written, mut lost) = (0, 0);
        for line in seen.lines() {
            match line.split_once(" log lines were lost") {
                Some((count, _)) => lost += count.parse::<usize>().unwrap(),
                None => written += 1,
            }
        }
        assert!(lost >= ENTRIES_MAX - 1, "{lost}");
        assert_eq!(written + lost, offered + 1, "{seen}");
        assert!(seen.ends_with(&format!("line {offered}\n")), "{seen}");
    }

    /// An output that says when it is reached, and then stands still until the gate is gone.
    struct Stuck {
        reached: Sender<()>,
        gate: Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.reached.send(());
            let _ = self.gate.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_waits_has_an_end_in_bytes_too() {
        let (open, gate) = channel();
        let (reached, seen) = channel();
        let queue = LogQueue::start(Stuck { reached, gate }, LOOK).unwrap();
        // The thread holds the first one, and takes no other meanwhile.
        queue.published(published(0));
        seen.recv().unwrap();
        let large = 1 << 20;
        (0..100).for_each(|_| queue.published(published(large)));
        let with_topic = large + 1;
        let fit = BYTES_MAX / with_topic;
        assert_eq!(queue.fill.lost.load(Ordering::Relaxed), 100 - fit as u64);
        assert_eq!(queue.fill.bytes.load(Ordering::Relaxed), fit * with_topic);
        drop(open);
        let fill = Arc::clone(&queue.fill);
        drop(queue);
        // The thread ends once all is written, and with it what it says.
        assert!(seen.iter().count() > 0);
        assert_eq!(fill.bytes.load(Ordering::Relaxed), 0, "all of it was taken out");
    }

    #[test]
    fn an_output_that_fails_is_no_failure() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let queue = LogQueue::start(Gone, LOOK).unwrap();
        for _ in 0..10 {
            writeln!(queue.make_writer(), "line").unwrap();
        }
        let (written, wait) = channel();
        queue.entries.send(Entry::Written(written)).unwrap();
        assert_eq!(wait.recv(), Ok(()), "the thread goes on taking lines");
    }

    #[test]
    fn what_is_not_shown_is_said_without_a_further_message() {
        let (open, gate) = channel();
        let (taken, seen) = channel();
        drop(open);
        let queue = LogQueue::start(Slow { gate, taken }, LOOK).unwrap();
        queue.not_shown(7);
        // It is said when the second is over; nothing more comes.
        let line = seen.iter().find(|text| !text.is_empty()).unwrap();
        assert!(line.contains("\"messages_not_shown\":7}"), "{line}");
        drop(queue);
    }

    #[test]
    fn a_packet_is_a_line_in_either_form() {
        for (json, expected) in [
            (
                true,
                "\"direction\":\"received\",\"client\":\"a\\u001b\",\"packet\":\"PINGREQ\",\"size\":2,\"hex\":\"c0 00\"}\n",
            ),
            (false, " received <- \"a\\u001b\" PINGREQ, 2 bytes: c0 00\n"),
        ] {
            let (open, gate) = channel();
            let (taken, seen) = channel();
            drop(open);
            let queue = LogQueue::start(Slow { gate, taken }, Look { json, ..LOOK }).unwrap();
            queue.raw(RawPacket {
                wall_ms: 0,
                received: true,
                client: "a\u{1b}".into(),
                name: "PINGREQ".to_owned(),
                size: 2,
                hex: "c0 00".to_owned(),
            });
            drop(queue);
            let line: String = seen.iter().collect();
            assert!(line.ends_with(expected), "{line}");
        }
    }
}
