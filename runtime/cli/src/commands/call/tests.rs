//! Kernels that make trouble, and the exit codes that it comes to.

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use rustkernel_core::gpu::DeviceError;
use rustkernel_core::gpu::memory::{MemoryKind, PressureLevel};
use rustkernel_core::message::{Fields, MessageError};
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::{BuildError, StartError};

use super::failure::{of_build, of_call, of_start};
use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};

/// Does whatever a request says.
struct Trouble;

#[derive(Debug, Clone, KernelMessage)]
struct Request {
    /// What to do.
    #[kernel(name = "do")]
    what: String,
    /// How many numbers to answer with.
    #[kernel(default = 3)]
    count: u8,
}

#[derive(Debug, Clone, KernelMessage)]
struct Response {
    /// As many numbers as were asked for.
    #[kernel(shape = "n")]
    numbers: Tensor<f32>,
    /// The same without a shape that anybody could rely on.
    #[kernel(picture)]
    picture: Tensor<u8>,
    /// The count.
    count: u8,
}

const LOST: DeviceError = DeviceError::Lost {
    device: DeviceId::Cuda(0),
    epoch: 0,
    code: 700,
    name: "CUDA_ERROR_ILLEGAL_ADDRESS",
};

impl Kernel for Trouble {
    type Request = Request;
    type Response = Response;

    async fn execute(&mut self, asked: Request, _: &mut KernelContext) -> KernelResult<Response> {
        let Request { what, count } = asked;
        match what.as_str() {
            "panic" => panic!("unlucky"),
            "invalid" => Err(KernelError::InvalidRequest("`do` is invalid".into())),
            "fail" => Err(KernelError::failed("it did not work")),
            "break" => Err(KernelError::fatal("it broke")),
            "lose" => Err(LOST.into()),
            "wait" => std::future::pending().await,
            "block" => {
                // A kernel that does not notice that its time is over.
                std::thread::park_timeout(Duration::from_secs(20));
                Err(KernelError::failed("nobody waits for this"))
            }
            _ => Ok(Response {
                numbers: vec![0.5; usize::from(count)].into(),
                picture: Tensor::zeros([1, 1, usize::from(count)]),
                count,
            }),
        }
    }
}

fn spec() -> KernelSpec<Trouble> {
    KernelSpec::new("trouble", || Trouble).publish()
}

/// Runs the kernel as a command line says.
fn call(arguments: &[&str]) -> Result<(), Failure> {
    let words = ["rustkernel", "call", "trouble", "--quiet"].iter().chain(arguments);
    let cli = Cli::try_parse_from(words).unwrap();
    let Command::Call(args) = cli.command else { unreachable!() };
    let signature = spec().signature().unwrap();
    super::call(Box::new(spec()), &signature, &args, cli.talk)
}

#[track_caller]
fn fails(arguments: &[&str], exit: Exit, message: &str) {
    let failure = call(arguments).unwrap_err();
    assert_eq!((failure.exit, failure.message.as_str()), (exit, message));
}

#[test]
fn a_kernel_that_fails_is_told_from_a_request_that_is_wrong() {
    assert_eq!(call(&["-p", "do=well"]), Ok(()));
    let place = concat!(file!(), ":");
    let failure = call(&["-p", "do=panic"]).unwrap_err();
    assert_eq!(failure.exit, Exit::Software);
    assert!(failure.message.starts_with("kernel `trouble`: the kernel panicked: unlucky at "));
    assert!(failure.message.contains(place), "{}", failure.message);
    fails(&["-p", "do=invalid"], Exit::Data, "kernel `trouble`: invalid request: `do` is invalid");
    fails(&["-p", "do=fail"], Exit::Software, "kernel `trouble`: it did not work");
    fails(
        &["-p", "do=break"],
        Exit::Software,
        "kernel `trouble`: it broke (the kernel is restarted)",
    );
    fails(&["-p", "do=lose"], Exit::Software, &format!("kernel `trouble`: {LOST}"));
}

#[test]
fn a_deadline_is_kept_also_by_a_kernel_that_does_not_notice() {
    for what in ["do=wait", "do=block"] {
        let start = rustkernel_core::kernel::Instant::now();
        fails(
            &["-p", what, "--deadline", "50ms"],
            Exit::TryAgain,
            "kernel `trouble`: the deadline passed before the kernel answered",
        );
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    }
}

#[test]
fn outputs_are_written_all_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let output = |field: &str, path: &Path| format!("{field}={}", path.display());
    let (numbers, picture) = (path("numbers.npy"), path("picture.png"));
    let both = [output("numbers", &numbers), output("picture", &picture)];
    call(&["-p", "do=well", "-o", &both[0], "-o", &both[1]]).unwrap();
    let before = std::fs::read(&numbers).unwrap();
    assert!(picture.exists());

    // Two channels: the second output cannot be written, so the first is not touched.
    let failure = call(&["-p", "do=well", "-p", "count=2", "-o", &both[0], "-o", &both[1]]);
    let failure = failure.unwrap_err();
    assert_eq!(failure.exit, Exit::CannotCreate);
    assert!(failure.message.ends_with("a picture has 1, 3 or 4 channels, not 2; write an .npy"));
    assert_eq!(std::fs::read(&numbers).unwrap(), before);
    call(&["-p", "do=fail", "-o", &both[0]]).unwrap_err();
    assert_eq!(std::fs::read(&numbers).unwrap(), before);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "nothing else is left behind: {left:?}");
}

