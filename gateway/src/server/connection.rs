//! One connection: its protocol, its limits, its end.

use std::{convert::Infallible, future::poll_fn, sync::Arc, task::ready, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{net::TcpStream, time::MissedTickBehavior};
use tonic::body::Body;

use super::{
    Door,
    arrivals::{Arrivals, Breath},
    meter::{Meter, Metered, Verdict},
};
use crate::limits::Limits;

/// Serves one connection until it ends, breaks a limit, or the door closes and its requests are done.
pub(super) async fn serve(socket: TcpStream, door: Arc<Door>) {
    // Small answers must not wait for an acknowledgement of the one before.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone before it was served");
        return;
    }
    let meter = Meter::new();
    let io = TokioIo::new(Metered { socket, meter: Arc::clone(&meter) });
    let limits = door.limits().clone();
    let mut closing = door.closing();
    let arrivals = Arrivals::new(Arc::clone(&door));
    let service = service_fn({
        let meter = Arc::clone(&meter);
        move |mut request: http::Request<hyper::body::Incoming>| {
            let refusal = door.refusal(&request);
            let door = Arc::clone(&door);
            let meter = Arc::clone(&meter);
            async move {
                if let Some(refusal) = refusal {
                    return Ok::<_, Infallible>(refusal);
                }
                let in_use = Arc::new(meter.request());
                request.extensions_mut().insert(Arc::clone(&in_use));
                let response = door.handle(request.map(Body::new)).await;
                drop(in_use);
                Ok(response)
            }
        }
    });
    let builder = builder(&limits, arrivals.clone());
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let mut tick = tokio::time::interval(tick(&limits));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut breath = Breath::new();
    let mut going = false;
    loop {
        tokio::select! {
            result = poll_fn(|cx| {
                ready!(breath.poll(cx));
                let polled = connection.as_mut().poll(cx);
                if polled.is_ready() || !arrivals.let_in() {
                    return polled;
                }
                breath.begin();
                // What was just answered goes out before the rest.
                connection.as_mut().poll(cx)
            }) => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection ended badly");
                }
                return;
            }
            _ = closing.wait_for(|closing| *closing), if !going => {
                going = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = tick.tick() => match meter.verdict(&limits) {
                Verdict::Keep => {}
                Verdict::Drop => return,
                Verdict::Close if going => {}
                Verdict::Close => {
                    going = true;
                    connection.as_mut().graceful_shutdown();
                }
            },
        }
    }
}

/// Often enough to notice each limit soon after it is passed, seldom enough to cost nothing.
fn tick(limits: &Limits) -> Duration {
    let shortest = limits.handshake_timeout.min(limits.connection_idle).min(limits.write_stall);
    (shortest / 2).max(Duration::from_millis(10))
}

fn builder(limits: &Limits, arrivals: Arrivals) -> auto::Builder<Arrivals> {
    let mut builder = auto::Builder::new(arrivals);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.http1_header_timeout)
        .max_headers(limits.http1_headers_max)
        // hyper refuses to work with less than 8 KiB.
        .max_buf_size(limits.http1_header_max_bytes.max(8 << 10));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(limits.header_list_max_bytes)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        .adaptive_window(false)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_send_buf_size(limits.send_buffer_max_bytes)
        .max_pending_accept_reset_streams(limits.pending_resets_max)
        .max_local_error_reset_streams(limits.local_resets_max);
    builder
}
