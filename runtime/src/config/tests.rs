//! What files, variables and flags make together, and what is said of those that are wrong.

mod mutated;

use std::time::Duration;

use proptest::prelude::*;
use rustkernel_actors::{RestartType, Strategy as Restarts};
use serde_json::{Value, json};

use super::*;

const SPECIFICATION: &str = r#"
# production.toml
environment = "production"
service_name = "rustkernels"
service_version = "0.2.0"

[runtime]
gpu_enabled = true
max_kernel_instances = 500
worker_threads = 16
shutdown_timeout_secs = 60

[memory]
max_gpu_memory = 17179869184  # 16GB
max_staging_memory = 4294967296  # 4GB
pooling_enabled = true
pressure_threshold = 0.8

[security]
rbac_enabled = true
audit_logging = true

[observability]
metrics_enabled = true
tracing_enabled = true
"#;

fn toml(text: &str) -> Result<Loaded, ConfigError> {
    Loader::new().load_text(text.as_bytes(), Format::Toml, "c.toml")
}

fn yaml(text: &str) -> Result<Loaded, ConfigError> {
    Loader::new().load_text(text.as_bytes(), Format::Yaml, "c.yaml")
}

fn lines(outcome: Result<Loaded, ConfigError>) -> Vec<String> {
    outcome.unwrap_err().to_string().lines().map(str::to_owned).collect()
}

#[test]
fn the_file_of_the_specification_loads_as_printed() {
    let config = toml(SPECIFICATION).unwrap().config;
    assert_eq!(config.environment, Some(RuntimePreset::Production));
    assert_eq!((&*config.service_name, &*config.service_version), ("rustkernels", "0.2.0"));
    assert_eq!((config.runtime.max_kernel_instances, config.runtime.worker_threads), (500, 16));
    assert_eq!(config.runtime.shutdown_timeout, Duration::from_secs(60));
    assert_eq!(config.runtime.health_check_interval, Duration::from_secs(5), "the preset's");
    assert_eq!(config.memory.max_gpu_memory, 16 << 30);
    assert_eq!(config.memory.max_staging_memory, 4 << 30);
    assert_eq!(config.memory.pressure_threshold, 0.8);
    assert!(config.security.rbac_enabled && config.security.audit_logging);
    assert!(config.observability.metrics_enabled && config.observability.tracing_enabled);
}

#[test]
fn six_mistakes_are_said_in_one_run() {
    let said = lines(toml(
        "environment = \"production\"\n\
         [runtime]\n\
         worker_thread = 4\n\
         max_kernel_instances = \"many\"\n\
         shutdown_timeout = 60\n\
         pressure_threshold = 0.8\n\
         [memory]\n\
         max_gpu_memory = \"16GiBs\"\n\
         critical_threshold = 0.5\n",
    ));
    assert_eq!(
        said,
        [
            "c.toml:3: runtime.worker_thread: there is no such key; did you mean `worker_threads`?",
            "c.toml:4: runtime.max_kernel_instances: \"many\" is a text; a whole number of at least 1 \
             is wanted",
            "c.toml:5: runtime.shutdown_timeout: 60 is a whole number; a duration, as \"30s\" or \
             \"1m 30s\" is wanted, or seconds as `shutdown_timeout_secs`",
            "c.toml:6: runtime.pressure_threshold: there is no such key here; there is \
             `memory.pressure_threshold`",
            "c.toml:8: memory.max_gpu_memory: \"16GiBs\" will not do; a size of at least 1 MiB, as \
             \"16GiB\" or in bytes is wanted",
            "c.toml:9: memory.critical_threshold: the pressure thresholds 0.7, 0.5, 0.95 have to grow, \
             from above 0.05 to at most 1",
        ]
    );
    let impossible = "environment = \"production\"\n[security]\nrbac_enabled = false\n\
         [memory]\npressure_threshold = 0.9\n[kernels.saxpy]\nshutdown_timeout = \"2m\"\n";
    let said = lines(toml(impossible));
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(said[0].starts_with("c.toml:3: security.rbac_enabled: in production nobody"));
    assert!(
        said[1].starts_with("c.toml:5: memory.pressure_threshold: the pressure thresholds 0.9")
    );
    assert!(said[2].starts_with("c.toml:7: kernels.saxpy.shutdown_timeout: 120s is longer"));

    // What is impossible is said beside what is wrong by itself, unless it may come of that.
    let both = |more: &str| lines(toml(&format!("{impossible}{more}")));
    assert_eq!(both("[runtime]\nworker_threads = 'x'\n").len(), 4);
    for more in ["[runtime]\nshutdown_timeout = 3\n", "[runtime]\nshutdown_timeou = '3m'\n"] {
        let said = both(more);
        assert_eq!(said.len(), 3, "{said:#?}");
        assert!(!said.iter().any(|line| line.contains("saxpy")), "{said:#?}");
    }
}

