//! Admits requests, or denies them, and has both written down.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use rustkernel_core::config::{CallerConfig, SecurityConfig};
use rustkernel_core::runtime::ShutdownReport;

use super::authenticator::{Authenticator, Credentials, Fresh, SecurityError};
use super::callers::{Callers, Permit, address};
use super::denial::Denial;
use super::need::Need;
use super::principal::{Pattern, Principal};
use super::request_id::RequestId;
use super::roles::{Permission, Role};
use super::tls::{Certificates, FreshCertificate, TlsError};
use crate::ServeError;
use crate::audit::{About, Audit, AuditError, Entry, Event, OpenError, Settings};

/// Why there is no guard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// Nobody can be told from anybody.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// There is no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nothing can be written down.
    #[error(transparent)]
    Audit(#[from] OpenError),
}

/// Admits requests, or denies them, and has both written down.
#[derive(Debug, Default)]
pub struct Guard {
    authenticator: Option<Authenticator>,
    audit: Option<Audit>,
    certificates: Option<Arc<Certificates>>,
    callers: Callers,
    /// By [`Denial::KINDS`].
    denied: [AtomicU64; Denial::KINDS.len()],
}

/// Files that were read again, and do not hold yet.
#[must_use = "they hold when they are put in place"]
pub struct FreshGuard {
    known: Option<Fresh>,
    certificate: Option<FreshCertificate>,
}

/// What is asked for.
pub struct Asked<'r> {
    /// The request's id.
    pub id: RequestId,
    /// Its path, as it stands there.
    pub path: &'r str,
    /// What it says of its sender.
    pub credentials: Credentials<'r>,
    /// From where it comes; `None` is a Unix socket.
    pub source: Option<SocketAddr>,
    /// The id of the trace that it belongs to.
    pub trace_id: Option<String>,
}

impl Guard {
    /// The guard that a configuration asks for, of a service of that name: with `rbac_enabled` callers
    /// have to say who they are, with `audit_logging` what they do is written down. Its log is open then.
    ///
    /// # Errors
    /// [`GuardError`] if the files of either cannot be used.
    pub fn of(config: &SecurityConfig, service: &str) -> Result<Self, GuardError> {
        let authenticator = config.rbac_enabled.then(|| Authenticator::of(config)).transpose()?;
        let certificates = Certificates::of(&config.tls)?;
        let settings = config.audit_logging.then(|| Settings::of(&config.audit, service));
        let audit = settings.transpose()?.map(|settings| Audit::open(&settings)).transpose()?;
        let callers = Callers::new(config.caller);
        Ok(Self { authenticator, audit, certificates, callers, ..Self::default() })
    }

    /// A guard of these parts. Without the first everybody may do everything, without the second nothing
    /// is written down.
    pub fn new(authenticator: Option<Authenticator>, audit: Option<Audit>) -> Self {
        Self { authenticator, audit, ..Self::default() }
    }

    /// Has every caller be under these limits from now on.
    pub fn limit_callers(&self, limits: CallerConfig) {
        self.callers.limit(limits);
    }

    /// Whether callers have to say who they are.
    pub fn asks_who(&self) -> bool {
        self.authenticator.is_some()
    }

    /// The certificates of TLS, if there is to be any.
    pub fn certificates(&self) -> Option<&Arc<Certificates>> {
        self.certificates.as_ref()
    }

    /// Reads keys and certificates again. Nothing holds before it is put [in place](Self::put_in_place).
    ///
    /// # Errors
    /// [`GuardError`] if any cannot be used.
    pub fn read_again(&self) -> Result<FreshGuard, GuardError> {
        let known = self.authenticator.as_ref().map(Authenticator::read_again).transpose()?;
        let certificate = self.certificates.as_ref().map(|own| own.read_again()).transpose()?;
        Ok(FreshGuard { known, certificate })
    }

    /// Has what was read hold, for every request and connection from now on.
    pub fn put_in_place(&self, FreshGuard { known, certificate }: FreshGuard) {
        if let (Some(authenticator), Some(known)) = (&self.authenticator, known) {
            authenticator.put_in_place(known);
        }
        if let (Some(certificates), Some(certificate)) = (&self.certificates, certificate) {
            certificates.put_in_place(certificate);
        }
    }

