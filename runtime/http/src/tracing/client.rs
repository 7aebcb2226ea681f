//! The connection to the collector.
//!
//! It blocks, within a time: the only thread that uses it is the one that sends spans.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use rustls::crypto::ring;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::TracingError;
use super::settings::Settings;

/// Most bytes of an answer that are read.
const ANSWER: u64 = 64 << 10;

/// Posts to the collector.
#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    /// How many spans of the last batch the collector did not want, though it took the others.
    rejected: AtomicU64,
    /// Why the last post had no success.
    error: Mutex<String>,
}

impl Client {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// If the collector speaks TLS, and there is nothing to check its certificate by.
    pub(super) fn new(settings: &Settings) -> Result<Self, TracingError> {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("rustkernel/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(settings.timeout));
        if settings.endpoint.starts_with("https:") {
            config = config.tls_config(tls(settings.certificate.as_deref())?);
        }
        Ok(Self {
            agent: config.build().into(),
            rejected: AtomicU64::new(0),
            error: Mutex::default(),
        })
    }

    /// How many spans of the last batch that was taken were not.
    pub(super) fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Why the last post had no success.
    pub(super) fn last_error(&self) -> String {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (head, body) = request.into_parts();
        let answer = self.agent.run(Request::from_parts(head, &*body))?;
        let (head, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }

    fn note(&self, posted: &Result<Response<Bytes>, ureq::Error>) {
        let error = match posted {
            Ok(answer) if answer.status().is_success() => {
                self.rejected.store(rejected(answer.body()), Ordering::Relaxed);
                return;
            }
            Ok(answer) => format!("it answers {}", answer.status()),
            Err(error) => error.to_string(),
        };
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

impl HttpClient for Client {
    fn send_bytes<'c, 'f>(
        &'c self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'c: 'f,
        Self: 'f,
    {
        let posted = self.post(request);
        self.note(&posted);
        Box::pin(ready(posted.map_err(Into::into)))
    }
}

/// How many spans a collector says that it did not want.
fn rejected(answer: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).ok();
    let partial = answer.and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
}

/// TLS that trusts these certificates, or those that the system trusts.
fn tls(pem: Option<&[u8]>) -> Result<TlsConfig, TracingError> {
    let roots = match pem {
        Some(pem) => given(pem)?,
        None => systems()?,
    };
    if roots.is_empty() {
        return Err(TracingError::Certificates(
            "there are none; install the system's (`ca-certificates`), or name a file in \
             OTEL_EXPORTER_OTLP_CERTIFICATE"
                .into(),
        ));
    }
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build())
}

fn given(pem: &[u8]) -> Result<Vec<Certificate<'static>>, TracingError> {
    let certificates = parse_pem(pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(TracingError::Certificates(error.to_string()))),
    });
    certificates.collect()
}

fn systems() -> Result<Vec<Certificate<'static>>, TracingError> {
    let found = rustls_native_certs::load_native_certs();
    match found.errors.first() {
        Some(error) if found.certs.is_empty() => Err(TracingError::Certificates(error.to_string())),
        _ => Ok(found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect()),
    }
}
