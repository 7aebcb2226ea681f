//! Supervision: what ends an instance, what follows, and what nobody else notices.

#[path = "supervision/actors.rs"]
mod actors;
#[path = "supervision/child.rs"]
mod child;
#[path = "supervision/declared.rs"]
mod declared;
#[path = "supervision/hangs.rs"]
mod hangs;
#[path = "supervision/limits.rs"]
mod limits;
#[path = "supervision/losses.rs"]
mod losses;
#[path = "supervision/otp.rs"]
mod otp;
#[path = "supervision/retries.rs"]
mod retries;
#[path = "supervision/unload.rs"]
mod unload;
