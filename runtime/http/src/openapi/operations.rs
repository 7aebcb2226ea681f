//! Each request that is taken, and what may be answered.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::schemas::{
    IndexRequest, InferRequest, InferResponse, LoadRequest, Refusal, UnloadRequest, any_object,
    bytes, text,
};
use crate::inference::{Config, Indexed, Metadata, ServerMetadata, Statistics};
use crate::view::State;

/// A request, by its method and path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) id: String,
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Vec<Content>,
    pub(super) needs_body: bool,
    pub(super) answers: Vec<Answer>,
}

/// What may be said beside the path and the body.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `query` or `header`.
    pub(super) place: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: Value,
}

/// An answer, by its status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) contents: Vec<Content>,
}

/// A body, as one of the media types that it may have.
pub(super) struct Content {
    pub(super) media: &'static str,
    pub(super) schema: Option<fn(&mut SchemaGenerator) -> Schema>,
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const OPENMETRICS: &str = "application/openmetrics-text";
const BYTES: &str = "application/octet-stream";

/// What any request may be refused with.
const REFUSED: [(u16, &str); 8] = [
    (400, "The request makes no sense."),
    (401, "Nobody knows who it is."),
    (403, "They may not do that."),
    (404, "There is no such kernel, version or path."),
    (405, "The path takes another method, which `Allow` names."),
    (429, "More than a caller may ask, or than the kernel allows to be open."),
    (500, "It was worked on, and what came of it cannot be written down."),
    (503, "Not now; `reason` says why, and `Retry-After` when to try again."),
];

/// What a request whose body is read may be refused with besides.
const BODY: [(u16, &str); 3] = [
    (408, "The body did not come in time."),
    (413, "The body is too large."),
    (415, "The body is packed in a way that is not known."),
];

/// What a call of a kernel may be refused with besides.
const NOT_COMPUTED: [(u16, &str); 2] =
    [(500, "The kernel failed."), (504, "The deadline has passed.")];

impl Operation {
    fn new(method: &'static str, path: &str, id: &str, summary: &'static str) -> Self {
        let (path, id) = (path.to_owned(), id.to_owned());
        let (parameters, body) = (Vec::new(), Vec::new());
        let (answers, needs_body) = (Vec::new(), false);
        Self { method, path, id, summary, parameters, body, needs_body, answers }.refuses(&REFUSED)
    }

    fn get(path: &str, id: &str, summary: &'static str) -> Self {
        Self::new("GET", path, id, summary)
    }

    fn post(path: &str, id: &str, summary: &'static str) -> Self {
        Self::new("POST", path, id, summary)
    }

    fn answers(mut self, status: u16, about: &'static str, contents: Vec<Content>) -> Self {
        self.answers.retain(|answer| answer.status != status);
        self.answers.push(Answer { status, about, contents });
        self.answers.sort_by_key(|answer| answer.status);
        self
    }

    fn json<T: JsonSchema>(self, about: &'static str) -> Self {
        self.answers(200, about, vec![json_of::<T>()])
    }