#[test]
fn two_outputs_do_not_go_to_one_file_by_whatever_names() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    symlink(folder.path(), path("around")).unwrap();
    symlink(path("there.npy"), path("link.npy")).unwrap();
    std::fs::write(path("there.npy"), "").unwrap();
    for (one, other) in [
        ("new.npy", "new.npy"),
        ("new.npy", "around/new.npy"),
        ("there.npy", "around/around/there.npy"),
        ("there.npy", "link.npy"),
    ] {
        let other = path(other);
        let [numbers, picture] = [format!("numbers={}", path(one)), format!("picture={other}")];
        let failure = call(&["-p", "do=well", "-o", &numbers, "-o", &picture]).unwrap_err();
        let message = format!("outputs `numbers` and `picture` would both go to {other}");
        assert_eq!((failure.exit, failure.message), (Exit::Usage, message));
    }
    assert!(!Path::new(&path("new.npy")).exists());
}

#[test]
fn a_device_that_the_kernel_has_no_code_for_is_refused() {
    let failure = call(&["-p", "do=well", "--device", "cuda:4000000000"]).unwrap_err();
    assert_eq!(failure.exit, Exit::Unavailable);
}

#[test]
fn every_end_of_a_call_has_its_code() {
    let (device, kernel) = (DeviceId::Cuda(0), || "trouble".to_owned());
    let (kind, level) = (MemoryKind::Device, PressureLevel::Critical);
    let name = |name: &str| name.to_owned();
    let missing = MessageError::Missing { name: name("do"), expected: name("") };
    let unknown = MessageError::Unknown { what: "tensor", name: name("x"), suggestion: None };
    let wrong = |name: &str| MessageError::WrongType {
        name: name.into(),
        given: String::new(),
        expected: String::new(),
    };
    let (given, expected, reason) = (vec![1], name("n"), name(""));
    let shape = MessageError::WrongShape { name: name("x"), given, expected, reason };
    let signature = spec().signature().unwrap();
    for (rejection, exit) in [
        (Rejection::QueueFull { kernel: kernel(), bound: 1 }, Exit::TryAgain),
        (Rejection::Starting, Exit::TryAgain),
        (Rejection::Draining, Exit::TryAgain),
        (Rejection::Stopped, Exit::Software),
        (Rejection::Expired { kernel: kernel() }, Exit::TryAgain),
        (Rejection::UnderPressure { device, level }, Exit::TryAgain),
        (Rejection::OutOfMemory { device, kind, asked: 1 }, Exit::TryAgain),
        (Rejection::NeverFits { device, kind, asked: 2, limit: 1 }, Exit::Unavailable),
        (missing.into(), Exit::Usage),
        (unknown.into(), Exit::Usage),
        (wrong("count").into(), Exit::Usage),
        (wrong("x").into(), Exit::Data),
        (shape.into(), Exit::Data),
    ] {
        let error = CallError::Rejected { rejection, request: Fields::new() };
        assert_eq!(of_call(&error, &signature).exit, exit, "{error}");
    }
    let (timeout, started) = (Duration::from_secs(1), true);
    for cancellation in
        [Cancellation::DeadlineExceeded { started }, Cancellation::ShutDown { timeout, started }]
    {
        assert_eq!(of_call(&CallError::Cancelled(cancellation), &signature).exit, Exit::TryAgain);
    }
    let (timeout, free, limit) = (Duration::from_secs(1), 0, 1);
    for (error, exit) in [
        (DeviceError::NoDriver { reason: String::new() }, Exit::Unavailable),
        (DeviceError::NoDevice { device, available: Vec::new() }, Exit::Unavailable),
        (DeviceError::OutOfMemory { device, kind, asked: 1, free, limit }, Exit::TryAgain),
        (DeviceError::TimedOut { device, timeout }, Exit::TryAgain),
        (LOST, Exit::Software),
    ] {
        let error = CallError::Failed(KernelError::Device(error));
        assert_eq!(of_call(&error, &signature).exit, exit, "{error}");
    }
}

#[test]
fn every_failed_start_has_its_code() {
    let (device, level) = (DeviceId::Cuda(0), PressureLevel::Critical);
    let kernel = || "trouble".to_owned();
    let (asked, used, limit) = (2, 1, 2);
    let fails = |cause| StartError::Kernel { kernel: kernel(), cause };
    for (error, exit) in [
        (StartError::InvalidKernel { kernel: kernel(), reason: String::new() }, Exit::Config),
        (StartError::TooManyInstances { kernel: kernel(), asked, used, limit }, Exit::Config),
        (StartError::TooManyThreads { kernel: kernel(), asked, used, limit }, Exit::Config),
        (StartError::DuplicateKernel(kernel()), Exit::Software),
        (StartError::NoDevice { kernel: kernel(), reason: String::new() }, Exit::Unavailable),
        (StartError::UnderPressure { kernel: kernel(), device, level }, Exit::TryAgain),
        (StartError::NoThread(String::new()), Exit::TryAgain),
        (StartError::TimedOut { kernel: kernel(), timeout: Duration::ZERO }, Exit::Software),
        (fails(KernelError::failed("")), Exit::Software),
        (fails(DeviceError::NoDriver { reason: String::new() }.into()), Exit::Unavailable),
        (StartError::SupervisorGone, Exit::Software),
    ] {
        assert_eq!(of_start(&error).exit, exit, "{error}");
        assert_eq!(of_build(&BuildError::Kernel(error)).exit, exit);
    }
}
