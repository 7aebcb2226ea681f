//! `rustkernel device map` of a service whose kernel holds memory of a known size.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use rustkernel_core::observability::{LogConfig, LogFormat, LogLevel};
use rustkernel_core::prelude::*;
use rustkernel_http::{Client, Endpoint, Service};
use serde_json::Value;
use support::{Ended, Folder, end, rustkernel};
use tokio::task::JoinHandle;

const PAGE: u64 = 4096;
/// What the kernel holds: whole pages, and more than magazines keep.
const HELD: [u64; 2] = [70 * PAGE, 110 * PAGE];

/// Holds memory until it is told to go.
struct Hold;

impl Kernel for Hold {
    type Request = ();
    type Response = ();

    async fn execute(&mut self, (): (), cx: &mut KernelContext) -> KernelResult {
        let _first = cx.alloc::<u8>(HELD[0] as usize).await?;
        let gap = cx.alloc::<u8>(HELD[0] as usize).await?;
        let _last = cx.alloc::<u8>(HELD[1] as usize).await?;
        drop(gap);
        cx.stream().completion()?.await?;
        std::future::pending().await
    }
}

/// The program, which asks that service.
async fn ask(endpoint: &Endpoint, arguments: &[&str]) -> Ended {
    let mut command = rustkernel();
    command.args(arguments).args(["--endpoint", &endpoint.to_string()]);
    tokio::task::spawn_blocking(move || end(&mut command)).await.unwrap()
}

fn sum(map: &Value, state: &str) -> u64 {
    let ranges = map["ranges"].as_array().unwrap().iter();
    ranges
        .filter(|range| range["state"] == state)
        .map(|range| range["bytes"].as_u64().unwrap())
        .sum()
}

async fn holding(runtime: &Arc<Runtime>, client: &Client) -> JoinHandle<()> {
    // (Its endpoint answers while it starts, when no request is taken.)
    while client.status().await.is_err() || runtime.state() != LifecycleState::Running {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let hold = runtime.kernel::<Hold>("hold").unwrap();
    let call = tokio::spawn(async move { drop(hold.call(()).await) });
    let live = || runtime.stats().devices[0].device.live;
    while live() != HELD[0] + HELD[1] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    call
}

#[tokio::test]
async fn what_a_kernel_holds_is_in_the_map() {
    let folder = Folder::new();
    let runtime = RuntimeBuilder::new()
        .with_gpu_enabled(false)
        .with_log(LogConfig { level: LogLevel::Off, format: LogFormat::Json })
        .with_kernel(KernelSpec::new("hold", || Hold));
    let runtime = Arc::new(runtime.build().unwrap());
    let endpoint = Endpoint::from(folder.path("map.sock"));
    let served =
        tokio::spawn(Service::new(Arc::clone(&runtime)).endpoint(endpoint.clone()).serve());
    let client = Client::new(endpoint.clone());
    let call = holding(&runtime, &client).await;

    let told = ask(&endpoint, &["device", "map", "host", "--output-format", "json"]).await;
    let maps: Value = serde_json::from_str(&told.stdout).unwrap();
    let stats = ask(&endpoint, &["device", "stats", "host", "--output-format", "json"]).await;
    let stats: Value = serde_json::from_str(&stats.stdout).unwrap();
    assert_eq!(maps["id"], "host");
    for kind in ["device", "staging"] {
        let (map, stats) = (&maps[kind], &stats[kind]);
        for sum in ["live", "mapped", "parked", "quarantined"] {
            assert_eq!(map[sum], stats[sum], "{kind}: {sum}");
        }
        for state in ["live", "parked", "quarantined", "free"] {
            assert_eq!(map[state], sum(map, state), "{kind}: {state}");
        }
    }
    let device = &maps["device"];
    assert_eq!((&device["live"], &device["left_out"]), (&(HELD[0] + HELD[1]).into(), &0.into()));
    let ranges = device["ranges"].as_array().unwrap();
    let live: Vec<&Value> = ranges.iter().filter(|range| range["state"] == "live").collect();
    assert_eq!(live.len(), 2, "what was dropped between them is a gap: {ranges:?}");

    let told = ask(&endpoint, &["device", "map"]).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(!told.stdout.contains('\x1b'), "a pipe gets no colours");
    let row = told.stdout.lines().nth(1).unwrap();
    assert!(row.starts_with("host") && row.contains("720.00 KiB"), "{}", told.stdout);
    let picture =
        told.stdout.split_once("host, device memory: a character is 4.00 KiB\n").unwrap().1;
    let picture = picture.split_once("\n\n").unwrap().0;
    assert_eq!(picture.matches('#').count(), 180, "{}", told.stdout);
    assert!(told.stdout.ends_with("blank: without memory\n"), "{}", told.stdout);

    let missing = ask(&endpoint, &["device", "map", "cuda:7"]).await;
    assert_eq!(missing.code, 64);
    assert!(missing.stderr.contains("does not use the device cuda:7"), "{}", missing.stderr);
    client.stop().await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), served).await.unwrap().unwrap().unwrap();
    call.await.unwrap();
}
