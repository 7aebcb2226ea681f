//! The functions that NVRTC leaves to the device: `assert` and `printf`.

use std::io::Write;

use super::block::Surroundings;
use super::execute::Place;
use super::fault::{Fault, Laned};
use super::program::{Builtin, Call, Space};
use super::registers::{LANES, Mask, lanes};
use super::scratch::Local;
use super::window;

/// Calls `function` for each lane of `active`, with the parameters of `site` in the frame at `base`.
pub(super) fn run(
    function: Builtin,
    active: Mask,
    site: &Call,
    (base, local, (_, threads)): (u64, &mut Local, Place<'_>),
    around: &mut Surroundings<'_>,
) -> Laned<()> {
    for lane in lanes(active) {
        let mut reader = Reader { lane, base, site, local, around };
        match function {
            Builtin::AssertFail => {
                let message = reader.assertion(threads.map(|row| row[lane]));
                // what a device would print too, before the launch fails
                let _ = writeln!(std::io::stderr().lock(), "{message}");
                return Err((lane, Fault::AssertionFailed));
            }
            Builtin::Printf => {
                let (text, count) = reader.formatted();
                let _ = std::io::stdout().lock().write_all(text.as_bytes());
                if let Some(result) = site.returns.first() {
                    let at = base + u64::from(result.offset);
                    let count = [count; LANES];
                    reader.local.store::<u32>(1 << lane, &[at; LANES], &count)?;
                }
            }
        }
    }
    Ok(())
}

/// Reads the memory of one lane.
struct Reader<'a, 'b> {
    lane: usize,
    base: u64,
    site: &'a Call,
    local: &'a mut Local,
    around: &'a mut Surroundings<'b>,
}

impl Reader<'_, '_> {
    /// Parameter `index` of the call.
    fn parameter(&mut self, index: usize) -> u64 {
        let Some(slot) = self.site.parameters.get(index) else { return 0 };
        let at = window::start(Space::Local) + self.base + u64::from(slot.offset);
        (0..u64::from(slot.bytes.min(8)))
            .fold(0, |value, i| value | u64::from(self.byte(at + i)) << (8 * i))
    }

    /// A byte at a generic address; zero where there is no memory.
    fn byte(&mut self, address: u64) -> u8 {
        let (space, at) = window::resolve(address);
        let (mask, at) = (1 << self.lane, [at; LANES]);
        let mut bytes = [0u8; LANES];
        let found = match space {
            Space::Local => self.local.load(mask, &at, &mut bytes),
            Space::Shared => self.around.shared.load(mask, &at, &mut bytes),
            _ => self.around.global.load(mask, &at, &mut bytes, false),
        };
        found.map_or(0, |()| bytes[self.lane])
    }

    fn text(&mut self, address: u64) -> String {
        let bytes = (0..4096).map(|i| self.byte(address.wrapping_add(i)));
        let bytes: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn assertion(&mut self, thread: [u32; 3]) -> String {
        let [message, file, line, function] = [0, 1, 2, 3].map(|i| self.parameter(i));
        let [message, file, function] = [message, file, function].map(|at| self.text(at));
        let block = self.around.block;
        format!(
            "{file}:{line}: {function}: block: {block:?}, thread: {thread:?} Assertion `{message}` failed."
        )
    }

    /// `printf`'s text, and how many arguments it has.
    fn formatted(&mut self) -> (String, u32) {
        let (format, mut next) = (self.parameter(0), self.parameter(1));
        let (format, mut out, mut count) = (self.text(format), String::new(), 0);
        let mut rest = format.as_str();
        while let Some((before, after)) = rest.split_once('%') {
            out += before;
            if let Some(after) = after.strip_prefix('%') {
                out.push('%');
                rest = after;
                continue;
            }
            let end = after.find(|c: char| c.is_ascii_alphabetic() && !"lhzjt".contains(c));
            let Some(end) = end else { break };
            let (spec, conversion) = (&after[..end], after.as_bytes()[end]);
            rest = &after[end + 1..];
            let wide = spec.contains(['l', 'z', 'j', 't']) || b"feEgGsp".contains(&conversion);
            let bytes = if wide { 8 } else { 4 };
            next = next.next_multiple_of(bytes);
            let value =
                (0..bytes).fold(0, |value, i| value | u64::from(self.byte(next + i)) << (8 * i));
            next += bytes;
            count += 1;
            out += &self.converted(spec, conversion, (value, wide));
        }
        (out + rest, count)
    }

    /// One argument, as its conversion says, with its width and precision.
    fn converted(&mut self, spec: &str, conversion: u8, (value, wide): (u64, bool)) -> String {
        let digits: String = spec.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
        let (width, precision) = digits.split_once('.').unwrap_or((&digits, ""));
        let precision = precision.parse().unwrap_or(6usize);
        let number = f64::from_bits(value);
        let text = match conversion {
            b'd' | b'i' if wide => value.cast_signed().to_string(),
            b'd' | b'i' => (value as u32).cast_signed().to_string(),
            b'x' => format!("{value:x}"),
            b'X' => format!("{value:X}"),
            b'o' => format!("{value:o}"),
            b'p' => format!("{value:#x}"),
            b'c' => char::from(value as u8).to_string(),
            b's' => self.text(value),
            b'f' => format!("{number:.precision$}"),
            b'e' | b'E' => format!("{number:.precision$e}"),
            b'g' | b'G' => number.to_string(),
            _ => value.to_string(),
        };
        let zeros = width.starts_with('0');
        let width = width.parse().unwrap_or(0usize);
        match () {
            () if spec.contains('-') => format!("{text:<width$}"),
            () if zeros => format!("{text:0>width$}"),
            () => format!("{text:>width$}"),
        }
    }
}
