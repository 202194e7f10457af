//! The front of a node: turns a client's wish into commands, as the gateway's services do.
//!
//! It holds nothing between two requests. Where one wish is several commands, only the first decides whether it
//! is done; what fails after it is answered "unknown", and the same request sent again goes on from there.

use commands::{
    desk::{self, Desk, Outcome},
    request::Request as Envelope,
    steps::{PayError, Steps, Until},
};
use domain::{
    coupon::{Discount, Terms, campaign},
    decider::{Decider, Stored as _},
    ids::{CampaignId, ClaimId, IdError, OrderId, PaymentId, ProductId, RefundId, RequestId, SellerId, Sku, derive},
    money::{Currency, Money},
    order::{self, Coupon, Order, ReturnWish},
    payment,
    personal::Personal,
    product::{self, Description, Variant},
    returns, stock,
};
use jiff::{SignedDuration, Timestamp};
use ports::store;

use super::{
    record::{Answer, Effect},
    wish::{Cart, Request, Wish, product_of},
};

/// A node's front.
#[derive(Clone)]
pub struct Front {
    steps: Steps,
}

type Handled = Result<Answer, Answer>;

impl Front {
    /// A front that drives with these hands.
    #[must_use]
    pub const fn new(steps: Steps) -> Self {
        Self { steps }
    }

    /// Handles one request.
    pub async fn handle(&self, request: Request) -> Answer {
        let now = self.steps.shop.clock.now();
        let envelope = Envelope::new(RequestId(request.id), request.actor, request.body_hash(), now);
        self.dispatch(&request, envelope, now).await.unwrap_or_else(|answer| answer)
    }

    async fn dispatch(&self, request: &Request, envelope: Envelope, now: Timestamp) -> Handled {
        let shop = &self.steps.shop;
        match &request.wish {
            Wish::List { product, price } => self.list(product, *price, envelope).await,
            Wish::Receive { sku, warehouse, quantity } => {
                let command = stock::Command::Receive { warehouse: word(warehouse)?, quantity: *quantity };
                execute(&shop.stock, &word(sku)?, command, envelope).await
            }
            Wish::Count { sku, warehouse, on_hand } => {
                let command = stock::Command::Count { warehouse: word(warehouse)?, on_hand: *on_hand };
                execute(&shop.stock, &word(sku)?, command, envelope).await
            }
            Wish::Reprice { sku, price } => {
                let command = product::Command::Reprice { sku: word(sku)?, price: pence(*price) };
                execute(&shop.product, &word(product_of(sku))?, command, envelope).await
            }
            Wish::Launch { campaign, .. } => {
                execute(&shop.campaign, campaign, launch(&request.wish, now), envelope).await
            }
            Wish::ClaimCoupon { campaign } => {
                let command = campaign::Command::Claim { member: request.member(), now };
                execute(&shop.campaign, campaign, command, envelope).await
            }
            Wish::Place(cart) => self.place(request, cart, envelope, now).await,
            Wish::Pay { order, method } => self.pay(*order, method, envelope).await,
            Wish::Cancel { order } => {
                let command = order::Command::Cancel { why: "changed my mind".into() };
                execute(&shop.order, order, command, envelope).await
            }
            Wish::Return { order, lines } => {
                let wishes = lines
                    .iter()
                    .map(|(sku, quantity)| Ok(ReturnWish { sku: word(sku)?, quantity: *quantity, unit_price: None }));
                let command = order::Command::OpenReturn {
                    return_id: request.return_id(),
                    wishes: wishes.collect::<Result<_, Answer>>()?,
                    why: "too small".into(),
                    backdated: None,
                };
                execute(&shop.order, order, command, envelope).await
            }
            Wish::ReceiveReturn { id, warehouse } => {
                let command = returns::Command::Receive { warehouse: word(warehouse)? };
                execute(&shop.returns, id, command, envelope).await
            }
            Wish::Refund { payment, again, amount } => {
                let refund = again.map_or_else(|| RefundId::derived(request.id, &[b"asked"]), RefundId);
                let key = derive(request.id, "refund", &[]);
                let command =
                    payment::Command::Refund { refund, amount: pence(*amount), key, why: "for the trouble".into() };
                execute(&shop.payment, payment, command, envelope).await
            }
            Wish::Look { order } => self.look(*order).await,
        }
    }

