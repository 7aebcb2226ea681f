//! What is served over the network, described for machines: a document of OpenAPI 3.1 at `/openapi.json`.
//!
//! | part | role |
//! |---|---|
//! | `operations` | each request that is taken, and what may be answered |
//! | `schemas` | bodies that are read or written by hand |
//!
//! Schemas are made of the types that are written; the permission that a request takes, and whether it needs any, is
//! asked of the guard. A test holds the operations against the routes.

mod operations;
mod schemas;

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::security::{Need, Permission};
use operations::{Answer, Content, Operation};

/// What the document is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// The service's name.
    pub(crate) name: &'a str,
    /// Whether metrics are served.
    pub(crate) metrics: bool,
    /// Whether callers have to say who they are.
    pub(crate) secured: bool,
}

/// The document, as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Document(Bytes);

impl Document {
    pub(crate) fn new(about: About<'_>) -> Self {
        Self(document(about).to_string().into())
    }
}

/// Answers with the document.
pub(crate) async fn served(document: Data<Document>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.0.clone())
}

fn document(about: About<'_>) -> Value {
    let mut schemas = schemas();
    let mut paths = Map::new();
    for operation in operations::all(about.metrics) {
        let method = operation.method.to_lowercase();
        let described = describe(&operation, about, &mut schemas);
        paths.entry(operation.path).or_insert_with(|| json!({}))[method] = described;
    }
    let mut components = json!({ "schemas": schemas.take_definitions(true) });
    if about.secured {
        let bearer = "An API key (`rk_…`), or a token (JWT) of the identity provider.";
        components["securitySchemes"]["bearer"] =
            json!({ "type": "http", "scheme": "bearer", "description": bearer });
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": about.name,
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Compute kernels behind the Open Inference Protocol, version 2.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": components,
    })
}

/// What is written is described, in components of the document.
fn schemas() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator()
}

fn describe(operation: &Operation, about: About<'_>, schemas: &mut SchemaGenerator) -> Value {
    let permission = permission(&operation.path);
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "x-permission": permission.name(),
        "parameters": parameters(operation),
        "responses": answers(operation, schemas),
    });
    if about.secured {
        let open = permission == Permission::Health;
        described["security"] = if open { json!([]) } else { json!([{ "bearer": [] }]) };
    }
    if !operation.body.is_empty() {
        let content = contents(&operation.body, schemas);
        described["requestBody"] = json!({ "required": operation.needs_body, "content": content });
    }
    described
}

/// The permission that the guard asks for at a path, of any kernel.
fn permission(path: &str) -> Permission {
    let sample = path.replace("{name}", "kernel").replace("{version}", "1");
    let need = Need::of(&sample).expect("invariant: the guard knows every path, as a test says");
    need.permission
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let in_path = ["name", "version"]
        .into_iter()
        .filter(|name| operation.path.contains(&format!("{{{name}}}")));
    let in_path = in_path.map(|name| {
        let schema = json!({ "type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$" });
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    });
    let others = operation.parameters.iter().map(|parameter| {
        json!({
            "name": parameter.name, "in": parameter.place, "description": parameter.about,
            "schema": parameter.schema,
        })
    });
    in_path.chain(others).collect()
}

fn answers(operation: &Operation, schemas: &mut SchemaGenerator) -> Map<String, Value> {
    let mut described = Map::new();
    for Answer { status, about, contents: of } in &operation.answers {
        let mut answer = json!({ "description": about });
        if !of.is_empty() {
            answer["content"] = contents(of, schemas);
        }
        described.insert(status.to_string(), answer);
    }
    described
}

fn contents(all: &[Content], schemas: &mut SchemaGenerator) -> Value {
    let mut described = Map::new();
    for Content { media, schema } in all {
        let schema = schema.map(|schema| schema(schemas).to_value());
        described.insert(
            (*media).into(),
            schema.map_or_else(|| json!({}), |schema| json!({ "schema": schema })),
        );
    }
    described.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use actix_web::App;

    use super::*;
    use crate::{http, inference, routes};

    const ABOUT: About<'_> = About { name: "test", metrics: true, secured: true };

    /// The methods and paths of a document.
    fn described(document: &Value) -> BTreeSet<(String, String)> {
        let paths = document["paths"].as_object().unwrap().iter();
        let methods = paths.flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
        });
        methods.collect()
    }

    #[test]
    fn what_is_served_is_described_and_what_is_described_is_served() {
        routes::noted();
        drop(App::new().configure(routes::health).configure(inference::configure));
        drop(App::new().configure(|routes| http::own(routes, true)));
        let served: BTreeSet<_> = routes::noted().into_iter().collect();
        assert!(served.len() > 20, "{served:?}");
        assert_eq!(described(&document(ABOUT)), served);
        let without = described(&document(About { metrics: false, ..ABOUT }));
        drop(App::new().configure(routes::health).configure(inference::configure));
        drop(App::new().configure(|routes| http::own(routes, false)));
        assert_eq!(without, routes::noted().into_iter().collect());
    }

    #[test]
    fn permissions_are_the_guards_and_health_needs_no_key() {
        let document = document(ABOUT);
        let at = |path: &str, method: &str| {
            let operation = &document["paths"][path][method];
            (operation["x-permission"].as_str().unwrap().to_owned(), operation["security"].clone())
        };
        let key = json!([{ "bearer": [] }]);
        assert_eq!(at("/livez", "get"), ("health".into(), json!([])));
        assert_eq!(at("/v2/models/{name}/infer", "post"), ("inference".into(), key.clone()));
        assert_eq!(at("/openapi.json", "get"), ("metadata".into(), key.clone()));
        assert_eq!(at("/metrics", "get"), ("metrics".into(), key));
        let open = super::document(About { secured: false, ..ABOUT });
        assert_eq!(open["paths"]["/metrics"]["get"].get("security"), None);
        assert_eq!(open["components"].get("securitySchemes"), None);
    }

    #[test]
    fn every_reference_leads_somewhere_and_ids_are_each_ones_own() {
        let document = document(ABOUT);
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1);
        let references: BTreeSet<&str> =
            references.map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(references.len() > 5, "{references:?}");
        for reference in references {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
        let ids: Vec<&str> = text
            .split("\"operationId\":\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len());
        assert_eq!(ids.len(), described(&document).len());
    }
}
