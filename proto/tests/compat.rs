//! Clients were written against this API: a change that would break one of them fails here.
//!
//! `accepted.txt` lists every promise on a line of its own, so that a review reads what changed. A line that
//! is gone or different is a break: a field removed, renumbered, renamed or retyped, an RPC, an enum value,
//! an HTTP path or a role that may call removed or changed. A new line is an addition: record it with
//! `ACCEPT_API=1 cargo test -p proto --test compat`, because what is not recorded could be broken unseen; where `CI` is
//! set it fails. A break cannot be accepted that way: take the line out of the file by hand, where everybody sees it.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor,
};

const PACKAGE: &str = "cartulary.v1";

fn current() -> BTreeSet<String> {
    let pool = proto::descriptor_pool().expect("the embedded descriptors are readable");
    promises(&pool).into_iter().chain(proto::POLICIES.iter().flat_map(roles)).collect()
}

/// Who may call a method. A role that may no longer, or only for its own things, is a break.
fn roles(policy: &proto::MethodPolicy) -> Vec<String> {
    let own = |role| if policy.own.contains(role) { " own" } else { "" };
    policy.roles.iter().map(|role| format!("role   {} = {}{}", policy.path, role.as_str_name(), own(role))).collect()
}

/// One line per promise that a client may rest on.
fn promises(pool: &DescriptorPool) -> BTreeSet<String> {
    let messages = pool.all_messages().filter(|m| m.package_name() == PACKAGE && !m.is_map_entry());
    let enums = pool.all_enums().filter(|e| e.package_name() == PACKAGE);
    let services = pool.services().filter(|s| s.package_name() == PACKAGE);
    let mut lines = BTreeSet::new();
    lines.extend(messages.flat_map(|message| fields(&message)));
    lines.extend(enums.flat_map(|kind| values(&kind)));
    for service in services {
        lines.extend(service.methods().flat_map(|method| method_lines(&method)));
    }
    lines
}

fn fields(message: &MessageDescriptor) -> Vec<String> {
    message.fields().map(|field| field_line(&field)).collect()
}

fn field_line(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(kind) => kind.full_name().to_owned(),
        scalar => format!("{scalar:?}"),
    };
    let label = match field.cardinality() {
        Cardinality::Repeated => "repeated ",
        _ if field.supports_presence() && field.containing_oneof().is_none() => "present ",
        _ => "",
    };
    let group = field.containing_oneof().map(|o| format!(" in {}", o.name())).unwrap_or_default();
    format!("field  {} = {} : {label}{kind}{group}", field.full_name(), field.number())
}

fn values(kind: &EnumDescriptor) -> Vec<String> {
    let name = kind.full_name();
    kind.values().map(|value| format!("value  {name}.{} = {}", value.name(), value.number())).collect()
}

fn method_lines(method: &MethodDescriptor) -> Vec<String> {
    let name = method.full_name();
    let stream = |streams| if streams { "stream " } else { "" };
    let call = format!(
        "rpc    {name}({}{}) -> {}{}",
        stream(method.is_client_streaming()),
        method.input().full_name(),
        stream(method.is_server_streaming()),
        method.output().full_name(),
    );
    std::iter::once(call).chain(http(method).map(|path| format!("http   {name} = {path}"))).collect()
}

fn http(method: &MethodDescriptor) -> Option<String> {
    let option = method.parent_pool().get_extension_by_name("google.api.http")?;
    let options = method.options();
    let rule = options.get_extension(&option);
    let rule: &DynamicMessage = rule.as_message()?;
    let text = |name: &str| rule.get_field_by_name(name).and_then(|v| v.as_str().map(str::to_owned));
    let verb = ["get", "put", "post", "delete", "patch"].into_iter().find(|v| rule.has_field_by_name(v))?;
    let body = text("body").filter(|b| !b.is_empty()).map(|b| format!(" body {b}")).unwrap_or_default();
    Some(format!("{} {}{body}", verb.to_uppercase(), text(verb)?))
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/accepted.txt")
}

/// What was promised and is no longer so.
fn breaks(accepted: &BTreeSet<String>, current: &BTreeSet<String>) -> Vec<String> {
    accepted.difference(current).cloned().collect()
}

