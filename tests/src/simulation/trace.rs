//! What happened in a run, as one number: the same seed has to give the same.

/// A hash over events in their order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Trace {
    pub(crate) fn add(&mut self, words: &[u64]) {
        for word in words {
            let mixed = (self.0 ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
            self.0 = mixed ^ mixed >> 32;
        }
    }

    pub(crate) fn add_text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.add(&[u64::from(byte)]));
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}
