//! Compiles the .proto files without protoc, refuses an API with holes, and generates the code.
//!
//! protox compiles in Rust, so no machine needs anything installed. Before any code is generated every RPC is
//! checked: one without a policy (or without a path for the JSON twin) fails the build here, which is the
//! earliest moment anybody can notice.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, Kind, MethodDescriptor, ReflectMessage as _, ServiceDescriptor,
};

/// The public API, one file per noun.
const API: [&str; 11] =
    ["catalog", "common", "coupon", "delivery", "echo", "order", "payment", "policy", "report", "returns", "stock"];

/// Definitions that clients need to read our errors, though no message of ours names them.
const FOR_CLIENTS: [&str; 2] = ["third_party/google/rpc/status.proto", "third_party/google/rpc/error_details.proto"];

fn main() {
    if let Err(error) = build() {
        // Printed as it reads, not as Rust would quote it.
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=cartulary");
    println!("cargo:rerun-if-changed=third_party");
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);

    let mut compiler = protox::Compiler::new(["third_party", "."])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(API.iter().map(|name| format!("cartulary/v1/{name}.proto")))?;
    compiler.open_files(FOR_CLIENTS)?;
    // The encoded form keeps the custom options; the decoded one below has lost them.
    fs::write(out.join("descriptors.binpb"), compiler.encode_file_descriptor_set())?;
    fs::write(out.join("policies.rs"), policy_table(&compiler.descriptor_pool())?)?;

    let mut files = compiler.file_descriptor_set();
    // Options and error details need no types of ours.
    files.file.retain(|file| !matches!(file.package(), "google.api" | "google.rpc"));
    tonic_prost_build::configure().bytes(".").emit_rerun_if_changed(false).compile_fds(files)?;
    Ok(())
}

/// The source of `POLICIES`, sorted by path.
fn policy_table(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let policy = pool.get_extension_by_name("cartulary.v1.policy").ok_or("policy.proto has lost its option")?;
    let http = pool.get_extension_by_name("google.api.http").ok_or("google/api/annotations.proto is missing")?;
    let mut rows = Vec::new();
    let mut holes = Vec::new();
    let services: Vec<_> = pool.services().filter(|service| service.package_name() == "cartulary.v1").collect();
    for method in services.iter().flat_map(ServiceDescriptor::methods) {
        let options = method.options();
        match policy_row(&method, &options, &policy) {
            Ok(row) => rows.push((path(&method), row)),
            Err(hole) => holes.push(hole),
        }
        if !options.has_extension(&http) {
            holes.push(format!("{} has no google.api.http path", method.full_name()));
        }
    }
    if !holes.is_empty() {
        return Err(format!("the API has holes:\n  {}", holes.join("\n  ")).into());
    }
    rows.sort();
    let mut source = String::from("&[\n");
    for (_, row) in rows {
        writeln!(source, "    {row},")?;
    }
    source.push_str("]\n");
    Ok(source)
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// One row of the table, or the sentence that says what is wrong with the policy.
fn policy_row(
    method: &MethodDescriptor,
    options: &DynamicMessage,
    policy: &ExtensionDescriptor,
) -> Result<String, String> {
    let name = method.full_name();
    if !options.has_extension(policy) {
        return Err(format!("{name} has no policy: add `option (policy) = {{ roles: [ROLE_…] }};`"));
    }
    let value = options.get_extension(policy);
    let message = value.as_message().ok_or_else(|| format!("{name}: its policy is not a message"))?;
    let roles = role_list(message, "roles").map_err(|fault| format!("{name}: {fault}"))?;
    let own = role_list(message, "own").map_err(|fault| format!("{name}: {fault}"))?;
    if roles.is_empty() {
        return Err(format!("{name} has a policy without roles"));
    }
    if let Some(stray) = own.iter().find(|role| !roles.contains(role)) {
        return Err(format!("{name}: {stray} is in `own` but not in `roles`"));
    }
    let list = |roles: &[String]| roles.iter().map(|r| format!("v1::Role::{r}")).collect::<Vec<_>>().join(", ");
    let about = about(method, message).map_err(|fault| format!("{name}: {fault}"))?;
    Ok(format!(
        "MethodPolicy {{ path: {:?}, roles: &[{}], own: &[{}], about: &{about:?} }}",
        path(method),
        list(&roles),
        list(&own)
    ))
}

/// The numbers of the fields that say what a request is about, the first one that is not empty counts; none of a
/// request that changes nothing.
fn about(method: &MethodDescriptor, policy: &DynamicMessage) -> Result<Vec<u32>, String> {
    let named = policy.get_field_by_name("about").and_then(|value| value.as_str().map(str::to_owned));
    let named = named.filter(|name| !name.is_empty());
    let number = |name: &str| {
        let field = method.input().get_field_by_name(name);
        field.filter(|field| field.kind() == Kind::String && !field.is_list()).map(|field| field.number())
    };
    match (number("request_id"), named) {
        (None, None) => Ok(Vec::new()),
        (None, Some(_)) => Err("it is `about` something, but has no request_id and so changes nothing".to_owned()),
        (Some(id), None) => Ok(vec![id]),
        (Some(id), Some(name)) => {
            let number = number(&name).ok_or_else(|| format!("{name} is no text in its request"))?;
            Ok(vec![number, id])
        }
    }
}

fn role_list(policy: &DynamicMessage, field: &str) -> Result<Vec<String>, String> {
    let value = policy.get_field_by_name(field).ok_or_else(|| format!("policy.proto has no field {field}"))?;
    let kind = policy.descriptor().get_field_by_name(field).map(|f| f.kind());
    let kind = kind.as_ref().and_then(|k| k.as_enum()).ok_or_else(|| format!("{field} does not hold roles"))?;
    let numbers = value.as_list().unwrap_or_default().iter().filter_map(|v| v.as_enum_number());
    numbers.map(|number| variant(kind.get_value(number).map(|v| v.name().to_owned()), number)).collect()
}

/// `ROLE_BUYER` as the generated code spells it: `Buyer`.
fn variant(name: Option<String>, number: i32) -> Result<String, String> {
    let name = name.filter(|_| number != 0).ok_or_else(|| format!("{number} is no role"))?;
    let lower = name.trim_start_matches("ROLE_").to_lowercase();
    let mut letters = lower.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    Ok(first.into_iter().chain(letters).collect())
}
