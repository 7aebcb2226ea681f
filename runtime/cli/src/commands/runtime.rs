//! `rustkernel runtime …` and what else asks a running process.
//!
//! In JSON all of it is what the process answers: `runtime status` prints the service's `Status`, `kernel
//! stats` its `Kernel`s, as `rustkernel_http::view` has them. `runtime drain` and `stop` print `state`:
//! `stopped`, or what it is while nobody waits.

use std::time::Duration;

use indicatif::BinaryBytes;
use rustkernel_http::view::{Blocks, Device, Devices, Kernel, Kernels, State, Status};
use rustkernel_http::{Client, ClientError, FindError};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{config, init, serve};
use crate::args::{
    DrainArgs, MemoryArgs, OutputFormat, RuntimeCommand, ServiceArgs, ShowRunningArgs, StatsArgs,
    TellArgs, WaitArgs,
};
use crate::exit::{Exit, Failure};
use crate::output::{self, Table};
use crate::progress::Progress;

/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(50);
/// How long a process may take to end, beside what it waits for requests in flight.
const LAST_STEPS: Duration = Duration::from_secs(10);

/// `rustkernel runtime …`.
pub(super) fn run(command: &RuntimeCommand) -> Result<(), Failure> {
    match command {
        RuntimeCommand::Show(args) => super::executor()?.block_on(show_configuration(args)),
        RuntimeCommand::Init(args) => init::run(args),
        RuntimeCommand::Status(args) => {
            tell(args, async |client| client.status().await, table_of_status)
        }
        RuntimeCommand::Drain(args) => super::executor()?.block_on(drain(args)),
        RuntimeCommand::Stop(args) => super::executor()?.block_on(stop(args)),
        RuntimeCommand::Reload(args) => tell(
            args,
            async |client| client.reload().await,
            |reloaded| serve::of_reload(reloaded) + "\n",
        ),
    }
}

/// `rustkernel kernel stats`.
pub(super) fn stats(StatsArgs { kernel, service }: &StatsArgs) -> Result<(), Failure> {
    let Some(name) = kernel else {
        let kernels = async |client: Client| client.kernels().await;
        return tell(service, kernels, |Kernels { kernels }| table_of_kernels(kernels));
    };
    let kernel = async |client: Client| client.kernel(name).await;
    tell(service, kernel, |kernel| {
        table_of_kernels(std::slice::from_ref(kernel)) + &history(kernel)
    })
}

/// `rustkernel device stats`.
pub(super) fn memory(MemoryArgs { device, service }: &MemoryArgs) -> Result<(), Failure> {
    super::executor()?.block_on(async {
        let mut all = client(service).await?.devices().await.map_err(failure)?;
        let format = service.format.output_format;
        let Some(wanted) = device else {
            return show(format, &all, |Devices { devices }| table_of_memory(devices));
        };
        let wanted = wanted.to_string();
        all.devices.retain(|device| device.id == wanted);
        match all.devices.as_slice() {
            [device] => {
                show(format, device, |device| table_of_memory(&all.devices) + &blocks(device))
            }
            _ => Err(Failure::usage(format!("the process does not use the device {wanted}"))
                .hint("`rustkernel device stats` shows those that it uses")),
        }
    })
}

/// `rustkernel kernel restart`.
pub(super) fn restart(TellArgs { kernel, service }: &TellArgs) -> Result<(), Failure> {
    tell(service, async |client| client.restart(kernel).await, |_| "told to restart\n".to_owned())
}

/// `rustkernel kernel lift`.
pub(super) fn lift(TellArgs { kernel, service }: &TellArgs) -> Result<(), Failure> {
    tell(
        service,
        async |client| client.lift(kernel).await,
        |lifted| match lifted.lifted {
            true => "an instance is tried now\n".to_owned(),
            false => "it is in no quarantine\n".to_owned(),
        },
    )
}

/// `rustkernel kernel unload`.
pub(super) fn unload(WaitArgs { tell: args, timeout }: &WaitArgs) -> Result<(), Failure> {
    let TellArgs { kernel, service } = args;
    let unload = async |client: Client| client.unload(kernel, *timeout).await;
    tell(service, unload, |unloaded| match unloaded.replaced {
        0 => "unloaded\n".to_owned(),
        count => format!("unloaded; {count} instances did not come back, and were replaced\n"),
    })
}

/// `rustkernel kernel load`.
pub(super) fn load(WaitArgs { tell: args, timeout }: &WaitArgs) -> Result<(), Failure> {
    let TellArgs { kernel, service } = args;
    let load = async |client: Client| client.load(kernel, *timeout).await;
    tell(service, load, |loaded| format!("loaded; {} instances are up\n", loaded.running))
}

/// Asks the process for something, and shows its answer.
pub(super) fn tell<T: serde::Serialize>(
    service: &ServiceArgs,
    ask: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    super::executor()?.block_on(async {
        let told = ask(client(service).await?).await.map_err(failure)?;
        show(service.format.output_format, &told, text)
    })
}