    /// What denials are called, and how many there were of each.
    pub fn denied(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.denied.iter().map(|count| count.load(Ordering::Relaxed));
        Denial::KINDS.into_iter().zip(counts)
    }

    /// The log.
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// Admits a request: it is known who asks, they may do it, and that it is about to be done is durable.
    /// Probes of health are always admitted, and not written down.
    ///
    /// # Errors
    /// [`Denial`], which is written down as well.
    pub async fn admit(&self, asked: &Asked<'_>) -> Result<Admitted, Denial> {
        self.admit_anybody(asked).await.inspect_err(|denial| self.count(denial))
    }

    async fn admit_anybody(&self, asked: &Asked<'_>) -> Result<Admitted, Denial> {
        if self.authenticator.is_none() && self.audit.is_none() && !self.callers.are_limited() {
            return Ok(Admitted::unrecorded(anybody()));
        }
        let need = Need::of(asked.path);
        if need.is_some_and(|need| need.permission == Permission::Health) {
            return Ok(Admitted::unrecorded(nobody()));
        }
        let principal = match &self.authenticator {
            Some(authenticator) => authenticator.principal(asked.credentials),
            None => Ok(anybody()),
        };
        let known = principal.as_ref().ok().filter(|_| self.authenticator.is_some());
        let permit = match known {
            Some(principal) => self.callers.enter(principal.name()),
            None => self.callers.enter(&address(asked.source)),
        };
        match (principal, permit) {
            (Ok(principal), Ok(permit)) => {
                let admitted = self.admit_known(principal, asked, need).await?;
                Ok(Admitted { pending: Pending { _permit: permit }, ..admitted })
            }
            (Err(refused), Ok(_)) => {
                self.deny(&nobody(), asked, need, Denial::Unauthenticated(refused)).await
            }
            (principal, Err(denial)) => {
                self.deny(&principal.unwrap_or_else(|_| nobody()), asked, need, denial).await
            }
        }
    }

    /// Admits a request of somebody who is known already.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub async fn admit_principal(
        &self,
        principal: Principal,
        asked: &Asked<'_>,
    ) -> Result<Admitted, Denial> {
        let admitted = self.admit_known(principal, asked, Need::of(asked.path)).await;
        admitted.inspect_err(|denial| self.count(denial))
    }

    fn count(&self, denial: &Denial) {
        self.denied[denial.number()].fetch_add(1, Ordering::Relaxed);
    }

    async fn admit_known(
        &self,
        principal: Principal,
        asked: &Asked<'_>,
        need: Option<Need<'_>>,
    ) -> Result<Admitted, Denial> {
        let Some(Need { permission, kernel }) = need else {
            return self.deny(&principal, asked, need, Denial::Nowhere).await;
        };
        if !principal.may(permission, kernel) {
            let kernel = kernel.map(str::to_owned);
            let denial = Denial::Forbidden { permission, kernel };
            return self.deny(&principal, asked, need, denial).await;
        }
        let open = match &self.audit {
            Some(audit) => {
                let entry = entry(Event::Request, &principal, asked, need);
                Some(Open::written_down(audit, entry).await?)
            }
            None => None,
        };
        Ok(Admitted { principal, open, pending: Pending::default() })
    }

    async fn deny(
        &self,
        principal: &Principal,
        asked: &Asked<'_>,
        need: Option<Need<'_>>,
        denial: Denial,
    ) -> Result<Admitted, Denial> {
        if let Some(audit) = &self.audit {
            let entry = entry(Event::Denied, principal, asked, need);
            audit.record(entry.with_outcome(denial.kind(), denial.reason())).await?;
        }
        Err(denial)
    }

    /// Writes down that the service started, drains or ends.
    ///
    /// # Errors
    /// [`AuditError`] if it cannot be.
    pub async fn lifecycle(&self, action: &'static str, reason: &str) -> Result<(), AuditError> {
        let Some(audit) = &self.audit else { return Ok(()) };
        let entry = Entry::of_system(Event::Lifecycle, action, reason.to_owned());
        audit.record(entry).await.map(drop)
    }

    /// Writes down how the service ended, and closes the log: nobody is admitted any more.
    pub(crate) async fn close(&self, ended: &Result<ShutdownReport, ServeError>) {
        let Some(audit) = &self.audit else { return };
        let reason = match ended {
            Ok(report) => format!("{}; {} requests cancelled", report.reason, report.cancelled),
            Err(error) => error.to_string(),
        };
        self.lifecycle("service.ended", &reason).await.ok();
        audit.close().await;
    }
}

