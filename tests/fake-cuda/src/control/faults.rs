//! Faults that a test injects.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::point::{Malformed, Point};
use crate::code::Code;

/// A fault to come: at the `n`-th use of a [`Point`] from now on, that call answers a code, or that
/// launch fails on the device.
///
/// A failing launch breaks its context for good, as the fault of a real kernel does. A failing call
/// breaks nothing, unless it is [`sticky`](Self::sticky).
///
/// ```
/// use fake_cuda::Fault;
///
/// fake_cuda::inject(Fault::launch("saxpy", 700).nth(2).on_device(0));
/// fake_cuda::inject(Fault::call("cuMemAlloc_v2", 2).nth(3).from_then_on());
/// // the same, as FAKE_CUDA_FAULTS has it
/// let faults: Vec<Fault> = ["0:launch saxpy@2=700", "cuMemAlloc_v2@3+=2"].map(|f| f.parse().unwrap()).into();
/// # assert_eq!(faults[0], Fault::launch("saxpy", 700).nth(2).on_device(0));
/// # fake_cuda::clear_faults();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    point: Point,
    device: Option<usize>,
    /// How many uses are left, this one included.
    nth: u64,
    code: u32,
    from_then_on: bool,
    sticky: bool,
    /// Uses count only once the device was reset.
    after_reset: bool,
}

impl Fault {
    /// A fault at the next use of `point`. The code may be one that `cust` does not know.
    ///
    /// # Panics
    /// If `code` is 0, which is success.
    pub fn at(point: Point, code: u32) -> Self {
        assert_ne!(code, 0, "0 is the code of success");
        let (device, from_then_on, sticky, after_reset) = (None, false, false, false);
        Self { point, device, nth: 1, code, from_then_on, sticky, after_reset }
    }

    /// A fault at the next call of the entry point `name`.
    ///
    /// # Panics
    /// If `code` is 0, or this driver has no such entry point: such a fault would never strike.
    pub fn call(name: &str, code: u32) -> Self {
        let known = crate::entry::ENTRY_POINTS.contains(&name);
        assert!(known, "`{name}` is no entry point of this driver");
        Self::at(Point::Call(name.into()), code)
    }

    /// A fault at the next launch of `kernel`: it fails when the device comes to it.
    ///
    /// # Panics
    /// If `code` is 0.
    pub fn launch(kernel: &str, code: u32) -> Self {
        Self::at(Point::Launch(kernel.into()), code)
    }

    /// At the `nth` use from now on, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        Self { nth: nth.max(1), ..self }
    }

    /// Only uses that concern that device count.
    #[must_use]
    pub fn on_device(self, ordinal: usize) -> Self {
        Self { device: Some(ordinal), ..self }
    }

    /// At every later use too.
    #[must_use]
    pub fn from_then_on(self) -> Self {
        Self { from_then_on: true, ..self }
    }

    /// The call breaks the context as well: whatever follows answers the code too, until a reset.
    #[must_use]
    pub fn sticky(self) -> Self {
        Self { sticky: true, ..self }
    }

    /// Only uses after the next reset of a context count.
    #[must_use]
    pub fn after_reset(self) -> Self {
        Self { after_reset: true, ..self }
    }

    /// Whether it is for that device, if it names one.
    fn is_for(&self, device: Option<usize>) -> bool {
        self.device.is_none() || self.device == device
    }

    /// Counts one use; whether the fault strikes now.
    fn strikes(&mut self, device: Option<usize>) -> bool {
        if self.after_reset || !self.is_for(device) || self.nth == 0 {
            return false;
        }
        self.nth -= 1;
        if self.nth == 0 && self.from_then_on {
            self.nth = 1;
            return true;
        }
        self.nth == 0
    }
}

/// `[DEVICE:]WHAT[@N][+]=CODE[!]`, where `WHAT` is an entry point, `*` for any, or `launch KERNEL`;
/// `+` makes it strike from then on, `!` makes it sticky.
impl FromStr for Fault {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let number = |text: &str| {
            text.trim().parse().map_err(|_| Malformed(format!("`{text}` is not a number")))
        };
        let (point, code) = text
            .rsplit_once('=')
            .ok_or_else(|| Malformed("`=CODE` is missing (WHAT@N=CODE)".into()))?;
        let (code, sticky) = code.strip_suffix('!').map_or((code, false), |code| (code, true));
        let (point, later) = point.strip_suffix('+').map_or((point, false), |p| (p, true));
        let (device, point) = match point.split_once(':') {
            Some((device, point)) => (Some(number(device)?), point),
            None => (None, point),
        };
        let (point, nth) = match point.rsplit_once('@') {
            Some((point, nth)) => (point, number(nth)?),
            None => (point, 1),
        };
        let code = number(code)?;
        if nth == 0 || code == 0 {
            return Err(Malformed("uses are counted from 1, and 0 is the code of success".into()));
        }
        let code = u32::try_from(code).map_err(|_| Malformed(format!("{code} is no code")))?;
        let device = device.map(|device| device as usize);
        let fault = Self::at(Point::parse(point)?, code);
        Ok(Self { device, nth, from_then_on: later, sticky, ..fault })
    }
}