    /// Lists a product and keeps the stock of its variants.
    async fn list(&self, name: &str, price: i64, envelope: Envelope) -> Handled {
        let product: ProductId = word(name)?;
        let skus: [Sku; 2] = [word(&format!("{name}-a"))?, word(&format!("{name}-b"))?];
        let variant = |(sku, times): (&Sku, i64)| Variant {
            sku: sku.clone(),
            options: [("size".to_owned(), times.to_string())].into(),
            price: pence(price * times),
        };
        let list = product::Command::List {
            product: product.clone(),
            seller: word::<SellerId>("the-shop")?,
            description: Description {
                name: format!("Thing {name}"),
                text: String::new(),
                keywords: vec!["thing".into()],
                images: Vec::new(),
                categories: vec![word("things")?],
                attributes: [].into(),
            },
            variants: skus.iter().zip(1..).map(variant).collect(),
        };
        let part = envelope.clone();
        let listed = execute(&self.steps.shop.product, &product, list, envelope).await?;
        for sku in skus {
            let open = stock::Command::Open { sku: sku.clone(), product: product.clone() };
            let opened = execute(&self.steps.shop.stock, &sku, open, part.part("open", sku.as_str().as_bytes())).await;
            opened.map_err(unsure)?;
        }
        Ok(listed)
    }

    async fn place(&self, request: &Request, cart: &Cart, envelope: Envelope, now: Timestamp) -> Handled {
        let shop = &self.steps.shop;
        let order = request.order_id();
        let mut lines = Vec::new();
        for (sku, quantity) in &cart.lines {
            match self.wanted(sku, *quantity).await? {
                Some(line) => lines.push(line),
                // A repeat must find its old order whatever became of the catalogue since: the desk knows.
                None if self.is_placed(order).await? => {}
                None => return Err(Answer::Refused(format!("{sku} is not on sale"))),
            }
        }
        let coupon = match cart.coupon {
            Some((campaign, claim)) => Some(self.coupon(request, campaign, claim).await?),
            None => None,
        };
        let place = order::Place {
            buyer: request.member(),
            lines,
            coupon,
            expected_total: cart.expected_total.map(pence),
            region: word("GB")?,
            ship_to: Some(Personal::open(request.member(), format!("{} Sim Street", request.id))),
            payment_method: cart.method.clone(),
            expires_at: now.saturating_add(SignedDuration::from_secs(cart.seconds.into())).unwrap_or(now),
            backdated: None,
        };
        let placed = execute(&shop.order, &order, order::Command::Place(Box::new(place)), envelope).await?;
        match self.steps.drive_order(order, Until::Reserved).await {
            Ok(_) => Ok(placed),
            Err(failure) => Err(Answer::Unknown(failure.to_string())),
        }
    }

    async fn is_placed(&self, order: OrderId) -> Result<bool, Answer> {
        self.steps.shop.order.inspect(&order, |seen| seen.state.placed().is_some()).await.map_err(refuse::<Order>)
    }

