//! Where spans are sent: it takes them all, and forgets them.

use std::net::{SocketAddr, TcpListener};

use actix_web::{App, HttpResponse, HttpServer, web};

/// Starts one on a thread of its own, until the process ends.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let take = |_: web::Bytes| async { HttpResponse::Ok().finish() };
        let limit = web::PayloadConfig::new(64 << 20);
        let app = move || App::new().app_data(limit.clone()).default_service(web::to(take));
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap();
        actix_web::rt::System::new().block_on(server.run()).unwrap();
    });
    address
}
