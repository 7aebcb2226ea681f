//! Each log line says which kernel, instance, device and request it is about.

use std::collections::BTreeMap;
use std::fmt::{Arguments, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustkernel_core::prelude::*;
use rustkernel_tests::{builder, eventually, tireless};
use slog::{Drain, KV, Key, Logger, Never, OwnedKVList, Record, Serializer, info, o};

type Line = BTreeMap<String, String>;

/// Keeps lines with all their keys.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>);

struct Keys(Line);

impl Serializer for Keys {
    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        let mut text = String::new();
        text.write_fmt(*value)?;
        self.0.entry(key.to_string()).or_insert(text);
        Ok(())
    }
}

impl Drain for Lines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let mut keys = Keys(BTreeMap::from([("msg".to_owned(), record.msg().to_string())]));
        record.kv().serialize(record, &mut keys).unwrap();
        values.serialize(record, &mut keys).unwrap();
        self.0.lock().unwrap().push(keys.0);
        Ok(())
    }
}

impl Lines {
    fn find(&self, message: &str) -> Option<Line> {
        self.find_like(message).filter(|line| line["msg"] == message)
    }

    fn count(&self, message: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|line| line["msg"] == message).count()
    }

    fn find_like(&self, begins: &str) -> Option<Line> {
        self.0.lock().unwrap().iter().find(|line| line["msg"].starts_with(begins)).cloned()
    }
}

struct Chatty;

impl Kernel for Chatty {
    type Request = bool;
    type Response = ();

    async fn execute(&mut self, panic: bool, cx: &mut KernelContext) -> KernelResult {
        info!(cx.logger(), "at work");
        assert!(!panic, "enough");
        Ok(())
    }
}

#[tokio::test]
async fn lines_carry_kernel_instance_device_and_request() {
    let lines = Lines::default();
    let logger = Logger::root(lines.clone().fuse(), o!());
    let runtime = builder()
        .with_logger(logger)
        .with_kernel(KernelSpec::new("chatty", || Chatty))
        .build()
        .unwrap();
    runtime.start().await.unwrap();
    let chatty = runtime.kernel::<Chatty>("chatty").unwrap();
    chatty.call(false).await.unwrap();
    let line = lines.find("at work").unwrap();
    let said = ["kernel", "instance", "device", "request"].map(|key| line[key].as_str());
    assert_eq!(said, ["chatty", "0", "host", "1"]);

    chatty.call(true).await.unwrap_err();
    let find = || lines.find_like("kernel's instance ended: it panicked: enough at");
    eventually("the panic is logged", || find().is_some()).await;
    let line = find().unwrap();
    assert!(line["instance"] == "0" && line["kernel"] == "chatty", "{line:?}");

    drop(runtime);
    eventually("the drop is logged", || lines.find("runtime is stopped").is_some()).await;
    assert!(lines.find("runtime dropped while running; it is shut down at once").is_some());
    assert!(lines.find("all requests answered").is_some());
}

/// Does not come back for three seconds.
struct Hangs;

impl Kernel for Hangs {
    type Request = ();
    type Response = ();

    #[allow(clippy::disallowed_methods, reason = "a kernel that does what none should")]
    async fn execute(&mut self, (): (), _: &mut KernelContext) -> KernelResult {
        std::thread::sleep(Duration::from_secs(3));
        Ok(())
    }
}

#[tokio::test]
async fn that_there_is_no_thread_is_told_once_a_second_however_many_ask() {
    const NONE: &str = "an instance cannot be replaced now";
    let lines = Lines::default();
    let logger = Logger::root(lines.clone().fuse(), o!());
    let short = Duration::from_millis(50);
    let hangs = KernelSpec::new("hangs", || Hangs).restart(tireless().hang_grace(short));
    let runtime =
        builder().with_logger(logger).with_blocking_threads(2).with_kernel(hangs).build().unwrap();
    runtime.start().await.unwrap();
    let hangs = runtime.kernel::<Hangs>("hangs").unwrap();
    for hung in 1..=2 {
        hangs.call_within((), short).await.unwrap_err();
        eventually("it is noticed", || hangs.stats().hung == hung).await;
    }
    eventually("there is no thread", || lines.count(NONE) > 0).await;
    for _ in 0..20 {
        assert_eq!(runtime.load_kernel("hangs").await.unwrap(), 0);
    }
    let told = lines.count(NONE);
    eventually("its threads are back", || hangs.stats().abandoned == 0).await;
    eventually("it serves", || hangs.stats().running == 1).await;
    let more = lines.count(NONE) - told;
    assert!(more <= 6, "{more} times in some three seconds");
}