#[test]
fn nothing_that_was_promised_has_changed() {
    let accepted = fs::read_to_string(file()).expect("tests/accepted.txt is readable");
    let accepted: BTreeSet<String> = accepted.lines().map(str::to_owned).collect();
    let current = current();
    let broken = breaks(&accepted, &current);
    assert!(
        broken.is_empty(),
        "this would break clients:\n  {}\nIf that is really meant, take these lines out of {} by hand.",
        broken.join("\n  "),
        file().display(),
    );
    let added: Vec<_> = current.difference(&accepted).cloned().collect();
    if env::var_os("ACCEPT_API").is_some() {
        let text: String = current.iter().map(|line| format!("{line}\n")).collect();
        fs::write(file(), text).expect("tests/accepted.txt is writable");
    } else if !added.is_empty() {
        let told = "new in the API, not recorded yet (ACCEPT_API=1 cargo test -p proto --test compat)";
        assert!(env::var_os("CI").is_none(), "{told}:\n  {}", added.join("\n  "));
        println!("{told}:\n  {}", added.join("\n  "));
    }
}

#[test]
fn a_field_that_is_renumbered_renamed_retyped_or_gone_is_a_break_and_a_new_one_is_not() {
    let with = |body: &str| {
        let file = prost_types::FileDescriptorProto {
            name: Some("planted.proto".to_owned()),
            package: Some(PACKAGE.to_owned()),
            syntax: Some("proto3".to_owned()),
            message_type: vec![planted(body)],
            ..Default::default()
        };
        promises(
            &DescriptorPool::from_file_descriptor_set(prost_types::FileDescriptorSet { file: vec![file] })
                .expect("valid"),
        )
    };
    let accepted = with("sku:1:string count:2:uint32");
    for broken in
        ["count:2:uint32", "sku:3:string count:2:uint32", "name:1:string count:2:uint32", "sku:1:string count:2:string"]
    {
        assert_eq!(breaks(&accepted, &with(broken)).len(), 1, "{broken}");
    }
    assert!(breaks(&accepted, &with("sku:1:string count:2:uint32 new:3:string")).is_empty());
}

/// A message from `name:number:type` words.
fn planted(body: &str) -> prost_types::DescriptorProto {
    use prost_types::field_descriptor_proto::{Label, Type};
    let fields = body.split(' ').map(|word| {
        let parts: Vec<&str> = word.split(':').collect();
        let kind = if parts[2] == "string" { Type::String } else { Type::Uint32 };
        prost_types::FieldDescriptorProto {
            name: Some(parts[0].to_owned()),
            number: Some(parts[1].parse().expect("a number")),
            label: Some(Label::Optional.into()),
            r#type: Some(kind.into()),
            ..Default::default()
        }
    });
    prost_types::DescriptorProto { name: Some("Planted".to_owned()), field: fields.collect(), ..Default::default() }
}

#[test]
fn everything_a_client_sees_is_explained() {
    let pool = proto::descriptor_pool().expect("the embedded descriptors are readable");
    let mut silent = Vec::new();
    for file in pool.files().filter(|file| file.package_name() == PACKAGE) {
        let file = file.file_descriptor_proto();
        let comments: BTreeSet<&[i32]> = file
            .source_code_info
            .iter()
            .flat_map(|info| &info.location)
            .filter(|place| !place.leading_comments().trim().is_empty())
            .map(|place| place.path.as_slice())
            .collect();
        let mut check = |path: Vec<i32>, name: String| {
            if !comments.contains(path.as_slice()) {
                silent.push(name);
            }
        };
        for (m, message) in (0..).zip(&file.message_type) {
            check(vec![4, m], message.name().to_owned());
            for (f, field) in (0..).zip(&message.field) {
                check(vec![4, m, 2, f], format!("{}.{}", message.name(), field.name()));
            }
        }
        for (e, kind) in (0..).zip(&file.enum_type) {
            check(vec![5, e], kind.name().to_owned());
            for (v, value) in (0..).zip(&kind.value) {
                check(vec![5, e, 2, v], value.name().to_owned());
            }
        }
        for (s, service) in (0..).zip(&file.service) {
            check(vec![6, s], service.name().to_owned());
            for (r, rpc) in (0..).zip(&service.method) {
                check(vec![6, s, 2, r], format!("{}.{}", service.name(), rpc.name()));
            }
        }
    }
    assert!(silent.is_empty(), "without a comment: {silent:?}");
}

#[test]
fn the_policy_table_is_sorted_and_knows_every_method() {
    let pool = proto::descriptor_pool().expect("the embedded descriptors are readable");
    let services: Vec<_> = pool.services().filter(|s| s.package_name() == PACKAGE).collect();
    let mut paths: Vec<String> = services
        .iter()
        .flat_map(|s| s.methods().map(|m| format!("/{}/{}", s.full_name(), m.name())).collect::<Vec<_>>())
        .collect();
    paths.sort();
    let table: Vec<&str> = proto::POLICIES.iter().map(|row| row.path).collect();
    assert_eq!(table, paths);
    for path in &paths {
        assert!(proto::policy(path).is_some_and(|row| row.path == path && !row.roles.is_empty()));
    }
    assert!(proto::policy("/cartulary.v1.OrderService/Unknown").is_none());
}
