//! What each command does.

mod call;
mod device;
mod kernel;

use crate::args::{Cli, Command, DeviceCommand, KernelCommand};
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
    }
}