/// The configuration of the running process; where flags say what it is made of, or none runs, that of one
/// that is started here.
async fn show_configuration(args: &ShowRunningArgs) -> Result<(), Failure> {
    let ShowRunningArgs { layers, service } = args;
    let format = service.format.output_format;
    if layers.is_given() {
        if service.endpoint.is_some() {
            let message = "a running process has its own configuration";
            return Err(Failure::usage(message)
                .hint("leave out `--endpoint`, or `--config`, `--preset` and `--set`"));
        }
        return config::show_layers(layers, format);
    }
    let client = match &service.endpoint {
        Some(endpoint) => Client::new(endpoint.clone()),
        None => match Client::find().await {
            Ok(client) => client,
            Err(none @ FindError::None(_)) => {
                output::note(format_args!("{none}; one that is started here would have:"));
                return config::show_layers(layers, format);
            }
            Err(error) => return Err(not_found(&error)),
        },
    };
    let rows = client.config().await.map_err(failure)?;
    show(format, &rows, table_of_configuration)
}

/// Its rows, and what is in effect instead where that differs.
fn table_of_configuration(rows: &Value) -> String {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let waits = |row: &&Value| row["needs_restart"] == true;
    let mut table = Table::new(&["key", "value", "from"]);
    for row in rows {
        table.row([text(&row["key"]), row["value"].to_string(), text(&row["origin"])]);
    }
    let mut told = table.to_string();
    if rows.iter().any(|row| waits(&row)) {
        let mut table = Table::new(&["with the next start", "until then"]);
        for row in rows.iter().filter(waits) {
            table.row([text(&row["key"]), row["in_effect"].to_string()]);
        }
        told += &format!("\n{table}");
    }
    told
}

async fn stop(args: &ServiceArgs) -> Result<(), Failure> {
    let client = client(args).await?;
    client.stop().await.map_err(failure)?;
    wait(&client, Duration::ZERO).await?;
    stopped(args.format.output_format)
}

async fn drain(DrainArgs { no_wait, service }: &DrainArgs) -> Result<(), Failure> {
    let client = client(service).await?;
    let before = client.status().await.map_err(failure)?;
    let state = client.drain().await.map_err(failure)?;
    let format = service.format.output_format;
    if *no_wait {
        return show(format, &state, |_| "told to drain\n".to_owned());
    }
    let most = before.drain_delay_seconds + before.shutdown_timeout_seconds;
    wait(&client, Duration::try_from_secs_f64(most).unwrap_or(LAST_STEPS)).await?;
    stopped(format)
}

fn stopped(format: OutputFormat) -> Result<(), Failure> {
    show(format, &State { state: "stopped".into() }, |_| "stopped\n".to_owned())
}

/// Waits until the process has ended, that long and what its last steps take.
async fn wait(client: &Client, drain: Duration) -> Result<(), Failure> {
    let progress = Progress::start(output::is_watched());
    let watched = async {
        loop {
            match client.status().await {
                // What listened there is gone, perhaps in the middle of an answer.
                Err(ClientError::NotRunning { .. } | ClientError::Broken { .. }) => return Ok(()),
                Err(error @ ClientError::Strange { .. }) => return Err(failure(error)),
                Err(_) => {}
                Ok(status) => progress.say(step(&status)),
            }
            sleep(LOOK).await;
        }
    };
    let most = drain.saturating_add(LAST_STEPS);
    let begun = Instant::now();
    timeout(most, watched).await.map_err(|_| {
        let after = begun.elapsed().as_secs();
        Failure::new(Exit::TryAgain, format!("it has not ended after {after} s"))
            .hint("`rustkernel runtime stop` cancels what is in flight")
    })?
}

/// How far its end is.
fn step(Status { state, in_flight, drains_in_seconds, .. }: &Status) -> String {
    match drains_in_seconds {
        Some(left) => format!("not ready, drains in {left:.0} s, {in_flight} requests in flight"),
        None => format!("{state}, {in_flight} requests in flight"),
    }
}

/// Whom the command line means.
pub(super) async fn client(args: &ServiceArgs) -> Result<Client, Failure> {
    if let Some(endpoint) = &args.endpoint {
        return Ok(Client::new(endpoint.clone()));
    }
    Client::find().await.map_err(|error| not_found(&error))
}

fn not_found(error: &FindError) -> Failure {
    let message = error.to_string();
    match error {
        FindError::Several(found) => {
            let first = found.first().map(ToString::to_string).unwrap_or_default();
            Failure::usage(message)
                .hint(format!("say which one is meant, as in --endpoint {first}"))
        }
        FindError::Environment(_) => Failure::usage(message),
        _ => Failure::new(Exit::Unavailable, message).hint(
            "`rustkernel serve` starts one; `--endpoint` or RUSTKERNEL_ENDPOINT name one elsewhere",
        ),
    }
}