#[test]
fn yaml_says_the_same_with_its_lines() {
    let text = "environment: production\nruntime:\n  worker_threads: 3\n  shutdown_timeout: 1m\n";
    let loaded = yaml(text).unwrap();
    assert_eq!(loaded.config.runtime.worker_threads, 3);
    assert_eq!(loaded.config.runtime.shutdown_timeout, Duration::from_secs(60));
    let rows = loaded.effective();
    let row = rows.iter().find(|row| row.key == "runtime.worker_threads").unwrap();
    assert_eq!(row.origin.to_string(), "c.yaml:3");
    let said = lines(yaml("runtime:\n  gpu_enabled: true\n  worker_threads: [1]\n  worker: 2\n"));
    assert!(said[0].starts_with("c.yaml:3: runtime.worker_threads: [1] is a list"), "{said:?}");
    assert!(said[1].starts_with("c.yaml:4: runtime.worker: there is no such key"), "{said:?}");
    let empty = yaml("http:\n  # listen: off\nsecurity:\n  jwt:\nkernels:\n  gemm:\n").unwrap();
    assert_eq!(empty.config.http, ProductionConfig::default().http);
    assert!(lines(yaml("runtime:\n  spin:\n"))[0].contains("is nothing"));
}

#[test]
fn values_that_no_process_can_bear_are_refused() {
    for (text, key) in [
        ("[http]\nmax_body_bytes = '1B'\n", "http.max_body_bytes"),
        ("[http]\nmax_body_bytes = 1024\n", "http.max_body_bytes"),
        ("[http]\nbody_timeout = '0s'\n", "http.body_timeout"),
        ("[http]\nheader_timeout = '0s'\n", "http.header_timeout"),
        ("[http]\nkeep_alive = '0s'\n", "http.keep_alive"),
        ("[security.audit]\nqueue = 1_000_000_000_000\n", "security.audit.queue"),
        ("[runtime]\nworker_threads = 5_000\n", "runtime.worker_threads"),
    ] {
        let said = lines(toml(text));
        assert!(said.len() == 1 && said[0].contains(key), "{text}: {said:?}");
    }
}

#[test]
fn what_is_malformed_has_its_lines() {
    let said = lines(toml("a = \n[runtime\nb = 1 2\n"));
    assert!(said.len() >= 2 && said[0].starts_with("c.toml:1: "), "{said:?}");
    assert!(lines(yaml("a: [1, 2\nb: {"))[0].starts_with("c.yaml:"));
    assert!(lines(yaml("- 1\n"))[0].contains("has to be a table"));
    let said =
        lines(yaml("service_name: a\nruntime:\n  gpu_enabled: true\n  gpu_enabled: false\n"));
    assert_eq!(said, ["c.yaml:4: runtime.gpu_enabled: duplicate key; leave one out"]);
    let said = lines(Loader::new().load_text(b"a = 1\n\xff", Format::Toml, "c.toml"));
    assert_eq!(said, ["c.toml:2: it is not UTF-8"]);
    assert!(lines(toml("service_version = 1e999"))[0].contains("c.toml:1"));
}

#[test]
fn what_only_looks_right_has_its_place_too() {
    let said = lines(toml(
        "[runtime]\nspin = '1us'\n[http]\nlisten = '1270.0.1:8000'\n[memory]\npressure_threshold = 2\n",
    ));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].starts_with("c.toml:4: http.listen: \"1270.0.1:8000\" will not do"),
        "{said:?}"
    );
    assert!(said[1].starts_with("c.toml:6: memory.pressure_threshold: "), "{said:?}");
}