static FAULTS: Mutex<Vec<Fault>> = Mutex::new(Vec::new());
/// Whether there are any, so that calls without faults need no lock.
static ARMED: AtomicBool = AtomicBool::new(false);

/// Adds a fault to those that wait.
pub fn inject(fault: Fault) {
    FAULTS.lock().push(fault);
    ARMED.store(true, Ordering::Release);
}

/// Takes back all faults that have not struck, and those that strike from then on.
pub fn clear_faults() {
    FAULTS.lock().clear();
}

/// Takes back the faults that are of one device only.
pub fn clear_faults_on(ordinal: usize) {
    FAULTS.lock().retain(|fault| fault.device != Some(ordinal));
}

/// A device was reset: faults that wait for that begin to count.
pub(crate) fn at_reset(device: usize) {
    for fault in FAULTS.lock().iter_mut().filter(|fault| fault.is_for(Some(device))) {
        fault.after_reset = false;
    }
}

/// A call of `name`: the code that it must answer, and whether that breaks the context.
pub(crate) fn at_call(name: &str, device: Option<usize>) -> Option<(Code, bool)> {
    strike(|point| point.is_call_of(name), device)
}

/// A launch of `kernel`: the code with which it fails.
pub(crate) fn at_launch(kernel: &str, device: usize) -> Option<Code> {
    strike(|point| point.is_launch_of(kernel), Some(device)).map(|(code, _)| code)
}

fn strike(is_at: impl Fn(&Point) -> bool, device: Option<usize>) -> Option<(Code, bool)> {
    if !ARMED.load(Ordering::Acquire) {
        return None;
    }
    let mut faults = FAULTS.lock();
    let mut struck = None;
    // every fault at this point counts the use; the first that strikes decides
    for fault in faults.iter_mut().filter(|fault| is_at(&fault.point)) {
        if fault.strikes(device) && struck.is_none() {
            struck = Some((Code(fault.code), fault.sticky));
        }
    }
    faults.retain(|fault| fault.nth > 0);
    ARMED.store(!faults.is_empty(), Ordering::Release);
    struck
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_on_the_device_that_is_meant() {
        let mut fault = Fault::launch("k", 700).nth(2).on_device(3);
        let strikes: Vec<bool> =
            [Some(3), Some(1), None, Some(3), Some(3)].map(|device| fault.strikes(device)).into();
        assert_eq!(strikes, [false, false, false, true, false]);
        let mut later = Fault::call("cuMemAlloc_v2", 2).nth(2).from_then_on();
        assert_eq!([(); 4].map(|()| later.strikes(None)), [false, true, true, true]);
    }

    #[test]
    fn uses_before_a_reset_do_not_count_if_those_after_it_are_meant() {
        let point = || Point::Call("cuEventQuery".into());
        // (A device that there is not: other tests inject faults beside this one.)
        inject(Fault::at(point(), 719).nth(2).on_device(5000).after_reset());
        let strikes = || strike(|known| *known == point(), Some(5000)).is_some();
        assert_eq!([strikes(), strikes()], [false, false]);
        at_reset(5000);
        assert_eq!([strikes(), strikes(), strikes()], [false, true, false]);
    }

    #[test]
    fn texts_say_everything_that_methods_do() {
        let all = [
            ("launch saxpy=700", Fault::launch("saxpy", 700)),
            ("cuMemAlloc_v2@3=2", Fault::call("cuMemAlloc_v2", 2).nth(3)),
            (
                "1:cuMemAlloc_v2@3+=2",
                Fault::call("cuMemAlloc_v2", 2).nth(3).on_device(1).from_then_on(),
            ),
            ("*@10=719!", Fault::at(Point::AnyCall, 719).nth(10).sticky()),
        ];
        for (text, fault) in all {
            assert_eq!(text.parse::<Fault>().unwrap(), fault, "{text}");
        }
        for (text, part) in [
            ("saxpy", "=CODE"),
            ("launch saxpy=x", "not a number"),
            ("cuNothing=2", "no entry point"),
            ("cuMemAlloc_v2@0=2", "counted from 1"),
            ("cuMemAlloc_v2=0", "success"),
            ("x:cuMemAlloc_v2=2", "not a number"),
            ("cuMemAlloc_v2=99999999999", "no code"),
        ] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
