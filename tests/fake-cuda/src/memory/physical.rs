//! Memory without an address: `cuMemCreate` makes it, mappings give it addresses.

use std::sync::Arc;

use super::budget::{Budget, Share, Use};
use super::{PAGE, Storage};
use crate::code::{Answer, Code};

/// Physical memory. It goes when its handle is released and its last mapping is gone.
#[derive(Debug)]
pub(crate) struct Physical {
    share: Share,
    pub(crate) storage: Arc<Storage>,
}

impl Physical {
    pub(crate) fn new(budget: &Arc<Budget>, bytes: u64) -> Answer<Self> {
        if bytes == 0 || bytes % PAGE != 0 {
            return Err(Code::INVALID_VALUE);
        }
        let share = budget.take(Use::Physical, bytes)?;
        let storage = Arc::new(Storage::new(bytes).ok_or(Code::OUT_OF_MEMORY)?);
        Ok(Self { share, storage })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.share.bytes()
    }
}