#[test]
fn later_layers_win_and_each_value_knows_where_it_is_from() {
    let loaded = Loader::new()
        .variables([
            ("RUSTKERNEL_MAX_INSTANCES", "7"),
            ("RUSTKERNEL_RUNTIME__BLOCKING_THREADS", "9"),
            ("RUSTKERNEL_MAX_GPU_MEMORY_GB", "3"),
            ("RUSTKERNEL_KERNELS__SAXPY__DEADLINE_SECS", "4"),
            ("RUSTKERNEL_RUNTIME__DEVICES", "host, cuda:0"),
            ("RUSTKERNEL_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("HOME", "/root"),
        ])
        .set("runtime.blocking_threads", "11", "--set")
        .load_text(
            b"environment = 'hp'\n[runtime]\nmax_kernel_instances = 5\nworker_threads = 2\n",
            Format::Toml,
            "c.toml",
        )
        .unwrap();
    let config = &loaded.config;
    assert_eq!(config.runtime.max_kernel_instances, 7);
    assert_eq!(config.runtime.blocking_threads, 11);
    assert_eq!(config.memory.max_gpu_memory, 3 << 30);
    assert_eq!(config.kernels["saxpy"].deadline, Some(Duration::from_secs(4)));
    assert_eq!(config.runtime.devices.len(), 2);
    let rows = loaded.effective();
    let origin = |key: &str| {
        let row = rows.iter().find(|row| row.key == key).unwrap_or_else(|| panic!("{key}"));
        row.origin.to_string()
    };
    assert_eq!(origin("environment"), "c.toml:1");
    assert_eq!(origin("runtime.worker_threads"), "c.toml:4");
    assert_eq!(origin("runtime.max_kernel_instances"), "RUSTKERNEL_MAX_INSTANCES");
    assert_eq!(origin("runtime.blocking_threads"), "--set");
    assert_eq!(origin("runtime.spin"), "preset high_performance");
    assert_eq!(origin("runtime.shutdown_timeout"), "default");
    assert_eq!(origin("kernels.saxpy.deadline"), "RUSTKERNEL_KERNELS__SAXPY__DEADLINE_SECS");
}

#[test]
fn a_malformed_variable_is_named() {
    let said = lines(
        Loader::new()
            .variables([
                ("RUSTKERNEL_GPU_ENABLED", "yes"),
                ("RUSTKERNEL_MAX_INSTANCE", "5"),
                ("RUSTKERNEL_MAX_GPU_MEMORY_GB", "16GiB"),
                ("RUSTKERNEL_MAX_INSTANCES", "1"),
                ("RUSTKERNEL_RUNTIME__MAX_KERNEL_INSTANCES", "2"),
            ])
            .load(),
    );
    assert_eq!(
        said,
        [
            "RUSTKERNEL_MAX_GPU_MEMORY_GB: memory.max_gpu_memory: \"16GiB\" will not do; a number of \
             GiB, as \"16\" is wanted",
            "RUSTKERNEL_MAX_INSTANCE: there is no such variable; did you mean \
             RUSTKERNEL_MAX_INSTANCES?",
            "RUSTKERNEL_RUNTIME__MAX_KERNEL_INSTANCES: runtime.max_kernel_instances: \
             RUSTKERNEL_MAX_INSTANCES sets it as well; leave one out",
            "RUSTKERNEL_GPU_ENABLED: runtime.gpu_enabled: \"yes\" is a text; true or false is wanted",
        ]
    );
}

#[test]
fn kernels_groups_and_restarts_are_declared_in_files() {
    let config = toml(
        "[supervision]\nstart_order = ['blur']\n[supervision.restart]\nlimit = 3\nwindow = '1m'\n\
         [supervision.groups.imaging]\nstrategy = 'rest_for_one'\n\
         [kernels.blur]\ninstances = 2\ngroup = 'imaging'\ndevice = 'cuda:1'\n\
         [kernels.blur.restart]\ntype = 'transient'\non_exceeded = 'stop_runtime'\n",
    )
    .unwrap()
    .config;
    assert_eq!(config.supervision.groups["imaging"].strategy, Restarts::RestForOne);
    let blur = &config.kernels["blur"];
    let policy = blur.restart.over(config.supervision.restart.over(Default::default()));
    assert_eq!((policy.restart, policy.limit), (RestartType::Transient, 3));
    assert_eq!(policy.window, Duration::from_secs(60));
    let said = lines(toml("[kernels.blur.restart]\nbackoff = '10s'\nbackoff_cap = '1s'\n"));
    assert!(
        said[0].starts_with("c.toml:2: kernels.blur.restart: its backoff begins at 10s"),
        "{said:?}"
    );
}

#[test]
fn what_is_wrong_for_all_kernels_is_said_once_and_where_it_is_from() {
    let said = lines(toml(
        "[supervision.restart]\nwindow = '0s'\n[kernels.a]\nqueue = 3\n\
         [kernels.b.restart]\nbackoff = '10s'\nbackoff_cap = '1s'\n",
    ));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("c.toml:2: supervision.restart: its restarts are limited within"));
    assert!(said[1].starts_with("c.toml:6: kernels.b.restart: its backoff begins at 10s"));
}