    fn refuses(self, with: &[(u16, &'static str)]) -> Self {
        with.iter().fold(self, |all, (status, about)| {
            all.answers(*status, about, vec![json_of::<Refusal>()])
        })
    }

    fn parameter(
        mut self,
        place: &'static str,
        name: &'static str,
        about: &'static str,
        schema: Value,
    ) -> Self {
        self.parameters.push(Parameter { name, place, about, schema });
        self
    }
}

fn json_of<T: JsonSchema>() -> Content {
    Content { media: JSON, schema: Some(SchemaGenerator::subschema_for::<T>) }
}

/// All of them.
pub(super) fn all(metrics: bool) -> Vec<Operation> {
    let mut all = health();
    all.extend(server());
    for (path, id) in
        [("/v2/models/{name}", "model"), ("/v2/models/{name}/versions/{version}", "modelVersion")]
    {
        all.extend(model(path, id));
    }
    all.push(Operation::get("/openapi.json", "openapi", "This document.").answers(
        200,
        "The document.",
        vec![Content { media: JSON, schema: Some(any_object) }],
    ));
    if metrics {
        let formats = [TEXT, OPENMETRICS].map(|media| Content { media, schema: Some(text) });
        let operation = Operation::get("/metrics", "metrics", "What was counted, for Prometheus.");
        all.push(operation.answers(200, "In the format that `Accept` asks for.", formats.into()));
    }
    all
}

fn health() -> Vec<Operation> {
    let probe = |path, id, summary| {
        Operation::get(path, id, summary)
            .json::<State>("Yes, and where the runtime is in its life.")
    };
    let ready = |path, id| {
        let contents = |json| vec![json, Content { media: TEXT, schema: Some(text) }];
        probe(path, id, "Whether requests are taken.")
            .answers(200, "They are.", contents(json_of::<State>()))
            .answers(503, "They are not, and why.", contents(json_of::<Refusal>()))
            .parameter(
                "query",
                "verbose",
                "Say it part by part, in text.",
                json!({ "type": "string" }),
            )
    };
    let plain = |path, id, summary| {
        Operation::get(path, id, summary).answers(200, "Yes.", vec![]).answers(503, "No.", vec![])
    };
    vec![
        probe("/livez", "livez", "Whether the process can answer."),
        ready("/readyz", "readyz"),
        ready("/healthz", "healthz"),
        probe("/startupz", "startupz", "Whether the start is over."),
        plain("/v2/health/live", "serverLive", "Whether the process can answer."),
        plain("/v2/health/ready", "serverReady", "Whether requests are taken."),
    ]
}

fn server() -> Vec<Operation> {
    let repository = |verb, id, summary, body| {
        let path = format!("/v2/repository/models/{{name}}/{verb}");
        let operation = Operation::post(&path, id, summary).refuses(&BODY);
        Operation { body: vec![body], ..operation }
    };
    let mut index = Operation::post(
        "/v2/repository/index",
        "repositoryIndex",
        "The kernels, and whether they are ready.",
    )
    .refuses(&BODY)
    .json::<Vec<Indexed>>("The kernels.");
    index.body = vec![json_of::<IndexRequest>()];
    vec![
        index,
        Operation::get("/v2", "serverMetadata", "The server's name, version and extensions.")
            .json::<ServerMetadata<'_>>("The server."),
        Operation::get("/v2/models/stats", "statistics", "What was counted of all kernels.")
            .json::<Statistics<'_>>("Counts and times."),
        repository(
            "load",
            "repositoryLoad",
            "Has a kernel serve that is unloaded or quarantined.",
            json_of::<LoadRequest>(),
        )
        .answers(200, "It serves.", vec![])
        .refuses(&[(500, "It does not start.")]),
        repository(
            "unload",
            "repositoryUnload",
            "Has a kernel finish its requests and drop its state.",
            json_of::<UnloadRequest>(),
        )
        .answers(200, "It has.", vec![]),
    ]
}

fn model(path: &str, id: &str) -> Vec<Operation> {
    let get = |below: &str, name: &str, summary| {
        Operation::get(&format!("{path}{below}"), &format!("{id}{name}"), summary)
    };
    vec![
        get("", "Metadata", "A kernel's tensors: their names, types and shapes.")
            .json::<Metadata<'_>>("The kernel."),
        get("/ready", "Ready", "Whether a kernel takes requests.").answers(200, "It does.", vec![]),
        get("/config", "Config", "A kernel's configuration, as Triton has it.")
            .json::<Config<'_>>("The configuration."),
        get("/stats", "Statistics", "What was counted of a kernel.")
            .json::<Statistics<'_>>("Counts and times."),
        infer(Operation::post(&format!("{path}/infer"), &format!("{id}Infer"), "Calls a kernel.")),
    ]
}

fn infer(operation: Operation) -> Operation {
    let whole = json!({ "type": "integer", "minimum": 0 });
    let binary = || Content { media: BYTES, schema: Some(bytes) };
    let mut operation = operation
        .refuses(&BODY)
        .refuses(&NOT_COMPUTED)
        .answers(200, "The kernel's answer.", vec![json_of::<InferResponse>(), binary()])
        .parameter("header", "X-Request-Timeout-Ms", "How long it may take, in milliseconds.", whole.clone())
        .parameter(
            "header",
            "Inference-Header-Content-Length",
            "The bytes of the body that are JSON, where tensors stand behind it; 0 if it is one tensor.",
            whole,
        );
    operation.body = vec![json_of::<InferRequest>(), binary()];
    operation.needs_body = true;
    operation
}
