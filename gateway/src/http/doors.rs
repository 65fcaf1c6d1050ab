//! The addresses of the listener, each with what it asks of whoever uses it, and as what its use is
//! written down.
//!
//! A route can be added in no other way, so there is none that asks nothing by mistake: whoever
//! may come without being known says so with [`public`].

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use axum::routing::{MethodFilter, on};
use cardio_fhir::audit::Deed;

use super::Web;
use super::visit::{Needs, Visit};

/// Routes behind the gate.
pub(super) struct Doors(Router<Web>);

impl Doors {
    pub(super) fn new() -> Self {
        Self(Router::new())
    }

    /// Adds a route for whoever may do what it needs; the deed is written down, if there is one.
    pub(super) fn door<H, T>(
        self,
        method: MethodFilter,
        path: &str,
        (needs, deed): (Needs, Option<Deed>),
        to: H,
    ) -> Self
    where
        H: Handler<T, Web>,
        T: 'static,
    {
        let guard = move |visit: Visit, request: Request, next: Next| async move {
            let path = request.uri().path().trim_start_matches('/');
            let kind = path.split('/').next().unwrap_or_default();
            if let Some(deed) = deed {
                visit.does(deed, path);
            }
            match visit.check(needs, kind) {
                Ok(()) => next.run(request).await,
                Err(refusal) => refusal.into_response(),
            }
        };
        let door = on(method, to).route_layer(middleware::from_fn(guard));
        Self(self.0.route(path, door))
    }

    /// The routes, for what stands around them.
    pub(super) fn into_router(self) -> Router<Web> {
        self.0
    }
}

/// Adds a route for whoever comes, known or not.
pub(super) fn public<H, T>(
    router: Router<Web>,
    method: MethodFilter,
    path: &str,
    to: H,
) -> Router<Web>
where
    H: Handler<T, Web>,
    T: 'static,
{
    router.route(path, on(method, to))
}
