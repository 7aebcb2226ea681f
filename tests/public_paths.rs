//! The specification's Rust snippets compile and run as they are written there. (What it says of the command line, of
//! files and variables: `runtime/cli/tests/specification.rs`.)
#![allow(unused, reason = "the snippets are kept as they are")]

use std::error::Error;
use std::time::Duration;

type Outcome = Result<(), Box<dyn Error>>;

#[test]
fn presets() {
    use rustkernel_core::runtime::{RuntimeConfig, RuntimePreset};

    // Development: relaxed timeouts, verbose logging
    let config = RuntimeConfig::development();

    // Production: optimized for reliability
    let config = RuntimeConfig::production();

    // High-performance: maximum throughput
    let config = RuntimeConfig::high_performance();
}

#[test]
fn custom_configuration() {
    use rustkernel_core::runtime::RuntimeConfig;
    let config = RuntimeConfig {
        gpu_enabled: true,
        max_kernel_instances: 100,
        worker_threads: 8,
        blocking_threads: 32,
        shutdown_timeout: Duration::from_secs(30),
        health_check_interval: Duration::from_secs(10),
        ..Default::default()
    };
    assert!(config.validate().is_ok());
}

#[tokio::test]
async fn runtime_builder() -> Outcome {
    use rustkernel_core::runtime::RuntimeBuilder;
    use rustkernel_core::runtime::RuntimePreset;

    let runtime = RuntimeBuilder::new()
        .preset(RuntimePreset::Production)
        .with_max_instances(500)
        .with_shutdown_timeout(Duration::from_secs(60))
        .with_health_check_interval(Duration::from_secs(5))
        .build()?;

    // Start the runtime
    runtime.start().await?;

    // Graceful shutdown
    runtime.shutdown().await?;
    Ok(())
}

/// Stands for the application's own server.
struct Server;

impl Server {
    async fn run(&self) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn graceful_shutdown() -> Outcome {
    let runtime = rustkernel_tests::builder().build()?;
    runtime.start().await?;
    let server = Server;

    use tokio::signal;

    // Wait for shutdown signal
    let ctrl_c = async {
        signal::ctrl_c().await.expect("failed to listen for ctrl+c");
    };

    tokio::select! {
        _ = ctrl_c => {
            println!("Shutdown signal received");
            runtime.shutdown().await?;
        }
        _ = server.run() => {}
    }
    Ok(())
}

#[test]
fn memory_management() -> Outcome {
    use rustkernel_core::memory::MemoryConfig;

    let config = MemoryConfig {
        max_gpu_memory: 8 * 1024 * 1024 * 1024,     // 8GB
        max_staging_memory: 2 * 1024 * 1024 * 1024, // 2GB
        pooling_enabled: true,
        pressure_threshold: 0.8, // Warn at 80% usage
        auto_defrag: true,
        ..Default::default()
    };

    use rustkernel_core::memory::KernelMemoryManager;

    let manager = KernelMemoryManager::new(config);

    // Allocate from pool
    let buffer = manager.allocate(1024 * 1024)?; // 1MB

    // Return to pool
    manager.deallocate(buffer);

    // Check stats
    let stats = manager.stats();
    println!("Allocated: {} bytes", stats.allocated_bytes);
    println!("Pool utilization: {:.1}%", stats.pool_utilization * 100.0);
    Ok(())
}

#[test]
fn unified_config() -> Outcome {
    use rustkernel_core::config::{ProductionConfig, ProductionConfigBuilder};

    // Load from environment
    let config = ProductionConfig::from_env()?;

    // Load from file
    let config = ProductionConfig::from_file("config/production.toml")?;

    // Use builder
    let config = ProductionConfigBuilder::production()
        .service_name("my-kernel-service")
        .environment("production")
        .runtime(|r| r.max_kernel_instances(500).shutdown_timeout(Duration::from_secs(60)))
        .memory(|m| m.max_gpu_memory(16 * 1024 * 1024 * 1024))
        .build()?;

    // Validate
    config.validate()?;
    Ok(())
}
