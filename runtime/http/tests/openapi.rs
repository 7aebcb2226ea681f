//! What is answered is what `/openapi.json` says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails is to say where")]

mod support;

use serde_json::{Value, json};
use support::tcp::{Answer, Serving, config, held};

/// Asks what the document calls by that path, of a kernel; the status.
#[track_caller]
fn check(document: &Value, method: &str, template: &str, answer: &Answer) -> u16 {
    let operation = &document["paths"][template][method];
    let described = &operation["responses"][answer.status.to_string()];
    assert!(described.is_object(), "{template}: {answer:?}");
    let media = answer.header("content-type").map(|kind| kind.split(';').next().unwrap());
    let Some(media) = media else {
        assert!(described.get("content").is_none() && answer.body.is_empty(), "{template}");
        return answer.status;
    };
    let content = &described["content"][media];
    assert!(content.is_object(), "{template}, {}: {media}", answer.status);
    if media == "application/json" {
        let mut schema = content["schema"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let wrong: Vec<String> =
            validator.iter_errors(&answer.json()).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{template}, {}: {wrong:?}", answer.status);
    }
    answer.status
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_as_they_are_described() {
    let serving = Serving::start(config()).await;
    let document = serving.get("/openapi.json").await;
    assert_eq!(document.header("content-type"), Some("application/json"));
    let document = document.json();
    assert_eq!(
        (&document["openapi"], &document["info"]["title"]),
        (&json!("3.1.0"), &json!("test"))
    );
    assert_eq!(
        document["paths"]["/livez"]["get"].get("security"),
        None,
        "nobody is asked who it is"
    );

    for template in document["paths"].as_object().unwrap().keys() {
        for (name, version) in [("scan", "1"), ("nope", "1"), ("scan", "7")] {
            let path = template.replace("{name}", name).replace("{version}", version);
            for method in document["paths"][template].as_object().unwrap().keys() {
                let answer = match method.as_str() {
                    "get" => serving.get(&path).await,
                    _ => serving.post(&path, &[], "{").await,
                };
                let status = check(&document, method, template, &answer);
                let there = (name, version) == ("scan", "1") || !template.contains("{version}");
                let there = there && (name != "nope" || !template.contains("{name}"));
                assert_eq!(status == 404, !there, "{path}");
            }
        }
    }
    for verb in ["unload", "load"] {
        let done = serving.post(&format!("/v2/repository/models/scan/{verb}"), &[], "").await;
        let path = format!("/v2/repository/models/{{name}}/{verb}");
        assert_eq!(check(&document, "post", &path, &done), 200);
    }
    let infer = "/v2/models/{name}/infer";
    let input = json!({ "name": "input", "datatype": "FP32", "shape": [2], "data": [1, 2] });
    let request = json!({ "id": "7", "inputs": [input] });
    assert_eq!(check(&document, "post", infer, &serving.infer("scan", &request).await), 200);
    let binary = json!({ "inputs": [input], "parameters": { "binary_data_output": true } });
    assert_eq!(check(&document, "post", infer, &serving.infer("scan", &binary).await), 200);
    let failed = serving.infer("held", &held(&[-1.0])).await;
    assert_eq!(check(&document, "post", infer, &failed), 500);
    let late = [("x-request-timeout-ms", "20")];
    let late = serving.post("/v2/models/held/infer", &late, held(&[1.0]).to_string()).await;
    assert_eq!(check(&document, "post", infer, &late), 504);
    let packed = [("content-encoding", "br")];
    let packed = serving.post("/v2/models/scan/infer", &packed, request.to_string()).await;
    assert_eq!(check(&document, "post", infer, &packed), 415);
    let verbose = serving.get("/readyz?verbose").await;
    assert_eq!(check(&document, "get", "/readyz", &verbose), 200);
    let twice = serving.get("/readyz?verbose=1&verbose=2").await;
    assert_eq!(check(&document, "get", "/readyz", &twice), 200, "it is no mistake");
    serving.control.drain().await.unwrap();
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_got_can_be_asked_for_its_head() {
    let serving = Serving::start(config()).await;
    let document = serving.get("/openapi.json").await.json();
    let described = |answer: &Answer| {
        // (Each has its own; and what counts requests grows.)
        let own = ["date", "x-request-id", "content-length"];
        let headers = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
        let headers = headers.map(|(name, value)| (name.to_string(), value.clone()));
        (answer.status, headers.collect::<std::collections::BTreeMap<_, _>>())
    };
    let length = |answer: &Answer| answer.header("content-length").unwrap().parse::<usize>();
    for (template, methods) in document["paths"].as_object().unwrap() {
        for name in ["scan", "nope"] {
            let path = template.replace("{name}", name).replace("{version}", "1");
            let head = serving.head(&path).await;
            assert!(head.body.is_empty(), "{path}: {head:?}");
            if methods.get("get").is_none() {
                assert_eq!((head.status, head.header("allow")), (405, Some("POST")), "{path}");
                continue;
            }
            let got = serving.get(&path).await;
            assert_eq!(described(&head), described(&got), "{path}");
            assert_eq!(length(&got), Ok(got.body.len()), "{path}");
            let counts = path == "/metrics";
            assert!(counts || length(&head) == length(&got), "{path}: {head:?}");
            let refused = serving.post(&path, &[], "").await;
            assert_eq!(refused.status, 405, "{path}");
            assert_eq!(refused.header("allow"), Some("GET, HEAD"), "{path}");
        }
    }
    serving.control.drain().await.unwrap();
    serving.end().await;
}
