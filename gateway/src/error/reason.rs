//! The registry: every reason the gateway can give, in one table.
//!
//! A reason is what a client's code looks at, so it never changes its name or its code once released. The
//! column *retry* says whether the very same request may be sent again by a machine (then it carries
//! RetryInfo): by AIP-194 only UNAVAILABLE is retried blindly, so every reason that is safe to retry has that
//! code, and ABORTED or RESOURCE_EXHAUSTED mean that somebody must look first.

use std::time::Duration;

use tonic::Code;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $name:literal $code:ident $(retry $millis:literal)? => $meaning:literal, $advice:literal;)+) => {
        /// Why a request was not done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name on the wire, e.g. `OUT_OF_STOCK`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The gRPC status code it comes with.
            #[must_use]
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)+ }
            }

            /// How long to wait before the same request may be sent again by itself; `None`: do not.
            #[must_use]
            pub const fn retry_after(self) -> Option<Duration> {
                match self { $(Self::$variant => { let mut _after = None; $(_after = Some(Duration::from_millis($millis));)? _after })+ }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)+ }
            }
        }
    };
}

reasons! {
    // What was sent.
    InvalidField "INVALID_FIELD" InvalidArgument => "A field holds a value it cannot hold.", "Correct the fields named in BadRequest.";
    MissingField "MISSING_FIELD" InvalidArgument => "A required field is empty.", "Set the fields named in BadRequest.";
    InvalidJson "INVALID_JSON" InvalidArgument => "The body is not JSON of the expected shape.", "Compare the body with the .proto file; the message says where it went wrong.";
    InvalidMessage "INVALID_MESSAGE" InvalidArgument => "The bytes are not the protobuf message of this method.", "Generate the client from the current .proto files.";
    InvalidPageToken "INVALID_PAGE_TOKEN" InvalidArgument => "The page token is not one of this query.", "Start again without a token, and keep the filters while paging.";
    TooManyLines "TOO_MANY_LINES" InvalidArgument => "The request has more lines than one request may have.", "Split it; the metadata names the limit.";
    MessageTooLarge "MESSAGE_TOO_LARGE" InvalidArgument => "The request is larger than the gateway reads.", "Send less at once; the metadata names the limit.";
    RequestIdReused "REQUEST_ID_REUSED" AlreadyExists => "This request id was used before, with another body.", "Take a new request id for a new wish, the same one only for a retry.";
    UnknownMethod "UNKNOWN_METHOD" Unimplemented => "There is no such method or path.", "Ask the reflection service what there is.";
    WrongVerb "WRONG_VERB" Unimplemented => "The path exists, for another HTTP method.", "Use one of the methods in the Allow header.";
    UnsupportedContent "UNSUPPORTED_CONTENT" InvalidArgument => "The content type is neither gRPC nor JSON.", "Send application/grpc over HTTP/2, or application/json.";

    // Who sent it.
    UnauthenticatedCaller "UNAUTHENTICATED_CALLER" Unauthenticated => "The method needs a token and there is none, or it is not one of ours.", "Send `authorization: Bearer <token>` with a token of this shop.";
    TokenExpired "TOKEN_EXPIRED" Unauthenticated => "The token was good and is not any more.", "Get a new one.";
    RoleForbidden "ROLE_FORBIDDEN" PermissionDenied => "The caller's roles do not include one that may do this.", "Use a token with one of the roles in the metadata, or leave the named field out.";
    NotYours "NOT_YOURS" PermissionDenied => "It belongs to somebody else.", "Only its owner or an operator can do this.";

    // What it named.
    ProductNotFound "PRODUCT_NOT_FOUND" NotFound => "There is no such product.", "Check the id; pass min_position to see your own latest write.";
    SkuNotFound "SKU_NOT_FOUND" NotFound => "There is no such SKU, or not in this product.", "Check the SKU; its product must be listed first.";
    OrderNotFound "ORDER_NOT_FOUND" NotFound => "There is no such order.", "Check the id; pass min_position to see your own latest write.";
    PaymentNotFound "PAYMENT_NOT_FOUND" NotFound => "There is no such payment.", "Check the id; pass min_position to see your own latest write.";
    DeliveryNotFound "DELIVERY_NOT_FOUND" NotFound => "There is no such delivery.", "Check the id; pass min_position to see your own latest write.";
    ReturnNotFound "RETURN_NOT_FOUND" NotFound => "There is no such return.", "Check the id; pass min_position to see your own latest write.";
    CampaignNotFound "CAMPAIGN_NOT_FOUND" NotFound => "There is no such campaign.", "Check the id; pass min_position to see your own latest write.";
    ClaimNotFound "CLAIM_NOT_FOUND" NotFound => "There is no such coupon claim.", "Check the id; claim a coupon first.";
    AlreadyExists "ALREADY_EXISTS" AlreadyExists => "Something with this name exists already.", "Choose another id, or update what is there.";

    // What the shop's rules say.
    OutOfStock "OUT_OF_STOCK" FailedPrecondition => "There are not enough units to order.", "Order at most what the metadata says is available.";
    CountBelowReserved "COUNT_BELOW_RESERVED" FailedPrecondition => "Fewer units were counted than are promised to orders.", "Count again, or cancel orders first; the metadata says how many are promised.";
    PriceChanged "PRICE_CHANGED" FailedPrecondition => "The total is not what the buyer was told.", "Show the total in the metadata and ask again.";
    ProductDelisted "PRODUCT_DELISTED" FailedPrecondition => "The product is withdrawn.", "Take it out of the cart.";
    CurrencyMismatch "CURRENCY_MISMATCH" FailedPrecondition => "Two currencies met in one sum.", "Order goods of one currency at a time.";
    AmountOverflow "AMOUNT_OVERFLOW" FailedPrecondition => "The sum is too large to be an amount.", "Order less.";
    OrderPending "ORDER_PENDING" Unavailable retry 500 => "The order is written down, but its stock could not be reserved in time; the shop goes on trying.", "Send the same request again to hear how it went, or look at the order.";
    OrderNotCancellable "ORDER_NOT_CANCELLABLE" FailedPrecondition => "The order is too far to be cancelled, or already closed.", "Return the goods once they are delivered.";
    OrderNotPayable "ORDER_NOT_PAYABLE" FailedPrecondition => "The order is not waiting for a payment.", "Look at its state.";
    OrderNotReturnable "ORDER_NOT_RETURNABLE" FailedPrecondition => "The order has not been delivered.", "Cancel it instead, or wait.";
    ReturnExceedsOrder "RETURN_EXCEEDS_ORDER" FailedPrecondition => "More units would come back than were sold and not yet returned.", "Return at most what the metadata says.";
    ReturnFinished "RETURN_FINISHED" FailedPrecondition => "The return is closed.", "Open a new one for further goods.";
    DeliveryNotReady "DELIVERY_NOT_READY" FailedPrecondition => "The delivery is not booked yet.", "Wait until the order's state is DELIVERY_BOOKED.";
    DeliveryFinished "DELIVERY_FINISHED" FailedPrecondition => "The delivery has already ended another way.", "Look at its state.";
    CouponNotOpen "COUPON_NOT_OPEN" FailedPrecondition => "The campaign has not begun.", "Come back at the time in the metadata.";
    CouponEnded "COUPON_ENDED" FailedPrecondition => "The campaign is over.", "Nothing to be done.";
    CouponExhausted "COUPON_EXHAUSTED" FailedPrecondition => "All coupons of the campaign are claimed.", "Nothing to be done.";
    CouponMemberLimit "COUPON_MEMBER_LIMIT" FailedPrecondition => "The member has claimed as many as one member can.", "Use the coupons already claimed.";
    CouponNotUsable "COUPON_NOT_USABLE" FailedPrecondition => "The coupon is held by another order, used, or not good for this one.", "Order without it, or look at its state.";
    PaymentInProgress "PAYMENT_IN_PROGRESS" FailedPrecondition => "The order is being paid already.", "Follow the order.";
    PaymentNotCaptured "PAYMENT_NOT_CAPTURED" FailedPrecondition => "The payment holds no money of ours.", "Look at its state.";
    PaymentDeclined "PAYMENT_DECLINED" FailedPrecondition => "The provider declined the payment.", "Pay with another method.";
    RefundExceedsCapture "REFUND_EXCEEDS_CAPTURE" FailedPrecondition => "All refunds together would pass what was captured.", "Refund at most what the metadata says is left.";
    EtagMismatch "ETAG_MISMATCH" Aborted => "Somebody else changed it since the etag was read.", "Read it again, decide again, and send the new etag.";

    // How the shop is.
    Contention "CONTENTION" Unavailable retry 50 => "Others kept changing the same thing; nothing was done.", "Send the same request again. If it lasts, two writers work on one store: look at them.";
    Overloaded "OVERLOADED" Unavailable retry 200 => "The gateway works on as many requests as it can; this one was not begun.", "Clients back off by themselves. Operators: more cores, or raise in_flight_max with memory in mind.";
    TooManyStreams "TOO_MANY_STREAMS" Unavailable retry 5000 => "As many followers as allowed are connected.", "Poll, or follow fewer things. Operators: watch_streams_max.";
    Deadline "DEADLINE" DeadlineExceeded => "The time for this request is over; its outcome is unknown.", "Send the same request id again to learn it. Operators: see what is slow.";
    ViewBehind "VIEW_BEHIND" Unavailable retry 500 => "The view had not reached min_position in time.", "Try again. Operators: look at the lag of the view in the metadata.";
    StorageFull "STORAGE_FULL" ResourceExhausted => "The disk of the log is full: reads work, writes do not.", "Operators: free space; writing resumes by itself.";
    StorageStopped "STORAGE_STOPPED" Unavailable retry 5000 => "The log could not be made durable and has stopped taking writes.", "Operators: check the disk, then restart; everything acknowledged is safe.";
    StorageAway "STORAGE_AWAY" Unavailable retry 500 => "The server that keeps the log, the keys or the views cannot be reached, or has too much to do, at the moment.", "Send the same request again. Operators: look at the server and at the network to it.";
    OutcomeUnknown "OUTCOME_UNKNOWN" Unavailable retry 500 => "The log was asked to write and did not answer for certain: it may have, or not.", "Send the same request again, with the same request id: it has its effect once, and its answer tells. Operators: look at the server of the log and at the network to it, or at its disk.";
    CommandsAway "COMMANDS_AWAY" Unavailable retry 500 => "No node that decides has answered the gateway: it may have been done, or not.", "Send the same request again, with the same request id: it has its effect once, and its answer tells. Operators: look at the command nodes and at the network to them.";
    ShuttingDown "SHUTTING_DOWN" Unavailable retry 1000 => "This gateway is going away.", "Connect again.";
    StreamIdle "STREAM_IDLE" Unavailable retry 1000 => "Nothing happened on this stream for long, so it was closed.", "Follow again if you still care.";
    StreamOver "STREAM_OVER" Unavailable retry 1000 => "The stream has lived as long as one may, so that followers spread over gateways.", "Follow again.";
    AnswerTooLarge "ANSWER_TOO_LARGE" ResourceExhausted => "The answer is larger than the gateway sends.", "Ask for a smaller page. Operators: message_out_max_bytes.";
    Internal "INTERNAL" Internal => "Something is wrong that should not be; the log has the details under this request.", "Operators: read the log; report it.";
}