#[test]
fn as_many_threads_may_read_requests_as_the_server_can_tell_apart() {
    toml("[http]\nworkers = 512\n").unwrap();
    let said = lines(toml("[http]\nworkers = 513\n"));
    let expected =
        "c.toml:2: http.workers: 513 will not do; a whole number from 1 to 512 is wanted";
    assert_eq!(said, [expected]);
}

#[test]
fn a_kernel_has_some_time_for_a_request() {
    toml("[kernels.a]\ndeadline = '1ns'\n").unwrap();
    let said = lines(toml("[kernels.a]\ndeadline = '0s'\n"));
    assert!(said[0].starts_with("c.toml:2: kernels.a.deadline: no request could be"), "{said:?}");
}

#[test]
fn a_key_said_twice_is_refused() {
    let said = lines(toml(
        "[runtime]\nspin = '10us'\nshutdown_timeout = '1m'\nshutdown_timeout_secs = 3\n",
    ));
    assert_eq!(
        said,
        [
            "c.toml:4: runtime.shutdown_timeout_secs: `shutdown_timeout` says the same; leave one out"
        ]
    );
}

#[test]
fn every_template_loads_as_its_preset_and_so_it_does_with_its_defaults_said() {
    for preset in RuntimePreset::ALL {
        let text = template(preset);
        let config = toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}")).config;
        let values = ProductionConfig::preset(preset);
        assert!(config == values, "{config:#?}\n{values:#?}");
        let said = text.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") && !rest.contains(['…', '(']) => rest,
            _ => line,
        });
        let said: Vec<&str> = said.collect();
        let again = toml(&said.join("\n")).unwrap().config;
        assert!(again == config, "{again:#?}\n{config:#?}\n{said:#?}");
    }
}

/// A value of the key that will do, as variables have it.
fn sound(field: &Field) -> String {
    match field.values().as_str() {
        "true or false" => "true".to_owned(),
        values if values.starts_with("one of ") => {
            values["one of ".len()..].split(", ").next().unwrap().to_owned()
        }
        values if values.starts_with("a duration") => "900us".to_owned(),
        values if values.starts_with("a size") => "2MiB".to_owned(),
        values if values.starts_with("a whole") => "3".to_owned(),
        values if values.starts_with("a number") => "0.8".to_owned(),
        values if values.contains("device") => "host".to_owned(),
        values if values.contains("EdDSA") => "EdDSA".to_owned(),
        values if values.contains("web address") => "http://127.0.0.1:4318".to_owned(),
        values if values.contains("address") => "off".to_owned(),
        _ => "text".to_owned(),
    }
}

#[test]
fn every_key_is_explained_and_every_variable_sets_its_key() {
    for field in fields() {
        assert!(!field.description().is_empty(), "{} has no description", field.key());
        if field.key().contains('*') {
            continue;
        }
        let text = sound(field);
        for name in field.short_variable().map(str::to_owned).into_iter().chain([field.variable()])
        {
            let text = if name.ends_with("_GB") { "2" } else { &text };
            let outcome = Loader::new().variables([(name.clone(), text)]).load();
            let rows = match outcome {
                Ok(loaded) => loaded.effective(),
                // (A threshold alone may not fit to the others; that is said of the right key.)
                Err(error) => {
                    let line = error.to_string();
                    assert!(line.contains("threshold") || line.starts_with(&name), "{line}");
                    continue;
                }
            };
            let row = rows.iter().find(|row| row.key == field.key());
            if let Some(row) = row {
                assert_eq!(row.origin, Origin::Variable(name.clone()), "{name}");
            }
        }
    }
}

#[test]
fn what_is_too_long_or_too_deep_is_refused() {
    let long = format!("service_name = \"{}\"", "x".repeat(1 << 20));
    assert!(lines(toml(&long))[0].contains("longer than 256 KiB"));
    for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(60_000)] {
        yaml(&text).unwrap_err();
    }
    toml(&format!("a = {}", "[".repeat(200_000))).unwrap_err();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    yaml(&bomb).unwrap_err();
}

