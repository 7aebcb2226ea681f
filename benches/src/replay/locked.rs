//! A policy that threads share behind a mutex.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::ReplayError;
use super::policy::{Policy, Setup, Worker};
use crate::trace::Step;

/// One thread's hold of a policy behind a mutex: the workers of those that know no threads.
#[derive(Debug)]
pub struct Locked<P>(Arc<Mutex<P>>);

impl<P: Policy> Locked<P> {
    /// As many as threads, over one policy.
    ///
    /// # Errors
    /// If the policy cannot be set up.
    pub fn several(setup: &Setup, threads: usize) -> Result<Vec<Self>, ReplayError> {
        let shared = Arc::new(Mutex::new(P::new(setup)?));
        Ok((0..threads).map(|_| Self(Arc::clone(&shared))).collect())
    }
}

impl<P: Policy> Worker for Locked<P> {
    fn allocate(&mut self, step: &Step) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).allocate(step)
    }

    fn free(&mut self, step: &Step) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).free(step);
    }
}
