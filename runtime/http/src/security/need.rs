//! Which permission a path takes.

use super::roles::Permission;

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need<'p> {
    /// The permission.
    pub permission: Permission,
    /// The kernel that it is about, if it is about one.
    pub kernel: Option<&'p str>,
}

impl<'p> Need<'p> {
    /// What a path needs, as it stands in the request. Whatever is not listed here is not served.
    pub fn of(path: &'p str) -> Option<Self> {
        use Permission as P;
        // A name that has to be decoded first could be read in two ways.
        if path.len() > 1024 || path.contains('%') {
            return None;
        }
        let mut parts = [""; 7];
        let mut count = 0;
        for part in path.strip_prefix('/')?.split('/') {
            *parts.get_mut(count)? = part;
            count += 1;
        }
        let (permission, kernel) = match parts[..count] {
            ["livez" | "readyz" | "startupz" | "healthz"] => (P::Health, None),
            ["v2", "health", "live" | "ready"] => (P::Health, None),
            ["metrics"] => (P::Metrics, None),
            ["openapi.json"] | ["v2"] => (P::Metadata, None),
            ["v2", "models", "stats"] => (P::Statistics, None),
            ["v2", "repository", "index"] => (P::ModelRepository, None),
            ["v2", "repository", "models", name, "load" | "unload"] => {
                (P::ModelRepository, Some(name))
            }
            ["v2", "models", name, "versions", _, ref rest @ ..]
            | ["v2", "models", name, ref rest @ ..] => (of_model(rest)?, Some(name)),
            ["admin", "v1", verb] => (of_service(verb)?, None),
            ["admin", "v1", "devices", _, "map"] => (P::Status, None),
            ["admin", "v1", "kernels", name] => (P::Status, Some(name)),
            ["admin", "v1", "kernels", name, "restart"] => (P::Restart, Some(name)),
            ["admin", "v1", "kernels", name, "lift"] => (P::Lift, Some(name)),
            ["admin", "v1", "kernels", name, "load" | "unload"] => (P::ModelRepository, Some(name)),
            _ => return None,
        };
        (kernel != Some("")).then_some(Self { permission, kernel })
    }
}

fn of_model(rest: &[&str]) -> Option<Permission> {
    match rest {
        [] | ["ready"] => Some(Permission::Metadata),
        ["infer"] => Some(Permission::Inference),
        ["config"] => Some(Permission::ModelConfig),
        ["stats"] => Some(Permission::Statistics),
        _ => None,
    }
}

fn of_service(verb: &str) -> Option<Permission> {
    match verb {
        "status" | "kernels" | "devices" => Some(Permission::Status),
        "config" => Some(Permission::Config),
        "drain" => Some(Permission::Drain),
        "stop" => Some(Permission::Stop),
        "reload" => Some(Permission::Reload),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_takes_its_permission() {
        let need = |path| Need::of(path).map(|need| (need.permission.name(), need.kernel));
        for (path, permission, kernel) in [
            ("/livez", "health", None),
            ("/v2/health/ready", "health", None),
            ("/v2", "metadata", None),
            ("/v2/models/gemm", "metadata", Some("gemm")),
            ("/v2/models/gemm/versions/1/ready", "metadata", Some("gemm")),
            ("/v2/models/gemm/infer", "inference", Some("gemm")),
            ("/v2/models/gemm/versions/1/infer", "inference", Some("gemm")),
            ("/v2/models/gemm/config", "model-config", Some("gemm")),
            ("/v2/models/stats", "statistics", None),
            ("/v2/models/gemm/stats", "statistics", Some("gemm")),
            ("/v2/repository/index", "model-repository", None),
            ("/v2/repository/models/gemm/unload", "model-repository", Some("gemm")),
            ("/metrics", "metrics", None),
            ("/admin/v1/status", "status", None),
            ("/admin/v1/stop", "stop", None),
            ("/admin/v1/devices/host/map", "status", None),
            ("/admin/v1/kernels/gemm", "status", Some("gemm")),
            ("/admin/v1/kernels/gemm/restart", "restart", Some("gemm")),
            ("/admin/v1/kernels/gemm/lift", "lift", Some("gemm")),
            ("/admin/v1/kernels/gemm/load", "model-repository", Some("gemm")),
            ("/admin/v1/kernels/gemm/unload", "model-repository", Some("gemm")),
        ] {
            assert_eq!(need(path), Some((permission, kernel)), "{path}");
        }
    }

    #[test]
    fn what_is_not_listed_is_not_served() {
        for path in [
            "",
            "/",
            "livez",
            "/livez/",
            "//livez",
            "/LIVEZ",
            "/v2/",
            "/v2/models",
            "/v2/models/",
            "/v2/models//infer",
            "/v2/models/gemm/infer/",
            "/v2/models/gemm/generate",
            "/v2/models/%67emm/infer",
            "/v2/models/gemm/versions/1/infer/x",
            "/v2/models/gemm/versions/1/a/b/c/d",
            "/admin/v1/shutdown",
            "/admin/v2/status",
            "/v2/health/live/../../models/gemm/infer",
            "/v2/systemsharedmemory/status",
        ] {
            assert_eq!(Need::of(path), None, "{path}");
        }
    }
}
