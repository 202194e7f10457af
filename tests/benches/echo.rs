//! The ceiling: a call that passes the same door as an order, with as many bytes, and does nothing.

use prost::Message as _;
use proto::v1::{EchoRequest, Role};
use tonic::Status;

use super::{
    Settings,
    caller::Caller,
    goods::{self, Orders},
    load::{self, Load, Measured, Work},
    report::Report,
    server::{Parts, Server},
};

/// What the message around an echo's payload takes.
const ENVELOPE: usize = 6;

/// Echoes of an order's sizes.
pub struct Echoes(EchoRequest);

impl Echoes {
    /// Measures the sizes of an order and its answer.
    pub fn like(shop: &Server, orders: &Orders) -> Self {
        let (request, answer) = load::runtime().block_on(async {
            let channel = super::caller::connect(shop.addr).await;
            let mut caller = Caller::new(&channel, &shop.token(Role::Buyer, 0));
            let request = orders.wish(0);
            let answer = caller.orders.process_order(caller.ask(request.clone())).await.expect("an order");
            (request.encoded_len(), answer.get_ref().encoded_len())
        });
        let answer_bytes = u32::try_from(answer).unwrap_or(u32::MAX);
        Self(EchoRequest { payload: vec![0x5a; request.saturating_sub(ENVELOPE)].into(), answer_bytes })
    }

    /// The sizes, for a row's name.
    pub fn sizes(&self) -> String {
        format!("{} bytes in, {} out", self.0.payload.len() + ENVELOPE, self.0.answer_bytes)
    }

    /// Measures them, and says so in the report.
    pub fn measure(&self, shop: &Server, load: Load, report: &mut Report) -> f64 {
        let measured = load::run(shop, load, self).unrefused("an echo");
        report.measured(format!("echo, {}", self.sizes()), &measured)
    }
}

impl Work for Echoes {
    const ROLE: Role = Role::Buyer;

    async fn call(&self, caller: &mut Caller, _: u64) -> Result<(), Status> {
        caller.echo.echo(caller.ask(self.0.clone())).await.map(drop)
    }
}

pub(super) fn measure(settings: &Settings) -> Report {
    let mut report = Report::new("echo");
    let shop = Server::start(&settings.folder, Parts::Door, None, &[]);
    goods::fill(&shop, settings, 1);
    let echoes = Echoes::like(&shop, &Orders::over(1));
    for callers in [1, 16, settings.callers] {
        let load = Load { callers, threads: Load::of(settings).threads.min(callers), ..Load::of(settings) };
        let measured: Measured = load::run(&shop, load, &echoes).unrefused("an echo");
        report.measured(format!("{callers} callers, {}", echoes.sizes()), &measured);
    }
    report
}