    /// A line with the facts of now, if the SKU is on sale.
    async fn wanted(&self, sku: &str, quantity: u32) -> Result<Option<order::Wanted>, Answer> {
        let (product, sku): (ProductId, Sku) = (word(product_of(sku))?, word(sku)?);
        let id = product.clone();
        let look = move |seen: desk::Seen<'_, product::Product>| {
            seen.state.offer(&sku).map(|offer| order::Wanted {
                product: id,
                sku: sku.clone(),
                name: offer.name.into(),
                category: offer.category.cloned(),
                seller: offer.seller.clone(),
                unit_price: offer.price,
                quantity,
            })
        };
        self.steps.shop.product.inspect(&product, look).await.map_err(refuse::<product::Product>)
    }

    async fn coupon(&self, request: &Request, campaign: CampaignId, claim: ClaimId) -> Result<(Coupon, Terms), Answer> {
        let member = request.member();
        let look = move |seen: desk::Seen<'_, campaign::Campaign>| {
            let terms = seen.state.details().map(|details| details.terms.clone());
            terms.filter(|_| seen.state.owns(member, claim))
        };
        let terms = self.steps.shop.campaign.inspect(&campaign, look).await.map_err(refuse::<campaign::Campaign>)?;
        let terms = terms.ok_or_else(|| Answer::Refused("the claim is not the buyer's".into()))?;
        Ok((Coupon { campaign, claim }, terms))
    }

    async fn pay(&self, order: OrderId, method: &str, envelope: Envelope) -> Handled {
        let payment = PaymentId::derived(envelope.id.0, &[&envelope.actor.scope()]);
        match self.steps.begin_payment(order, payment, method.to_owned(), envelope).await {
            Ok(outcome) => Ok(Answer::Done(effect::<Order>(&order, &outcome))),
            Err(PayError::Order(error)) => Err(unsure(refuse::<Order>(error))),
            Err(PayError::Payment(error)) => Err(unsure(refuse::<payment::Payment>(error))),
        }
    }

    async fn look(&self, order: OrderId) -> Handled {
        let look = |seen: desk::Seen<'_, Order>| {
            let captured = seen.state.captured().map(|(payment, _)| payment.to_string());
            vec![seen.state.situation().name().to_owned(), captured.unwrap_or_default()]
        };
        self.steps.shop.order.inspect(&order, look).await.map(Answer::Told).map_err(refuse::<Order>)
    }
}

fn launch(wish: &Wish, now: Timestamp) -> campaign::Command {
    let (campaign, basis_points, quantity, per_member, seconds) = match wish {
        Wish::Launch { campaign, basis_points, quantity, per_member, seconds } => {
            (*campaign, *basis_points, *quantity, *per_member, *seconds)
        }
        _ => (CampaignId::from_u128(0), 0, None, 0, 0),
    };
    let closes_at = now.saturating_add(SignedDuration::from_secs(seconds.into())).unwrap_or(now);
    let discount = Discount::Percent { basis_points };
    let terms = Terms { discount, minimum_spend: None, quantity, per_member, opens_at: now, closes_at };
    campaign::Command::Launch { campaign, name: "A campaign".into(), terms }
}

async fn execute<D: Decider>(desk: &Desk<D>, id: &D::Id, command: D::Command, envelope: Envelope) -> Handled {
    let outcome = desk.execute(id, command, envelope).await.map_err(refuse::<D>)?;
    Ok(Answer::Done(effect::<D>(id, &outcome)))
}

fn effect<D: Decider>(id: &D::Id, outcome: &Outcome<D::Event>) -> Effect {
    Effect {
        stream: format!("{}-{id}", D::CATEGORY),
        revision: outcome.revision,
        position: outcome.position.0,
        kinds: outcome.events.iter().map(|event| event.kind().to_owned()).collect(),
        replayed: outcome.replayed,
    }
}

/// What a desk's error is to a client.
fn refuse<D: Decider>(error: desk::Error<D::Rejection>) -> Answer {
    match error {
        desk::Error::Rejected(why) => Answer::Refused(why.to_string()),
        desk::Error::Reused => Answer::Reused,
        desk::Error::Store(store::Error::Unknown(_)) | desk::Error::Closed => Answer::Unknown(error.to_string()),
        desk::Error::Stale { .. }
        | desk::Error::Contention
        | desk::Error::Overloaded
        | desk::Error::Store(_)
        | desk::Error::Keys(_)
        | desk::Error::Unreadable(_)
        | desk::Error::Encode(_) => Answer::Busy(error.to_string()),
    }
}

/// What comes after a first command that is done cannot promise that nothing has happened.
fn unsure(answer: Answer) -> Answer {
    match answer {
        Answer::Busy(why) => Answer::Unknown(why),
        answer => answer,
    }
}

fn word<T: std::str::FromStr<Err = IdError>>(text: &str) -> Result<T, Answer> {
    text.parse().map_err(|why: IdError| Answer::Refused(why.to_string()))
}

const fn pence(amount: i64) -> Money {
    Money::new(amount, Currency::GBP)
}
