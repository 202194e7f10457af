//! The one shape of an aggregate: decide what happens, fold what happened.
//!
//! Both functions are pure and have no `self`. `decide` holds every rule; `evolve` holds none and never
//! fails, because an event that was stored is a fact that nobody may refuse. An empty answer from
//! `decide` means *already so*, which is what makes every retry harmless.

use serde::{Serialize, de::DeserializeOwned};

use crate::personal::Sealable;

/// An aggregate: its stream, its facts and its rules.
pub trait Decider: Send + Sync + 'static {
    /// The first word of the aggregate's streams: `<CATEGORY>-<id>`.
    const CATEGORY: &'static str;
    /// The version of `evolve`. A snapshot written by another version is never read, so whoever
    /// changes what `evolve` yields must raise it.
    const FOLD: u32;
    /// What names one aggregate of this kind; its `Display` is the rest of the stream's name.
    type Id: Clone + Eq + std::hash::Hash + std::fmt::Display + Send + Sync + 'static;
    /// What `decide` needs to remember, and nothing more: what people look at belongs to a view.
    /// It serialises because snapshots do; unlike an event its form may change with [`Self::FOLD`].
    type State: Clone + Default + Send + Sync + Serialize + DeserializeOwned + 'static;
    /// A wish, in the imperative; it carries the time and every id it needs.
    type Command: Send + Sync + 'static;
    /// A fact, in the past tense: the stored contract.
    type Event: Stored;
    /// Why a wish was refused: a value with the facts that explain it.
    type Rejection: std::error::Error + Clone + Send + Sync + 'static;

    /// Decides what `command` makes happen in `state`.
    ///
    /// # Errors
    /// A [`Self::Rejection`] when the rules forbid it; nothing has changed then.
    fn decide(state: &Self::State, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// True for a command that makes a new aggregate whose id derives from its own request: the desk then
    /// spares the read of a stream that is empty, and learns of the rare repeat when it appends.
    #[must_use]
    fn creates(_command: &Self::Command) -> bool {
        false
    }

    /// Folds one event into the state. Total: it never fails and holds no rules.
    #[must_use]
    fn evolve(state: Self::State, event: &Self::Event) -> Self::State;
}

/// Folds a whole history from the beginning.
pub fn fold<'a, D: Decider>(history: impl IntoIterator<Item = &'a D::Event>) -> D::State
where
    D::Event: 'a,
{
    history.into_iter().fold(D::State::default(), D::evolve)
}

/// An event as the log keeps it: a type name, a schema version and a JSON body.
pub trait Stored: Clone + std::fmt::Debug + PartialEq + Send + Sync + Sized + 'static {
    /// The stored type, e.g. `order.placed`.
    fn kind(&self) -> &'static str;

    /// The version of the body's schema that this code writes.
    fn schema(&self) -> u32;

    /// The JSON body.
    ///
    /// # Errors
    /// When a personal field has not been sealed: open personal data is never written.
    fn encode(&self) -> Result<Vec<u8>, EncodeError>;

    /// Reads a stored body of any version that was ever written.
    ///
    /// # Errors
    /// When the type or version is unknown, or the body does not match it.
    fn decode(kind: &str, schema: u32, body: &[u8]) -> Result<Self, DecodeError>;

    /// Every personal field, in a fixed order, so that a codec can seal and open it.
    fn personal(&mut self) -> Vec<&mut dyn Sealable> {
        Vec::new()
    }
}

/// Why an event could not be written.
#[derive(Debug, thiserror::Error)]
#[error("event {kind} cannot be written: {cause}")]
pub struct EncodeError {
    /// The stored type.
    pub kind: &'static str,
    /// What the JSON writer said.
    pub cause: serde_json::Error,
}

/// Why stored bytes could not be read as an event.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No code knows this type in this version.
    #[error("unknown event type {kind} in schema version {schema}")]
    Unknown {
        /// The stored type.
        kind: String,
        /// The stored schema version.
        schema: u32,
    },
    /// The body is not what its type and version promise.
    #[error("event {kind} (schema {schema}) does not decode: {cause}")]
    Body {
        /// The stored type.
        kind: String,
        /// The stored schema version.
        schema: u32,
        /// What the JSON reader said.
        cause: serde_json::Error,
    },
}

/// Declares an aggregate's events: the enum, its stored names and versions, and conversions.
///
/// Each variant wraps a struct of the same name, which is the stored contract of the newest schema.
/// Older versions are upcast where they are read: `"order.placed" 2 { 1 => PlacedV1 }` reads version 1
/// as `PlacedV1` and converts it with `Into`. `personal [field, …]` names fields that are sealed.
#[macro_export]
macro_rules! events {
    (
        $(#[$meta:meta])*
        $enum:ident {
            $(
                $(#[$vmeta:meta])*
                $variant:ident = $kind:literal $schema:literal
                $({ $($old:literal => $oldty:ty),+ $(,)? })?
                $(personal [$($field:ident),+])?
            ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $enum {
            $( $(#[$vmeta])* $variant($variant), )+
        }

        $(
            impl From<$variant> for $enum {
                fn from(event: $variant) -> Self {
                    Self::$variant(event)
                }
            }
        )+

        impl $enum {
            /// Every stored type with its newest schema version, for the golden files.
            pub const KINDS: &'static [(&'static str, u32)] = &[$(($kind, $schema)),+];
        }

        impl $crate::decider::Stored for $enum {
            fn kind(&self) -> &'static str {
                match self { $( Self::$variant(_) => $kind, )+ }
            }

            fn schema(&self) -> u32 {
                match self { $( Self::$variant(_) => $schema, )+ }
            }

            fn encode(&self) -> Result<Vec<u8>, $crate::decider::EncodeError> {
                match self {
                    $( Self::$variant(event) => serde_json::to_vec(event), )+
                }
                .map_err(|cause| $crate::decider::EncodeError { kind: self.kind(), cause })
            }

            fn decode(kind: &str, schema: u32, body: &[u8]) -> Result<Self, $crate::decider::DecodeError> {
                let event = match (kind, schema) {
                    $(
                        ($kind, $schema) => serde_json::from_slice::<$variant>(body).map(Self::$variant),
                        $($(
                            ($kind, $old) => serde_json::from_slice::<$oldty>(body)
                                .map(|old| Self::$variant(old.into())),
                        )+)?
                    )+
                    _ => return Err($crate::decider::DecodeError::Unknown { kind: kind.to_owned(), schema }),
                };
                event.map_err(|cause| $crate::decider::DecodeError::Body { kind: kind.to_owned(), schema, cause })
            }

            #[allow(unused_mut, unused_variables, clippy::allow_attributes, reason = "most variants hold no personal field")]
            fn personal(&mut self) -> Vec<&mut dyn $crate::personal::Sealable> {
                match self {
                    $(
                        Self::$variant(event) => {
                            let mut fields: Vec<&mut dyn $crate::personal::Sealable> = Vec::new();
                            $($( $crate::personal::Fields::collect(&mut event.$field, &mut fields); )+)?
                            fields
                        }
                    )+
                }
            }
        }
    };
}
