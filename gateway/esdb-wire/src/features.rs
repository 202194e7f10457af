//! What a client asks first: which methods there are, and who is in the cluster.

use ports::clock::Clock;
use std::sync::Arc;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    envelope::Spelling,
    wire::{
        self,
        gossip::{ClusterInfo, EndPoint, Member, State, gossip_server},
        server_features::{Method, SupportedMethods, server_features_server},
    },
};

/// The version whose behaviour is kept here; clients ask for it before they use what is newer.
const VERSION: &str = "24.10.0";

const METHODS: [(&str, &str); 7] = [
    ("event_store.client.streams.streams", "read"),
    ("event_store.client.streams.streams", "append"),
    ("event_store.client.streams.streams", "batchappend"),
    ("event_store.client.streams.streams", "delete"),
    ("event_store.client.streams.streams", "tombstone"),
    ("event_store.client.gossip.gossip", "read"),
    ("event_store.client.server_features.serverfeatures", "getsupportedmethods"),
];

/// Tells what there is. It needs no credentials: clients ask before they send any.
pub struct Features;

#[async_trait::async_trait]
impl server_features_server::ServerFeatures for Features {
    async fn get_supported_methods(&self, _: Request<wire::Empty>) -> Result<Response<SupportedMethods>, Status> {
        let methods = METHODS.map(|(service, method)| Method {
            method_name: method.to_owned(),
            service_name: service.to_owned(),
            features: Vec::new(),
        });
        Ok(Response::new(SupportedMethods { methods: methods.into(), version: VERSION.to_owned() }))
    }
}

/// A cluster of one.
pub struct Alone {
    pub id: Uuid,
    pub clock: Arc<dyn Clock>,
    pub address: String,
    pub port: u16,
}

#[async_trait::async_trait]
impl gossip_server::Gossip for Alone {
    async fn read(&self, _: Request<wire::Empty>) -> Result<Response<ClusterInfo>, Status> {
        let member = Member {
            instance_id: Some(Spelling::Text.spell(self.id)),
            // Ticks of 100 ns since the year 1.
            time_stamp: self.clock.now().as_microsecond().saturating_mul(10).saturating_add(621_355_968_000_000_000),
            state: State::Leader as i32,
            is_alive: true,
            http_end_point: Some(EndPoint { address: self.address.clone(), port: self.port.into() }),
        };
        Ok(Response::new(ClusterInfo { members: vec![member] }))
    }
}