fn failure(error: ClientError) -> Failure {
    let exit = match &error {
        ClientError::NotRunning { .. } => Exit::Unavailable,
        ClientError::TimedOut { .. } => Exit::TryAgain,
        ClientError::Refused { status: 404, .. } => Exit::Usage,
        ClientError::Refused { status: 422, .. } => Exit::Config,
        ClientError::Refused { .. } => Exit::TryAgain,
        _ => Exit::Software,
    };
    let mut failure = Failure::new(exit, error.to_string());
    if let ClientError::Refused { problem, .. } = error {
        for one in problem.problems {
            failure.message += &format!("\n  {one}");
        }
        failure.hint = problem.hint;
    }
    failure
}

fn show<T: serde::Serialize>(
    format: OutputFormat,
    value: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    match format {
        OutputFormat::Json | OutputFormat::Yaml => output::print_value(format, value),
        OutputFormat::Table => output::print(table(value)),
    }
}

fn table_of_status(status: &Status) -> String {
    let mut table = Table::new(&[
        "service",
        "state",
        "process",
        "uptime",
        "kernels",
        "in flight",
        "restarts",
        "dead letters",
    ]);
    let uptime = Duration::from_secs(status.uptime_seconds as u64);
    table.row([
        status.name.clone(),
        status.state.clone(),
        status.pid.to_string(),
        humantime::format_duration(uptime).to_string(),
        status.kernels.to_string(),
        status.in_flight.to_string(),
        status.restarts.to_string(),
        status.dead_letters.to_string(),
    ]);
    let pressure: Vec<String> =
        status.pressure.iter().map(|one| format!("{} {}", one.device, one.level)).collect();
    let mut text = format!("{table}memory pressure: {}\n", pressure.join(", "));
    if let Some(left) = status.drains_in_seconds {
        text +=
            &format!("told to end: not ready, takes requests for {left:.0} s more, then drains\n");
    }
    if !status.refusing.is_empty() {
        text += &format!("kernels that refuse requests: {}\n", status.refusing.join(", "));
    }
    text
}

fn table_of_memory(devices: &[Device]) -> String {
    let mut table = Table::new(&[
        "device",
        "memory",
        "pressure",
        "limit",
        "committed",
        "live",
        "mapped",
        "cached",
        "stranded",
        "peak live",
    ]);
    for device in devices {
        for (kind, memory) in [("device", &device.device), ("staging", &device.staging)] {
            let bytes = [
                memory.limit,
                memory.committed,
                memory.live,
                memory.mapped,
                memory.cached,
                memory.stranded,
                memory.peak_live,
            ];
            let pressure = if kind == "device" { &*device.pressure } else { "-" };
            let row = [device.id.clone(), kind.to_owned(), pressure.to_owned()];
            table.row(row.into_iter().chain(bytes.map(in_bytes)));
        }
    }
    table.to_string()
}

pub(super) fn in_bytes(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// What is free and what magazines have, by size.
fn blocks(device: &Device) -> String {
    let mut table = Table::new(&["memory", "where", "blocks of", "count"]);
    for (kind, memory) in [("device", &device.device), ("staging", &device.staging)] {
        for (place, blocks) in [("free", &memory.free), ("magazines", &memory.magazines)] {
            for Blocks { block_bytes, count } in blocks {
                let row = [kind, place].map(str::to_owned);
                table.row(row.into_iter().chain([in_bytes(*block_bytes), count.to_string()]));
            }
        }
    }
    format!("\n{table}")
}

fn table_of_kernels(kernels: &[Kernel]) -> String {
    let mut table = Table::new(&[
        "kernel",
        "condition",
        "instances",
        "device",
        "in flight",
        "queue",
        "completed",
        "failed",
        "rejected",
        "cancelled",
        "restarts",
    ]);
    for kernel in kernels {
        let mut devices = kernel.devices.clone();
        devices.dedup();
        table.row([
            kernel.name.clone(),
            kernel.condition.clone(),
            format!("{}/{}", kernel.running, kernel.instances),
            devices.join(", "),
            kernel.in_flight.to_string(),
            kernel.queue.to_string(),
            kernel.requests.completed.to_string(),
            kernel.requests.failed.to_string(),
            kernel.requests.rejected.to_string(),
            kernel.requests.cancelled.to_string(),
            kernel.restarts.to_string(),
        ]);
    }
    table.to_string()
}

fn history(kernel: &Kernel) -> String {
    if kernel.history.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["when", "instance", "what"]);
    for line in &kernel.history {
        let instance =
            line.instance.map_or_else(|| "-".to_owned(), |instance| instance.to_string());
        table.row([line.at.clone(), instance, line.what.clone()]);
    }
    format!("\n{table}")
}
