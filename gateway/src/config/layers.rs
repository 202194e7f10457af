//! The layers of a configuration, laid over one another before anything is validated.

use std::{collections::BTreeMap, fs, path::Path};

use toml::{Table, Value};

use super::{
    Config, Error,
    typed::{self, Typed},
};

/// The prefix of every environment variable that sets something.
const PREFIX: &str = "CARTULARY_";
/// Where an environment variable's name has a dot in the file.
const DOT: &str = "__";
/// Variables with the prefix that are no settings: the log filter, the file's own name, a client's token.
const RESERVED: [&str; 3] = ["CARTULARY_LOG", "CARTULARY_CONFIG", "CARTULARY_TOKEN"];

/// What was typed so far.
#[derive(Debug, Default)]
pub struct Layers {
    typed: Table,
    /// Which layer each setting is from.
    origins: BTreeMap<String, String>,
}

/// A setting as it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its name, e.g. `limits.in_flight_max`.
    pub key: String,
    /// Its value, as it would be typed.
    pub value: Value,
    /// Which layer it is from; `None` for a default.
    pub origin: Option<String>,
}

impl Layers {
    /// Lays a TOML file over what is there.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Layer`].
    pub fn file(self, path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let origin = || path.display().to_string();
        let table: Table =
            text.parse().map_err(|why: toml::de::Error| Error::Layer { origin: origin(), why: why.to_string() })?;
        self.lay(table, origin)
    }

    /// Lays the environment over what is there.
    ///
    /// # Errors
    /// [`Error::Layer`] for a variable that names nothing.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        for (name, text) in variables {
            let Some(key) = name.strip_prefix(PREFIX).filter(|_| !RESERVED.contains(&name.as_str())) else { continue };
            let key = key.to_lowercase().replace(DOT, ".");
            self = self.one(&key, &text, || format!("the environment variable {name}"))?;
        }
        Ok(self)
    }

    /// Lays one setting over what is there: `limits.in_flight_max`, `256`.
    ///
    /// # Errors
    /// [`Error::Layer`] when nothing has this name.
    pub fn set(self, key: &str, text: &str) -> Result<Self, Error> {
        self.one(key, text, || format!("the setting {key}"))
    }

    /// Lays one setting over what is there, as text whatever it looks like.
    ///
    /// # Errors
    /// [`Error::Layer`] when nothing has this name.
    pub fn set_text(self, key: &str, text: &str) -> Result<Self, Error> {
        self.lay(nested(key, Value::String(text.to_owned())), || format!("the setting {key}"))
    }

    /// The configuration that was typed.
    ///
    /// # Errors
    /// [`Error::Value`] for a value outside its bounds.
    pub fn validate(self) -> Result<Config, Error> {
        typed(self.typed, || "the configuration".to_owned())?.validate()
    }

    /// Every setting there is, with its value and where that is from.
    ///
    /// # Errors
    /// [`Error::Value`] for a value outside its bounds.
    pub fn settings(self) -> Result<Vec<Setting>, Error> {
        let mut origins = self.origins;
        let config = typed(self.typed, || "the configuration".to_owned())?.validate()?;
        let shown = typed::shown(&config).into_iter();
        Ok(shown.map(|(key, value)| Setting { origin: origins.remove(&key), key, value }).collect())
    }

    /// A value that looks like a number may still be meant as text: a folder can be called `7`.
    fn one(self, key: &str, text: &str, origin: impl Fn() -> String) -> Result<Self, Error> {
        let value = match typed(nested(key, value(text)), &origin) {
            Ok(_) => value(text),
            Err(error) => match typed(nested(key, Value::String(text.to_owned())), &origin) {
                Ok(_) => Value::String(text.to_owned()),
                Err(_) => return Err(error),
            },
        };
        self.lay(nested(key, value), origin)
    }

    /// Each layer is read by itself first, so that what is wrong with it is said with its name.
    fn lay(mut self, table: Table, origin: impl Fn() -> String) -> Result<Self, Error> {
        typed(table.clone(), &origin)?;
        note("", &table, &origin(), &mut self.origins);
        merge(&mut self.typed, table);
        Ok(self)
    }
}

