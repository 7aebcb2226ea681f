//! What each command does.

mod audit;
mod bench;
mod call;
mod config;
mod device;
mod init;
mod kernel;
mod key;
mod live;
mod manual;
mod map;
mod runtime;
mod serve;

use crate::args::{
    AuditCommand, Cli, Command, ConfigCommand, DeviceCommand, KernelCommand, KeyCommand,
};
use crate::exit::{Exit, Failure};

/// Does what the command line says.
///
/// # Errors
/// [`Failure`] says what to tell, and with which code to exit.
pub(crate) fn run(Cli { command, talk }: Cli) -> Result<(), Failure> {
    match command {
        Command::Call(args) => call::run(&args, talk),
        Command::Kernel(KernelCommand::List(args)) => kernel::list(args.output_format),
        Command::Kernel(KernelCommand::Describe(args)) => kernel::describe(&args),
        Command::Kernel(KernelCommand::Stats(args)) => runtime::stats(&args),
        Command::Kernel(KernelCommand::Restart(args)) => runtime::restart(&args),
        Command::Kernel(KernelCommand::Lift(args)) => runtime::lift(&args),
        Command::Kernel(KernelCommand::Unload(args)) => runtime::unload(&args),
        Command::Kernel(KernelCommand::Load(args)) => runtime::load(&args),
        Command::Device(DeviceCommand::List(args)) => device::list(args.output_format),
        Command::Device(DeviceCommand::Info(args)) => device::info(&args),
        Command::Device(DeviceCommand::Stats(args)) => runtime::memory(&args),
        Command::Device(DeviceCommand::Map(args)) => map::run(&args),
        Command::Serve(args) => serve::run(&args, talk),
        Command::Config(ConfigCommand::Generate(args)) => config::generate(&args),
        Command::Config(ConfigCommand::Validate(args)) => config::validate(&args),
        Command::Config(ConfigCommand::Show(args)) => config::show(&args),
        Command::Config(ConfigCommand::Env(args)) => config::env(args.output_format),
        Command::Config(ConfigCommand::Schema) => config::schema(),
        Command::Config(ConfigCommand::Reference) => config::reference(),
        Command::Key(KeyCommand::Create(args)) => key::create(args),
        Command::Key(KeyCommand::List(args)) => key::list(&args),
        Command::Key(KeyCommand::Revoke(args)) => key::revoke(&args),
        Command::Audit(AuditCommand::Verify(args)) => audit::verify(&args),
        Command::Runtime(command) => runtime::run(&command),
        Command::Bench(args) => bench::run(&args, talk),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
    }
}

/// What futures run on.
fn executor() -> Result<tokio::runtime::Runtime, Failure> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    executor.map_err(|error| Failure::new(Exit::TryAgain, format!("no executor: {error}")))
}
