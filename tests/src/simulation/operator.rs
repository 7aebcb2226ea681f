//! Who restarts kernels and lifts quarantines by hand, at random times.

use rustkernel_actors::Supervisor;

use super::fault::Fault;
use super::plan::{KernelPlan, millis};
use super::stage;

/// Goes on for as long as it is let.
pub(super) async fn operate(supervisor: &Supervisor, kernels: &[KernelPlan]) {
    loop {
        tokio::time::sleep(millis(stage::draw(1..40))).await;
        stage::fired(Fault::ByHand);
        let name = kernels[stage::draw(0..kernels.len() as u64) as usize].name();
        // (A kernel that is not there yet, or not any more, is not known.)
        if stage::draw(0..2) == 0 {
            supervisor.restart_kernel(&name).await.ok();
        } else {
            supervisor.lift_quarantine(&name).await.ok();
        }
    }
}