fn typed(table: Table, origin: impl FnOnce() -> String) -> Result<Typed, Error> {
    table.try_into().map_err(|why: toml::de::Error| Error::Layer { origin: origin(), why: why.message().to_owned() })
}

/// Notes where every setting of a layer is from.
fn note(section: &str, table: &Table, origin: &str, origins: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
        match value {
            Value::Table(table) => note(&key, table, origin, origins),
            _ => drop(origins.insert(key, origin.to_owned())),
        }
    }
}

fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

fn nested(key: &str, value: Value) -> Table {
    let mut parts = key.rsplit('.');
    let mut table = Table::new();
    table.insert(parts.next().unwrap_or_default().to_owned(), value);
    for part in parts {
        table = Table::from_iter([(part.to_owned(), Value::Table(table))]);
    }
    table
}

/// A number, a truth value or a list as the file would have it; everything else is text.
fn value(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok();
    let value = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn file(text: &str) -> Result<Layers, Error> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.toml");
        fs::write(&path, text).expect("written");
        Layers::default().file(&path)
    }

    fn environment(layers: Layers, variables: &[(&str, &str)]) -> Result<Layers, Error> {
        layers.environment(variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())))
    }

    #[test]
    fn nothing_typed_is_the_defaults() {
        let config = Layers::default().validate().expect("valid");
        assert_eq!((config.listen, config.data.to_str()), (super::super::LISTEN, Some("data")));
        assert_eq!(config.limits.in_flight_max, crate::limits::Limits::default().in_flight_max);
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let layers = file("data = 'a'\n[limits]\nin_flight_max = 1\npage_size_max = 10\ndrain = '3s'").expect("read");
        let variables = [("CARTULARY_LIMITS__IN_FLIGHT_MAX", "2"), ("CARTULARY_DATA", "7"), ("CARTULARY_LOG", "x")];
        let layers = environment(layers, &variables).expect("read");
        let config = layers.set("limits.in_flight_max", "3").and_then(|layers| layers.set_text("data", "b"));
        let config = config.and_then(Layers::validate).expect("valid");
        assert_eq!((config.limits.in_flight_max, config.limits.page_size_max), (3, 10));
        assert_eq!((config.data.to_str(), config.limits.drain), (Some("b"), Duration::from_secs(3)));
    }

    #[test]
    fn every_setting_is_shown_as_it_would_be_typed_with_where_it_is_from() {
        let layers = file("[limits]\ndrain = '90s'\npage_size_max = 10").expect("read");
        let layers = environment(layers, &[("CARTULARY_LIMITS__PAGE_SIZE_MAX", "20")]).expect("read");
        let settings = layers.set_text("data", "7").and_then(Layers::settings).expect("valid");
        let of = |key: &str| settings.iter().find(|setting| setting.key == key).expect("shown");
        assert_eq!(
            (of("limits.drain").value.as_str(), of("limits.page_size_max").value.as_integer()),
            (Some("1m 30s"), Some(20))
        );
        assert!(of("limits.drain").origin.as_ref().is_some_and(|origin| origin.ends_with("shop.toml")));
        let page_size = of("limits.page_size_max").origin.as_deref();
        assert_eq!(page_size, Some("the environment variable CARTULARY_LIMITS__PAGE_SIZE_MAX"));
        assert_eq!((of("data").origin.as_deref(), of("listen").origin.as_deref()), (Some("the setting data"), None));

        let mut again = Layers::default();
        for Setting { key, value, .. } in &settings {
            again = again.set(key, &value.to_string()).expect("a setting is read as it is shown");
        }
        let again = again.settings().expect("valid");
        let values = |settings: &[Setting]| settings.iter().map(|setting| setting.value.clone()).collect::<Vec<_>>();
        assert_eq!(values(&again), values(&settings));
    }

    #[test]
    fn a_name_that_nothing_has_is_refused_with_its_layer() {
        let says = |result: Result<Layers, Error>| result.expect_err("refused").to_string();
        assert!(says(file("[limits]\nin_flight = 1")).contains("in_flight"));
        assert!(says(file("[limit]\n")).contains("shop.toml: unknown field `limit`"));
        let misspelt = environment(Layers::default(), &[("CARTULARY_LIMITS_IN_FLIGHT_MAX", "1")]);
        assert!(says(misspelt).starts_with("the environment variable CARTULARY_LIMITS_IN_FLIGHT_MAX: unknown field"));
        assert!(
            says(Layers::default().set("runner.eager", "1s")).starts_with("the setting runner.eager: unknown field")
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_or_outside_its_bounds_is_refused_by_name() {
        let refuse = |key: &str, text: &str| {
            let result = Layers::default().set(key, text).and_then(Layers::validate);
            result.expect_err("refused").to_string()
        };
        assert_eq!(refuse("limits.in_flight_max", "0"), "limits.in_flight_max must be at least 1");
        assert!(refuse("limits.in_flight_max", "many").contains("invalid type"));
        assert_eq!(
            refuse("limits.drain", "fast"),
            "limits.drain must be a duration such as 250ms, 10s or 15m, not \"fast\""
        );
        assert_eq!(refuse("shop.order_ttl", "0s"), "shop.order_ttl must be more than nothing");
        assert_eq!(refuse("sandbox.payments.decline", "1.5"), "sandbox.payments.decline must be from 0 to 1");
        assert!(refuse("listen", "here").starts_with("listen must be an address"));
        assert!(refuse("roles", "[\"gateway\", \"rely\"]").contains("unknown variant `rely`"));
    }

    #[test]
    fn a_database_has_replicas_and_a_certificate_and_no_password_is_shown() {
        let text = "[postgres]\nurl = 'postgres://me:secret@db/shop'\nroot_certificate_file = '/etc/db.pem'\n\
                    [postgres.views]\nread_max = '3s'\nreplica_urls = ['postgres://me:secret@one/shop', 'host=two']";
        let layers = || file(text).expect("read");
        let settings = layers().settings().expect("valid");
        let shown: String = settings.iter().map(|setting| format!("{}={}\n", setting.key, setting.value)).collect();
        assert!(shown.contains("postgres://me:***@one/shop") && !shown.contains("secret"), "{shown}");
        assert!(shown.contains("postgres.root_certificate_file=\"/etc/db.pem\""), "{shown}");
        let postgres = layers().validate().expect("valid").postgres;
        assert_eq!((postgres.followers().len(), postgres.views.read_max), (2, Duration::from_secs(3)));
        let typed = Layers::default().set("postgres.url", "postgres://me:secret@db/shop").expect("a setting");
        assert!(!format!("{:?}", typed.settings().expect("valid")).contains("secret"), "nor where it is from");
        for server in postgres.followers().into_iter().chain([postgres.server()]) {
            assert!(format!("{server:?}").contains("/etc/db.pem"), "each has to prove itself");
        }
    }

    #[test]
    fn a_replicas_address_may_be_a_secret_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let secret = folder.path().join("replica");
        std::fs::write(&secret, "postgres://me:secret@two/shop\n").expect("written");
        let text = |path: &std::path::Path| {
            let path = path.display();
            format!(
                "[postgres]\nurl = 'postgres://db/shop'\n[postgres.views]\nreplica_urls = ['postgres://one/shop']\n\
                 replica_url_files = ['{path}']"
            )
        };
        let layers = || file(&text(&secret)).expect("read");
        let settings = layers().settings().expect("valid");
        let shown: String = settings.iter().map(|setting| format!("{}={}\n", setting.key, setting.value)).collect();
        assert!(shown.contains(&format!("postgres.views.replica_url_files=[\"{}\"]", secret.display())), "{shown}");
        assert!(shown.contains("replica_urls=[\"postgres://one/shop\"]") && !shown.contains("secret@"), "{shown}");
        let replicas = layers().validate().expect("valid").postgres.replicas;
        let urls: Vec<&str> = replicas.iter().map(super::super::Address::url).collect();
        assert_eq!(urls, ["postgres://one/shop", "postgres://me:secret@two/shop"]);
        let missing = file(&text(&folder.path().join("none"))).expect("read").validate().expect_err("refused");
        assert!(missing.to_string().starts_with("postgres.views.replica_url_files cannot be read"), "{missing}");
    }

    #[test]
    fn the_protocols_door_is_set_whole_or_not_at_all() {
        let wire = |text: &str| file(&format!("[wire]\nlisten = '0.0.0.0:2113'\n{text}")).expect("read").validate();
        let set = wire("advertised = 'log.example.com:2113'\ncertificate_file = 'a.pem'\nkey_file = 'b.pem'");
        let set = set.expect("valid").wire;
        assert_eq!(set.advertised, Some(("log.example.com".to_owned(), 2113)));
        assert!(set.certificate.is_some());
        let says = |text: &str| wire(text).expect_err("refused").to_string();
        assert!(says("certificate_file = 'a.pem'").starts_with("wire.key_file must be set"));
        assert!(says("key_file = 'b.pem'").starts_with("wire.certificate_file must be set"));
        for bad in ["", "log.example.com", ":2113", "log:port"] {
            assert!(says(&format!("advertised = '{bad}'")).starts_with("wire.advertised must be a host and a port"));
        }
    }

    #[test]
    fn a_feed_names_a_path_a_member_and_a_role() {
        let member = "01920000-0000-7000-8000-000000000042";
        let feed = |name: &str, post: &str, member: &str, role: &str| {
            let text = format!("[nats.feeds.'{name}']\npost = '{post}'\nmember = '{member}'\nrole = '{role}'");
            file(&text).expect("read").validate()
        };
        let config = feed("dhl", "/delivery/process-delivery", member, "partner").expect("valid");
        assert_eq!(config.nats.feeds["dhl"].role, proto::v1::Role::Partner);
        let cases = [
            ("D HL", "/a", member, "partner", "nats.feeds.D HL.post"),
            ("dhl", "a", member, "partner", "nats.feeds.dhl.post"),
            ("dhl", "/a?b=c", member, "partner", "nats.feeds.dhl.post"),
            ("dhl", "/a", "me", "partner", "nats.feeds.dhl.member"),
            ("dhl", "/a", member, "anyone", "nats.feeds.dhl.role"),
        ];
        for (name, post, member, role, setting) in cases {
            let refused = feed(name, post, member, role).expect_err("refused").to_string();
            assert!(refused.starts_with(setting), "{refused}");
        }
    }

    #[test]
    fn roles_say_what_runs_here() {
        let typed = Layers::default().set("roles", "[\"gateway\", \"commands\", \"projections\"]");
        let config = typed.and_then(Layers::validate).expect("valid");
        assert!(config.gateway && config.commands && config.projections && !config.processes);
        let relay = file("roles = ['relay']").and_then(Layers::validate).expect("valid");
        assert!(!relay.gateway && !relay.commands && relay.relays);
        assert!(file("roles = []").and_then(Layers::validate).is_err(), "a process has something to do");
    }

    #[test]
    fn a_gateway_that_does_not_decide_knows_who_does() {
        let read = |roles: &str, urls: &str| {
            let text = format!("roles = [{roles}]\n[command_nodes]\nurls = [{urls}]\nrest_max = '2s'");
            file(&text).and_then(Layers::validate)
        };
        let config = read("'gateway'", "'http://10.0.0.1:50051', 'http://two:50051/'").expect("valid");
        let nodes: Vec<_> = config.command_nodes.urls.iter().map(ToString::to_string).collect();
        assert_eq!(nodes, ["http://10.0.0.1:50051/", "http://two:50051/"]);
        assert_eq!(config.command_nodes.limits.rest_max, std::time::Duration::from_secs(2));
        let surroundings = [("CARTULARY_ROLES", "['gateway']"), ("CARTULARY_COMMAND_NODES__URLS", "['http://one:1']")];
        let config = environment(Layers::default(), &surroundings).and_then(Layers::validate).expect("valid");
        assert!(config.gateway && !config.commands && config.command_nodes.urls.len() == 1);
        let why = |roles: &str, urls: &str| read(roles, urls).expect_err("refused").to_string();
        assert!(why("'gateway', 'relay'", "").starts_with("command_nodes.urls must name who decides"));
        assert!(
            why("'gateway', 'commands'", "'http://one:1'").starts_with("command_nodes.urls are for a process without")
        );
        assert!(why("'gateway'", "'http://one:1', 'http://one:1/'").contains("twice"));
        for url in ["https://one:1", "one:1", "http://one:1/path", "http://one:1?x", "", "http://"] {
            let refused = why("'gateway'", &format!("'{url}'"));
            assert!(refused.starts_with("command_nodes.urls must hold addresses such as"), "{url}: {refused}");
        }
    }
}
