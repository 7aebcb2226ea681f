//! Erlang/OTP, as a process beside: `benches/peers/restart.escript` measures the same and prints it as JSON.

use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Subject;
use crate::measure::{Loss, Place, Quantiles, Storm};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/restart.escript");

/// If it is not there its row says what to do about that.
pub(crate) fn subject() -> Subject {
    if is_there() {
        Subject { name: "Erlang/OTP", restart, losses: Some(losses), storm: Some(storm) }
    } else {
        let name = "Erlang/OTP: not here, `apt install erlang-base`";
        Subject { name, restart: |_| None, losses: None, storm: None }
    }
}

fn is_there() -> bool {
    let found = Command::new("escript").arg(SCRIPT).arg("version").output();
    let Ok(output) = found else { return false };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// One scheduler stands for one thread.
fn run<T: DeserializeOwned>(what: &str, place: Place) -> T {
    let schedulers = if place == Place::Same { "+S 1:1" } else { "+S 2:2" };
    let output = Command::new("escript")
        .arg(SCRIPT)
        .arg(what)
        .env("ERL_FLAGS", schedulers)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn restart(place: Place) -> Option<Quantiles> {
    Some(run("restart", place))
}

#[derive(Deserialize)]
struct Outcomes {
    answered: usize,
    gone: usize,
    lost: usize,
}

fn losses() -> Loss {
    let Outcomes { answered, gone, lost } = run("losses", Place::Same);
    Loss { answered, handed_back: 0, gone, lost }
}

#[derive(Deserialize)]
struct Loop {
    restarts: u64,
    serves: bool,
    failed: usize,
    control: Quantiles,
    neighbour: Option<Quantiles>,
}

fn storm() -> Storm {
    let Loop { restarts, serves, failed, control, neighbour } = run("storm", Place::Across);
    Storm { restarts, serves, neighbour_failed: failed, control, neighbour }
}