/// Whom nobody knows.
fn nobody() -> Principal {
    static NOBODY: LazyLock<Principal> =
        LazyLock::new(|| Principal::new("", Vec::new(), Vec::new()));
    NOBODY.clone()
}

/// The user who opened the control endpoint, which its owner alone can.
pub(super) fn user(uid: Option<u32>) -> Principal {
    let name = uid.map_or_else(|| "unix".into(), |uid| format!("unix:{uid}"));
    Principal::new(name, vec![Role::Admin], vec![Pattern::any()])
}

/// Whom nobody has to know.
fn anybody() -> Principal {
    static ANYBODY: LazyLock<Principal> =
        LazyLock::new(|| Principal::new("anonymous", vec![Role::Admin], vec![Pattern::any()]));
    ANYBODY.clone()
}

/// An entry about what somebody asks for.
fn entry(event: Event, by: &Principal, asked: &Asked<'_>, need: Option<Need<'_>>) -> Entry {
    let source = asked.source.map(|source| source.to_string());
    let about = About {
        id: &asked.id.to_string(),
        actor: by.name(),
        roles: &by.roles(),
        source: source.as_deref().unwrap_or("unix"),
        action: need.map_or("unknown", |need| need.permission.name()),
        object: need.and_then(|need| need.kernel).unwrap_or(asked.path),
        trace_id: asked.trace_id.as_deref(),
    };
    Entry::new(event, &about)
}

/// A request that was admitted. What comes of it has to be [told](Self::finish); if it is dropped before,
/// it is written down as abandoned.
#[derive(Debug)]
pub struct Admitted {
    principal: Principal,
    open: Option<Open>,
    pending: Pending,
}

/// A request that counts among those that its caller has open, until this is dropped.
#[derive(Debug, Default)]
pub struct Pending {
    _permit: Option<Permit>,
}

impl Admitted {
    /// One that is not written down.
    fn unrecorded(principal: Principal) -> Self {
        Self { principal, open: None, pending: Pending::default() }
    }

    /// Who asks.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Writes down what came of it, by the status of its answer, which may be given when this is durable. What
    /// comes back is to be kept until the answer is sent.
    ///
    /// # Errors
    /// [`AuditError`] if it cannot be: then another answer is to be given.
    pub async fn finish(mut self, status: u16) -> Result<Pending, AuditError> {
        let Some(open) = &mut self.open else { return Ok(self.pending) };
        let outcome = match status {
            ..400 => "ok",
            400..500 => "refused",
            _ => "failed",
        };
        let Some(entry) = open.entry.take() else { return Ok(self.pending) };
        let reason = match status {
            200 => "status 200".into(),
            _ => Cow::from(format!("status {status}")),
        };
        let entry = entry.outcome(outcome, reason);
        open.audit.record(entry).await?;
        Ok(self.pending)
    }
}

/// A request whose outcome is not written down yet.
#[derive(Debug)]
struct Open {
    audit: Audit,
    entry: Option<Entry>,
}

impl Open {
    /// Has a request written down. A caller that leaves meanwhile leaves a record, and so an outcome.
    async fn written_down(audit: &Audit, entry: Entry) -> Result<Self, AuditError> {
        let mut open = Self { audit: audit.clone(), entry: Some(entry.clone()) };
        let recorded = audit.record(entry).await;
        if let Err(error) = &recorded {
            // Nothing has begun that could be abandoned. (What the disk takes later was refused.)
            let begun = open.entry.take().filter(|_| matches!(error, AuditError::Slow { .. }));
            begun.map(|entry| audit.note(entry.outcome("refused", "the audit log was too slow")));
        }
        recorded.map(|_| open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            // (Nobody is left to be told if it cannot be; its request is in the log, and that it has none is counted.)
            self.audit.note(entry.outcome("abandoned", "its caller is gone")).ok();
        }
    }
}
