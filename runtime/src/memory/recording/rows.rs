//! Events as rows.
//!
//! Events may have been lost where they came too fast. A free without an allocation is left out; an
//! allocation where a block still is ends that block first. So of what is written each free has its
//! allocation, and no two blocks are at one place.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use rustkernel_gpu::memory::record::{Action, MemoryEvent};

use super::{RecordFormat, Recorded};

/// Writes events as rows.
#[derive(Debug)]
pub(super) struct Rows<W> {
    out: W,
    format: RecordFormat,
    /// Blocks that live, by address: the id and the size of each.
    live: HashMap<u64, (u64, u64)>,
    /// Small numbers for streams, in the order in which they came. 0 is none.
    streams: HashMap<u64, usize>,
    last: Duration,
    recorded: Recorded,
}

impl<W: Write> Rows<W> {
    /// # Errors
    /// If the first line cannot be written.
    pub(super) fn begin(mut out: W, format: RecordFormat) -> io::Result<Self> {
        out.write_all(match format {
            RecordFormat::Trace => b"t_us,op,id,bytes,stream\n",
            RecordFormat::Rmm => b"Thread,Time,Action,Pointer,Size,Stream\n",
        })?;
        let (live, streams) = (HashMap::new(), HashMap::new());
        Ok(Self { out, format, live, streams, last: Duration::ZERO, recorded: Recorded::default() })
    }

    /// # Errors
    /// If the row cannot be written.
    pub(super) fn add(&mut self, event: &MemoryEvent) -> io::Result<()> {
        // (Threads read the clock before they come to the channel, and may overtake each other.)
        self.last = self.last.max(event.at);
        let ended = self.live.remove(&event.address);
        if let Some(block) = ended {
            self.write(Action::Free, event, block)?;
        }
        if event.action == Action::Allocate {
            let block = (self.recorded.allocations, event.bytes);
            self.live.insert(event.address, block);
            self.write(Action::Allocate, event, block)?;
        }
        Ok(())
    }

    /// Says so if events were lost, and hands back what was written to.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(super) fn end(mut self, lost: u64) -> io::Result<(W, Recorded)> {
        // RMM's reader knows no remarks.
        if lost > 0 && self.format == RecordFormat::Trace {
            writeln!(self.out, "# {lost} allocations and frees came too fast and are missing")?;
        }
        Ok((self.out, Recorded { lost, ..self.recorded }))
    }

    fn write(&mut self, action: Action, event: &MemoryEvent, block: (u64, u64)) -> io::Result<()> {
        let stream = self.stream(event.stream);
        let (id, bytes) = block;
        match action {
            Action::Allocate => self.recorded.allocations += 1,
            Action::Free => self.recorded.frees += 1,
        }
        let MemoryEvent { address, thread, .. } = event;
        match self.format {
            RecordFormat::Trace => {
                let (micros, nanos) = (self.last.as_micros(), self.last.subsec_nanos() % 1000);
                let op = if action == Action::Allocate { 'a' } else { 'f' };
                writeln!(self.out, "{micros}.{nanos:03},{op},{id},{bytes},{stream}")
            }
            RecordFormat::Rmm => {
                let (seconds, micros) = (self.last.as_secs(), self.last.subsec_micros());
                let [hours, minutes] = [seconds / 3600, seconds / 60 % 60];
                let op = if action == Action::Allocate { "allocate" } else { "free" };
                write!(
                    self.out,
                    "{thread},{hours:02}:{minutes:02}:{:02}.{micros:06},",
                    seconds % 60
                )?;
                writeln!(self.out, "{op},{address:#x},{bytes},{stream}")
            }
        }
    }

    fn stream(&mut self, stream: Option<u64>) -> usize {
        let next = self.streams.len() + 1;
        stream.map_or(0, |stream| *self.streams.entry(stream).or_insert(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(nanos: u64, action: Action, address: u64, stream: Option<u64>) -> MemoryEvent {
        let at = Duration::from_nanos(nanos);
        MemoryEvent { at, action, address, bytes: address / 2, stream, thread: 3 }
    }

    /// The rows of these events, with so many lost.
    fn rows(format: RecordFormat, lost: u64, events: &[MemoryEvent]) -> (String, Recorded) {
        let mut rows = Rows::begin(Vec::new(), format).unwrap();
        events.iter().for_each(|event| rows.add(event).unwrap());
        let (text, recorded) = rows.end(lost).unwrap();
        (String::from_utf8(text).unwrap(), recorded)
    }

    fn life() -> [MemoryEvent; 4] {
        let (first, second) = (Some(0x7f00), Some(0x7e00));
        [
            event(1_001, Action::Allocate, 0x1000, first),
            event(5_000_000_000, Action::Allocate, 0x2000, None),
            event(4_999_999_999, Action::Free, 0x1000, second),
            event(3_723_000_007_000, Action::Allocate, 0x1000, first),
        ]
    }

    #[test]
    fn a_trace_has_ids_in_order_streams_by_number_and_time_that_goes_on() {
        let (text, recorded) = rows(RecordFormat::Trace, 0, &life());
        let expected = "t_us,op,id,bytes,stream\n\
            1.001,a,0,2048,1\n\
            5000000.000,a,1,4096,0\n\
            5000000.000,f,0,2048,2\n\
            3723000007.000,a,2,2048,1\n";
        assert_eq!(text, expected);
        assert_eq!(recorded, Recorded { allocations: 3, frees: 1, lost: 0 });
    }

    #[test]
    fn rmm_has_threads_addresses_and_a_clock() {
        let (text, _) = rows(RecordFormat::Rmm, 9, &life());
        let expected = "Thread,Time,Action,Pointer,Size,Stream\n\
            3,00:00:00.000001,allocate,0x1000,2048,1\n\
            3,00:00:05.000000,allocate,0x2000,4096,0\n\
            3,00:00:05.000000,free,0x1000,2048,2\n\
            3,01:02:03.000007,allocate,0x1000,2048,1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_was_lost_leaves_a_trace_that_holds_together() {
        let events = [
            event(1_000, Action::Free, 0x1000, None),
            event(2_000, Action::Allocate, 0x1000, None),
            event(3_000, Action::Allocate, 0x1000, None),
        ];
        let (text, recorded) = rows(RecordFormat::Trace, 2, &events);
        let expected = "t_us,op,id,bytes,stream\n\
            2.000,a,0,2048,0\n\
            3.000,f,0,2048,0\n\
            3.000,a,1,2048,0\n\
            # 2 allocations and frees came too fast and are missing\n";
        assert_eq!(text, expected);
        assert_eq!(recorded, Recorded { allocations: 2, frees: 1, lost: 2 });
    }
}
