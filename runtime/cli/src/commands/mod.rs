//! What each command does.

mod call;
mod config;
mod device;
mod init;
mod kernel;

use crate::args::{Cli, Command, ConfigCommand, DeviceCommand, KernelCommand, RuntimeCommand};
use crate::exit::Failure;

/// Does what the command line says.
///
/// # Errors
/// [`Failure`] says what to tell, and with which code to exit.
pub(crate) fn run(Cli { command, talk }: Cli) -> Result<(), Failure> {
    match command {
        Command::Call(args) => call::run(&args, talk),
        Command::Kernel(KernelCommand::List(args)) => kernel::list(args.output_format),
        Command::Kernel(KernelCommand::Describe(args)) => kernel::describe(&args),
        Command::Device(DeviceCommand::List(args)) => device::list(args.output_format),
        Command::Runtime(RuntimeCommand::Show(args)) => config::show(&args),
        Command::Runtime(RuntimeCommand::Init(args)) => init::run(&args),
        Command::Config(ConfigCommand::Generate(args)) => config::generate(&args),
        Command::Config(ConfigCommand::Validate(args)) => config::validate(&args),
        Command::Config(ConfigCommand::Show(args)) => config::show(&args),
        Command::Config(ConfigCommand::Env(args)) => config::env(args.output_format),
        Command::Config(ConfigCommand::Schema) => config::schema(),
        Command::Config(ConfigCommand::Reference) => config::reference(),
    }
}
