//! Restart policies, groups and order as a configuration file declares them.

use std::sync::Arc;
use std::time::Duration;

use rustkernel_core::config::{Format, Loader, ProductionConfig};
use rustkernel_core::kernel::Condition;
use rustkernel_core::prelude::*;
use rustkernel_core::runtime::{BuildError, StartError};
use rustkernel_tests::eventually;

use super::child::{Child, Do, World, call, count, spec, stop};

const COMMON: &str = "[runtime]\ngpu_enabled = false\nshutdown_timeout = '10s'\n\
                      [observability.log]\nlevel = 'off'\n";

fn config(text: &str) -> ProductionConfig {
    let text = format!("{COMMON}{text}");
    let loaded = Loader::new().load_text(text.as_bytes(), Format::Toml, "kernels.toml");
    loaded.unwrap_or_else(|error| panic!("{error}")).config
}

async fn started(text: &str, names: &[&str]) -> (Runtime, Arc<World>) {
    let world = Arc::<World>::default();
    let mut builder = config(text).runtime_builder();
    for name in names {
        builder = builder.with_kernel(spec(name, &world));
    }
    let runtime = builder.build().unwrap();
    runtime.start().await.unwrap();
    (runtime, world)
}

#[tokio::test]
async fn kernels_of_a_declared_group_start_in_the_declared_order_and_restart_together() {
    let text = "[supervision]\nstart_order = ['c', 'a']\n\
                [supervision.groups.trio]\nstrategy = 'rest_for_one'\n\
                [kernels.a]\ngroup = 'trio'\n[kernels.b]\ngroup = 'trio'\n[kernels.c]\ngroup = 'trio'\n";
    let (runtime, world) = started(text, &["a", "b", "c"]).await;
    assert_eq!(world.read(), ["+c", "+a", "+b"]);
    let a = runtime.kernel::<Child>("a").unwrap();
    drop(call(&a, Do::Panic).await.unwrap_err());
    let mut written = Vec::new();
    eventually("a and b, which follows it, are back", || {
        written.extend(world.read());
        written == ["-b", "+a", "+b"]
    })
    .await;
    stop(runtime).await;
}

#[tokio::test]
async fn a_kernels_own_section_wins_over_the_common_one_and_both_over_the_application() {
    let text = "[supervision.restart]\nlimit = 1\nwindow = '1m'\nbackoff = '0s'\nbackoff_cap = '0s'\n\
                on_exceeded = 'quarantine_until_lifted'\n\
                [kernels.kept]\nqueue = 7\n[kernels.kept.restart]\nlimit = 3\n\
                [kernels.dropped.restart]\ntype = 'temporary'\n";
    let (runtime, _) = started(text, &["common", "kept", "dropped"]).await;
    let kernel = |name| runtime.kernel::<Child>(name).unwrap();
    let (common, kept, dropped) = (kernel("common"), kernel("kept"), kernel("dropped"));
    for panics in 1..=3 {
        drop(call(&kept, Do::Panic).await.unwrap_err());
        assert_eq!(count(&kept).await, 1, "restart {panics} of 3");
    }
    drop(call(&kept, Do::Panic).await.unwrap_err());
    drop(call(&common, Do::Panic).await.unwrap_err());
    assert_eq!(count(&common).await, 1);
    drop(call(&common, Do::Panic).await.unwrap_err());
    for kernel in [&kept, &common] {
        eventually("quarantined", || kernel.stats().condition == Condition::Quarantined).await;
    }
    drop(call(&dropped, Do::Panic).await.unwrap_err());
    eventually("ended", || dropped.stats().condition == Condition::Ended).await;
    assert!(runtime.lift_quarantine("common").await.unwrap());
    eventually("serving again", || common.stats().condition != Condition::Quarantined).await;
    stop(runtime).await;
}

#[tokio::test]
async fn a_declared_limit_stops_the_runtime_if_that_is_declared() {
    let text = "[kernels.child.restart]\nlimit = 0\non_exceeded = 'stop_runtime'\n";
    let (runtime, _) = started(text, &["child"]).await;
    drop(call(&runtime.kernel::<Child>("child").unwrap(), Do::Panic).await.unwrap_err());
    let stopped = tokio::time::timeout(Duration::from_secs(60), runtime.stopped()).await;
    stopped.expect("it stops by itself");
}

#[tokio::test]
async fn what_a_file_declares_about_nobody_is_refused() {
    let build = |text: &str| {
        let world = Arc::<World>::default();
        config(text).runtime_builder().with_kernel(spec("child", &world)).build()
    };
    let error = build("[kernels.chidl]\nqueue = 3\n").unwrap_err();
    assert!(matches!(&error, BuildError::NoSuchKernel { name, .. } if name == "chidl"), "{error}");
    assert!(error.to_string().ends_with("there are child"), "{error}");
    let error = build("[supervision]\nstart_order = ['chidl']\n").unwrap_err();
    assert!(matches!(error, BuildError::NoSuchKernel { .. }), "{error}");
    let error = build("[kernels.child]\ngroup = 'nobody'\n").unwrap_err();
    assert!(matches!(error, BuildError::Kernel(StartError::InvalidKernel { .. })), "{error:?}");
}
