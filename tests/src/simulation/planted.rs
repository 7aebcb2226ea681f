//! Bugs that can be planted in what is simulated: each has to be found.

use rustkernel_actors::planted as actors;
use rustkernel_gpu::planted as gpu;
use rustkernel_port::planted as port;

/// A bug that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// In the data path.
    Port(port::Bug),
    /// In devices and their memory.
    Memory(gpu::Bug),
    /// In the actors.
    Actors(actors::Bug),
}

/// Plants a bug in this thread, or none.
pub fn plant(bug: Option<Bug>) {
    let (mut of_port, mut of_memory, mut of_actors) = (None, None, None);
    match bug {
        Some(Bug::Port(bug)) => of_port = Some(bug),
        Some(Bug::Memory(bug)) => of_memory = Some(bug),
        Some(Bug::Actors(bug)) => of_actors = Some(bug),
        None => {}
    }
    port::plant(of_port);
    gpu::plant(of_memory);
    actors::plant(of_actors);
}
