//! A call that does nothing, through the same door as everything else.

use bytes::Bytes;
use proto::v1;
use tonic::{Request, Response, Status};

use crate::error::invalid;

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Answers are slices of this: an echo measures the door, not the allocator.
static ZEROS: [u8; ANSWER_BYTES_MAX] = [0; ANSWER_BYTES_MAX];

pub(super) struct Echo;

#[tonic::async_trait]
impl v1::echo_service_server::EchoService for Echo {
    async fn echo(&self, request: Request<v1::EchoRequest>) -> Result<Response<v1::EchoResponse>, Status> {
        let wanted = usize::try_from(request.get_ref().answer_bytes).unwrap_or(usize::MAX);
        let payload = ZEROS
            .get(..wanted)
            .ok_or_else(|| invalid("answer_bytes", format!("must be at most {ANSWER_BYTES_MAX}")))?;
        Ok(Response::new(v1::EchoResponse { payload: Bytes::from_static(payload) }))
    }
}
