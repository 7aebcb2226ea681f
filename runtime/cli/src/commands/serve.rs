//! `rustkernel serve`: the built-in kernels in a process of their own, until it is told to end.

use std::sync::Arc;

use rustkernel_core::config::ProductionConfig;
use rustkernel_core::observability::{LogConfig, LogLevel};
use rustkernel_core::runtime::{Runtime, ShutdownReport, StartError, StopReason};
use rustkernel_http::security::{Guard, GuardError};
use rustkernel_http::tracing::Tracing;
use rustkernel_http::view::Problem;
use rustkernel_http::{BindError, Notice, Reloaded, ServeError, Service};

use super::call::failure;
use super::config;
use super::live::Live;
use crate::args::{ServeArgs, Talk};
use crate::exit::{Exit, Failure};
use crate::{diagnostics, output};

/// Serves until the runtime has stopped.
///
/// # Errors
/// If it does not start, or stops because of a kernel or a device.
pub(super) fn run(args: &ServeArgs, talk: Talk) -> Result<(), Failure> {
    output::never_wait();
    let layers = args.layers();
    let loaded = config::load(&layers)?;
    let runtime = Arc::new(build(&loaded.config, args, talk)?);
    let name = args.name.clone().unwrap_or_else(|| loaded.config.service_name.clone());
    let ProductionConfig { http, security, observability, service_version, .. } =
        loaded.config.clone();
    let guard = Arc::new(Guard::of(&security, &name).map_err(|error| of_guard(&error))?);
    let live = Live::new(Arc::clone(&runtime), Arc::clone(&guard), layers, loaded);
    let tracing = Tracing::of(&observability, &name, &service_version, runtime.logger());
    let tracing = tracing.map_err(|error| Failure::new(Exit::Config, error.to_string()))?;
    let mut service = Service::new(runtime).name(name).configuration(Arc::new(live)).guard(guard);
    service = service.http(http).metrics(observability.metrics_enabled).tracing(tracing);
    if let Some(endpoint) = &args.endpoint {
        service = service.endpoint(endpoint.clone());
    }
    if !talk.quiet {
        let scheme = if security.tls.is_on() { "https" } else { "http" };
        service = service.notices(move |notice| tell(notice, scheme));
    }
    let executor = super::executor()?;
    let served = executor.block_on(service.serve());
    // (A file that is read again may hang.)
    executor.shutdown_background();
    match served {
        Ok(report) => ended(&report, talk),
        // Told to end before it had started, which it has.
        Err(ServeError::Start(StartError::Interrupted)) => Ok(()),
        Err(error) => Err(of_serve(&error)),
    }
}

fn build(config: &ProductionConfig, args: &ServeArgs, talk: Talk) -> Result<Runtime, Failure> {
    let mut builder = config.runtime_builder();
    if let Some(level) = level(talk) {
        builder = builder.with_log(LogConfig { level, ..config.observability.log });
    }
    for spec in rustkernel_kernels::all() {
        builder = builder.with_any_kernel(spec);
    }
    if args.diagnostics {
        for spec in diagnostics::all() {
            builder = builder.with_any_kernel(spec);
        }
    }
    builder.build().map_err(|error| failure::of_build(&error))
}

/// What is logged, if a flag says so.
fn level(talk: Talk) -> Option<LogLevel> {
    match talk {
        Talk { quiet: true, .. } => Some(LogLevel::Error),
        Talk { verbose: 0, .. } => None,
        Talk { verbose: 1, .. } => Some(LogLevel::Info),
        Talk { .. } => Some(LogLevel::Debug),
    }
}

fn tell(notice: &Notice, scheme: &str) {
    match notice {
        Notice::Listening(address) => {
            output::note(format_args!("listening on {scheme}://{address}"));
        }
        Notice::Serving(endpoint) => output::note(format_args!("serving; control at {endpoint}")),
        Notice::Leaving(delay) => output::note(format_args!(
            "not ready: requests are taken for {} more, for load balancers to notice",
            humantime::format_duration(*delay)
        )),
        Notice::Draining => {
            output::note("draining: requests in flight finish, new ones are refused")
        }
        Notice::Stopping => output::note("stopping: requests in flight are cancelled"),
        Notice::Reloaded(Ok(reloaded)) => output::note(of_reload(reloaded)),
        Notice::Reloaded(Err(Problem { error, problems, .. })) => {
            output::warning([std::slice::from_ref(error), problems].concat().join("\n  "));
        }
        Notice::SpansLost(lost) => {
            output::warning(format_args!("{lost} spans could not be sent to the collector"));
        }
        _ => {}
    }
}

/// What came of a reload, in words.
pub(super) fn of_reload(reloaded: &Reloaded) -> String {
    let Reloaded { read, changed, need_restart } = reloaded;
    let read = match read.as_slice() {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        read => read.concat(),
    };
    // (What changed of keys and certificates is not compared.)
    let mut text = match changed.as_slice() {
        [] => format!("{read} read again; no value changed"),
        changed => format!("{read} read again; changed: {}", changed.join(", ")),
    };
    if !need_restart.is_empty() {
        text += &format!("; with the next start: {}", need_restart.join(", "));
    }
    text
}

fn of_guard(error: &GuardError) -> Failure {
    match error {
        GuardError::Audit(error) => Failure::new(Exit::CannotCreate, error.to_string()),
        error => Failure::new(Exit::Config, error.to_string()),
    }
}

fn of_serve(error: &ServeError) -> Failure {
    match error {
        ServeError::Endpoint(error) => Failure::usage(error.to_string()),
        ServeError::Bind(BindError::Taken(_)) => {
            Failure::new(Exit::CannotCreate, error.to_string())
                .hint("`rustkernel runtime status` shows what runs")
        }
        ServeError::Bind(error) => Failure::new(Exit::CannotCreate, error.to_string()),
        ServeError::Listen { .. } => Failure::new(Exit::CannotCreate, error.to_string())
            .hint("`--listen` names another address; `--listen off` listens nowhere"),
        ServeError::Start(error) => failure::of_start(error),
        error => Failure::new(Exit::TryAgain, error.to_string()),
    }
}

/// Says how it ended, if there is anything to say.
fn ended(report: &ShutdownReport, talk: Talk) -> Result<(), Failure> {
    if report.reason != StopReason::Requested {
        let message = format!("the runtime has stopped: {}", report.reason);
        return Err(Failure::new(Exit::Software, message));
    }
    if report.is_clean() {
        if !talk.quiet {
            output::note(format_args!("stopped; {} requests completed", report.ledger.completed));
        }
        return Ok(());
    }
    output::warning(format_args!(
        "stopped; {} requests cancelled, {} threads abandoned, {} bytes still held",
        report.cancelled, report.abandoned_threads, report.leaked_bytes
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_says_what_it_read() {
        let of = |read: &str, changed: &str| {
            let texts = |text: &str| text.split_whitespace().map(str::to_owned).collect();
            of_reload(&Reloaded {
                read: texts(read),
                changed: texts(changed),
                need_restart: vec![],
            })
        };
        assert_eq!(of("keys", ""), "keys read again; no value changed");
        assert_eq!(
            of("configuration keys", ""),
            "configuration and keys read again; no value changed"
        );
        assert_eq!(
            of("configuration keys certificates", "a.b c"),
            "configuration, keys and certificates read again; changed: a.b, c"
        );
    }
}