#[test]
fn changes_are_told_apart() {
    let before = toml("[runtime]\nworker_threads = 2\n[kernels.a]\nqueue = 3\n").unwrap();
    let after = toml(
        "[runtime]\nworker_threads = 3\n[kernels.a]\nqueue = 4\n[observability.log]\nlevel = 'debug'\n",
    )
    .unwrap();
    let changes = before.changes(&after);
    assert_eq!(changes.live, ["kernels.a.queue", "observability.log.level"]);
    assert_eq!(changes.at_restart, ["runtime.worker_threads"]);
    assert_eq!(before.changes(&before.clone()), Changes::default());
}

#[test]
fn the_builder_of_the_specification_builds() {
    let config = ProductionConfigBuilder::production()
        .service_name("my-kernel-service")
        .environment("production")
        .runtime(|r| r.max_kernel_instances(500).shutdown_timeout(Duration::from_secs(60)))
        .memory(|m| m.max_gpu_memory(16 * 1024 * 1024 * 1024))
        .build()
        .unwrap();
    config.validate().unwrap();
    assert_eq!(config.runtime.max_kernel_instances, 500);
    let error = ProductionConfigBuilder::production()
        .environment("staging")
        .runtime(|r| r.worker_threads(0))
        .build()
        .unwrap_err();
    assert_eq!(error.problems().len(), 2, "{error}");
}

