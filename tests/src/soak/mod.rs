//! A service under a steady load with faults, for as long as it is told: what it answers, how late, and whether it
//! grows.
//!
//! | part | role |
//! |---|---|
//! | `service` | what is soaked: the built-in kernels, and one that does as it is asked; in a process of its own |
//! | `mix` | what is sent, and which answers each kind may have |
//! | `load` | who sends it, at intended times: an answer that is late delays no measurement |
//! | `watch` | memory, threads and descriptors of the process |
//! | `verdict` | what has to hold |

mod load;
mod mix;
pub mod service;
mod verdict;
mod watch;

pub use load::{Load, Seen, run};
pub use mix::Kind;
pub use verdict::Verdict;
pub use watch::{Sample, Watch};
