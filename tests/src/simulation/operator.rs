//! Who restarts, unloads and loads kernels and lifts quarantines by hand, at random times.

use rustkernel_actors::Supervisor;

use super::fault::Fault;
use super::plan::{KernelPlan, millis};
use super::stage;

/// Goes on for as long as it is let.
pub(super) async fn operate(supervisor: &Supervisor, kernels: &[KernelPlan]) {
    loop {
        tokio::time::sleep(millis(stage::draw(1..40))).await;
        stage::fired(Fault::ByHand);
        let kernel = &kernels[stage::draw(0..kernels.len() as u64) as usize];
        let name = kernel.name();
        // (A kernel that is not there yet, or not any more, is not known.)
        match stage::draw(0..4) {
            0 => drop(supervisor.restart_kernel(&name).await),
            1 => drop(supervisor.lift_quarantine(&name).await),
            2 => drop(supervisor.load_kernel(&name).await),
            _ => {
                stage::unload(kernel.index);
                unload(supervisor, &name).await;
            }
        }
    }
}

/// Unloads a kernel, and has it serve again after a while, which may be before it is down.
async fn unload(supervisor: &Supervisor, name: &str) {
    let load = async {
        tokio::time::sleep(millis(stage::draw(0..30))).await;
        supervisor.load_kernel(name).await.ok();
    };
    tokio::join!(supervisor.unload_kernel(name), load).0.ok();
    supervisor.load_kernel(name).await.ok();
}