/// Values that may stand anywhere, right and wrong.
fn anything() -> impl Strategy<Value = Value> {
    let texts = [
        "30s",
        "1m 30s",
        "5 parsecs",
        "16GiB",
        "1.5GB",
        "16",
        "host",
        "cuda:0",
        "cuda:",
        "auto",
        "production",
        "hp",
        "one_for_all",
        "stop_runtime",
        "debug",
        "low",
        "",
        "9999999999s",
        "1d 2d",
    ];
    let leaf = prop_oneof![
        prop::sample::select(texts.to_vec()).prop_map(|text| json!(text)),
        prop::sample::select(vec![0i64, 1, -1, 8, 1 << 21, i64::MAX])
            .prop_map(|number| json!(number)),
        prop::sample::select(vec![0.5, -0.5, 1.5]).prop_map(|number| json!(number)),
        any::<bool>().prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(1, 4, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..2)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Files: some keys, real or nearly, with any values.
fn files() -> impl Strategy<Value = Value> {
    let keys = fields().iter().map(Field::key).collect::<Vec<_>>();
    let key = (prop::sample::select(keys), 0..20u8).prop_map(|(key, change)| match change {
        0 => format!("{key}_secs"),
        1 => key[1..].to_owned(),
        2 => key.split('.').next().unwrap_or_default().to_owned(),
        _ => key.replace('*', "name"),
    });
    prop::collection::vec((key, anything()), 0..4).prop_map(|entries| {
        let mut layer = layer::Layer::default();
        for (key, value) in entries {
            layer.set(&key.split('.').collect::<Vec<_>>(), value, Origin::Code);
        }
        layer.to_json()
    })
}

/// A refusal says of each problem where it is, and what it is.
fn has_places(outcome: Result<Loaded, ConfigError>) {
    let error = outcome.err();
    for problem in error.iter().flat_map(ConfigError::problems) {
        let of_file = matches!(&problem.origin, Origin::File { .. });
        assert!(of_file || !problem.key.is_empty(), "{problem}");
        assert!(!problem.reason.is_empty(), "{problem}");
    }
}

// `PROPTEST_CASES=100000` for the full size.
proptest! {
    #[test]
    fn the_schema_accepts_what_the_loader_accepts(file in files()) {
        static VALIDATOR: std::sync::LazyLock<jsonschema::Validator> =
            std::sync::LazyLock::new(|| jsonschema::validator_for(json_schema()).unwrap());
        let found = check::check(&file);
        prop_assert_eq!(VALIDATOR.is_valid(&file), found.is_empty(), "{} {:?}", file, found);
        if found.is_empty() {
            // What the schema accepts can be read; the rules may still refuse it.
            let mut all = layer::preset(None);
            all.cover(layer::Layer::new(file.as_object().unwrap().clone(), Origin::Code));
            prop_assert!(all.config().is_ok(), "{:?}", all.config());
        }
    }

    #[test]
    fn no_text_makes_it_panic_and_every_refusal_has_its_place(
        at in 0..SPECIFICATION.len(),
        byte: u8,
        text in "\\PC{0,40}",
        variable in 0..fields().len(),
    ) {
        let mut bytes = SPECIFICATION.as_bytes().to_vec();
        bytes[at] = byte;
        let load = |bytes: &[u8], format| Loader::new().load_text(bytes, format, "file");
        has_places(load(&bytes, Format::Toml));
        bytes.splice(at..at, text.bytes());
        for format in [Format::Toml, Format::Yaml] {
            has_places(load(&bytes, format));
            has_places(load(text.as_bytes(), format));
        }
        let name = fields()[variable].variable().replace('*', "NAME");
        has_places(Loader::new().variables([(name, text)]).load());
    }
}

#[test]
fn the_documented_reference_is_that_of_the_types() {
    let documented = include_str!("../../../docs/configuration.md");
    assert!(
        documented.ends_with(&reference()),
        "end docs/configuration.md with what `rustkernel config reference` prints"
    );
}

#[test]
fn the_documented_examples_are_valid() {
    let documented = include_str!("../../../docs/configuration.md");
    let examples = documented.split("```toml\n").skip(1);
    let mut count = 0;
    for example in examples.filter_map(|rest| rest.split("```").next()) {
        toml(example).unwrap_or_else(|error| panic!("{error}\n{example}"));
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn production_is_guarded_unless_it_says_otherwise() {
    let production = |security: &str, listen: &str| {
        toml(&format!(
            "environment = 'production'\n[security]\n{security}\n[http]\nlisten = '{listen}'\n"
        ))
    };
    let said = |security: &str, listen: &str| lines(production(security, listen)).join("\n");
    let local = "127.0.0.1:8000";
    production("", local).unwrap();
    for (security, wrong, right) in [
        (
            "rbac_enabled = false",
            "security.rbac_enabled: in production nobody",
            "allow_unauthenticated = true",
        ),
        (
            "audit_logging = false",
            "security.audit_logging: in production what",
            "allow_unaudited = true",
        ),
    ] {
        assert!(said(security, local).contains(wrong));
        production(&format!("{security}\n{right}"), local).unwrap();
    }
    for open in ["0.0.0.0:8000", "[::]:8000", "192.168.0.1:80"] {
        assert!(said("", open).contains("http.listen: in production"), "{}", said("", open));
        production("allow_plaintext = true", open).unwrap();
        production("tls = { certificate = 'c.pem', key = 'k.pem' }", open).unwrap();
    }
    production("", "[::1]:8000").unwrap();
    production("", "off").unwrap();
    toml("[http]\nlisten = '0.0.0.0:8000'\n").unwrap();
}

#[test]
fn a_password_in_an_address_is_refused_and_not_repeated() {
    let variable = "RUSTKERNEL_OBSERVABILITY__OTLP_ENDPOINT";
    for address in [
        "http://user:secret@host:4318",
        "https://secret@host/path",
        "http://user:sec/ret@host",
        "user:secret@host:4318",
        "ftp://user:secret@host",
    ] {
        let said = [
            lines(toml(&format!("[observability]\notlp_endpoint = '{address}'\n"))),
            lines(Loader::new().variables([(variable, address)]).load()),
        ];
        let built = ProductionConfigBuilder::new()
            .observability(|section| section.otlp_endpoint(Some(address.into())))
            .build();
        let built = built.unwrap_err().to_string();
        for said in said.iter().map(|lines| lines.join("\n")).chain([built]) {
            assert!(said.contains("otlp_endpoint: an address with an `@`"), "{said}");
            assert!(said.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{said}");
            assert!(!said.contains("secret") && !said.contains("sec/ret"), "{said}");
        }
    }
}

#[test]
fn what_belongs_together_is_said_together() {
    let said = |security: &str| lines(toml(&format!("[security]\n{security}\n"))).join("\n");
    for part in [
        "jwt = { keys_file = 'k' }",
        "jwt = { issuer = 'i', audience = 'a' }",
        "jwt = { keys_file = 'k', algorithms = ['EdDSA'], issuer = 'i' }",
    ] {
        assert!(said(part).contains("are all said; some are not"), "{}", said(part));
    }
    let all = "keys_file = 'k', algorithms = ['EdDSA', 'ES256'], issuer = 'i', audience = 'a'";
    toml(&format!("[security]\njwt = {{ {all} }}\n")).unwrap();
    assert!(said(&format!("jwt = {{ {all}, leeway = '2h' }}")).contains("more than an hour"));
    assert!(said("jwt = { algorithms = ['none'] }").contains("one of HS256"));
    assert!(said("tls = { key = 'k' }").contains("security.tls.key: it needs"));
    assert!(said("tls = { certificate = 'c' }").contains("security.tls.certificate: it needs"));
}
