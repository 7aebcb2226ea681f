//! Requests that are tried again.

/// How often a request is tried again whose kernel ended while it ran. For kernels whose requests may be
/// run more than once without harm.
///
/// A request is tried again by the instance that ran it, once that is restarted, within the request's
/// deadline and the kernel's budget. One that has ended its kernel [`attempts`](Self::attempts) times is
/// not tried again: it is answered with the last cause and noted as a dead letter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    pub(crate) attempts: u32,
    pub(crate) ratio: f64,
}

impl Default for RetryPolicy {
    /// Tries each request at most twice, and at most one more for ten that succeed.
    fn default() -> Self {
        Self { attempts: 2, ratio: 0.1 }
    }
}

impl RetryPolicy {
    /// Tries each request at most so many times, the first included.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// So many further tries for each request that succeeds; ten may be saved up.
    #[must_use]
    pub fn budget(mut self, ratio: f64) -> Self {
        self.ratio = ratio;
        self
    }

    /// What makes no sense about it.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if !(1..=100).contains(&self.attempts) {
            return Err(format!(
                "its requests are tried {} times; 1 to 100 make sense",
                self.attempts
            ));
        }
        if !(0.0..=1.0).contains(&self.ratio) {
            return Err(format!("its retry budget is {}; 0 to 1 make sense", self.ratio));
        }
        Ok(())
    }
}
