//! Who calls, and what they may do.
//!
//! ```text
//!  request ──► need: what its path takes ──► authenticator: who it is ──► table: may they? ──► handler
//!                  │ unknown path: 404           │ 401                       │ 403               │
//!                  └──────────────┬──────────────┴──────────────┬────────────┘                   │
//!                                 └────────► audit log ◄────────┴──── request, outcome ◄─────────┘
//! ```
//!
//! | part | role |
//! |---|---|
//! | [`Role`], [`Permission`] | the one table of who may do what; its documentation and its tests are made of it |
//! | [`Need`] | which permission a path takes, and for which kernel |
//! | [`Principal`] | who somebody is: a name, roles, kernels |
//! | [`keys`] | API keys: made, kept as hashes, compared in constant time |
//! | `jwt` | tokens of an identity provider |
//! | [`Authenticator`] | from credentials to a principal; reads its files again without a gap |
//! | [`Certificates`] | TLS |
//! | `callers` | what one caller may ask at most |
//! | [`Guard`] | all of it together, with the audit log: admits or denies |
//! | [`guarded`] | the guard as a middleware of actix-web |
//!
//! Nothing is allowed that is not in the table, and no path is served that is not in the list of needs.

mod authenticator;
mod callers;
mod denial;
mod guard;
mod jwt;
pub mod keys;
mod middleware;
mod need;
mod principal;
mod request_id;
mod roles;
mod tls;
mod trusted;

pub use authenticator::{Authenticator, Credentials, Fresh, SecurityError};
pub use denial::{Denial, Refused};
pub use guard::{Admitted, Asked, FreshGuard, Guard, GuardError, Pending};
pub use jwt::JwtError;
pub use middleware::guarded;
pub(crate) use middleware::{recorded, remember_peer};
pub use need::Need;
pub use principal::{InvalidPattern, Pattern, Principal};
pub use request_id::RequestId;
pub use roles::{Permission, Role, UnknownRole, table};
pub use tls::{Certificates, FreshCertificate, TlsError};
