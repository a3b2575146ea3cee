//! Comparison with other authorization servers. Each has an adapter, which writes its policies and data,
//! starts it, and builds its requests. All servers get the same questions about the same customers, and
//! answer only permit or deny.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::dataset::{self, Dataset, TestQuestion, mix};
use crate::numbers::{median, number, ratio};
use crate::prepared::{ExpectedAnswer, PreparedRequest, evaluation_requests, with_any_answer};
use crate::results::{Samples, rates, samples_of, wrong_or_failed};
use crate::setup::{Setup, Target};

/// The adapter of one server.
pub struct Peer {
    pub name: &'static str,
    /// The name of its program on the `PATH`.
    program: &'static str,
    /// Writes policies and data into a folder, for a number of customers.
    prepare: fn(&Path, u64) -> io::Result<()>,
    /// The arguments of its program, by folder and port.
    arguments: fn(&Path, u16) -> Vec<String>,
    request: fn(&TestQuestion) -> PreparedRequest,
}

pub const PEERS: [Peer; 2] = [
    Peer {
        name: "Open Policy Agent",
        program: "opa",
        prepare: prepare_opa,
        arguments: opa_arguments,
        request: opa_request,
    },
    Peer {
        name: "Cerbos",
        program: "cerbos",
        prepare: prepare_cerbos,
        arguments: cerbos_arguments,
        request: cerbos_request,
    },
];

/// The number of customers of the comparison.
const CUSTOMERS: u64 = 1_000;

/// Measures the limit, Mandate, and the other servers that are installed. Prints a message about each that is
/// not.
///
/// # Errors
/// An installed server does not start or cannot be reached.
pub fn run(setup: &Setup, print_message: &dyn Fn(&str)) -> io::Result<String> {
    let requests = evaluation_requests(CUSTOMERS);
    let (policies, entities) = (setup.policies_folder(0)?, setup.entities_folder(CUSTOMERS)?);
    let mut targets = vec![
        Target::new("limit", setup.start_limit()?, &with_any_answer(&requests)),
        Target::new("Mandate", setup.start_mandate("hits", &policies, &entities, &[])?, &requests),
        Target::new(
            "Mandate, cache off",
            setup.start_mandate("uncached", &policies, &entities, &["--cache-entries", "0"])?,
            &requests,
        ),
    ];
    for peer in PEERS {
        if Command::new(peer.program).arg("version").output().is_err() {
            print_message(&format!(
                "{}: not measured, there is no `{}` on the PATH",
                peer.name, peer.program
            ));
            continue;
        }
        let folder = setup.folder.join(peer.program);
        fs::create_dir_all(&folder)?;
        (peer.prepare)(&folder, CUSTOMERS)?;
        let server = setup.start_other(peer.name, peer.program, |port| (peer.arguments)(&folder, port))?;
        let requests: Rc<[PreparedRequest]> =
            Dataset { customers: CUSTOMERS }.questions(2_000, mix).iter().map(peer.request).collect();
        targets.push(Target::new(peer.name, server, &requests));
    }
    setup.measure(&targets, 16).map(|samples| table(&samples))
}

fn table(samples: &Samples) -> String {
    let limit = rates(samples_of(samples, "limit"));
    let mut text = "| server | requests/s | of the limit | wrong or failed |\n|---|---|---|---|\n".to_owned();
    for (name, rounds) in samples {
        let rates = rates(rounds);
        let (rate, ratio) = (median(&rates), ratio(&rates, &limit));
        let cells = [name.clone(), number(rate), format!("{ratio:.3}"), wrong_or_failed(rounds).to_string()];
        text.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    text
}

/// The rights of all partners for one customer, as texts of the form `TYPE/PARTNER/CHANNEL`. Mandate derives
/// them from the entities; the other servers get them ready-made.
fn rights(n: u64) -> Value {
    let rights: Vec<Value> = dataset::rights(n)
        .into_iter()
        .flat_map(|((partner_type, id), channels)| {
            channels
                .iter()
                .map(move |channel| json!(format!("{partner_type}/{id}/{channel}")))
                .collect::<Vec<_>>()
        })
        .collect();
    json!(rights)
}

/// Open Policy Agent has the rights of all customers as data.
fn prepare_opa(folder: &Path, customers: u64) -> io::Result<()> {
    let policy = "package mandate\n\nimport rego.v1\n\ndefault allow := false\n\nallow if {\n\tright := sprintf(\"%s/%s/%s\", [input.kind, input.partner, input.channel])\n\tright in data.rights[input.customer]\n}\n";
    fs::write(folder.join("policy.rego"), policy)?;
    let rights: serde_json::Map<String, Value> =
        (0..customers).map(|n| (dataset::customer_id(n), rights(n))).collect();
    fs::write(folder.join("data.json"), json!({ "rights": rights }).to_string())
}

fn opa_arguments(folder: &Path, port: u16) -> Vec<String> {
    let folder = folder.to_string_lossy().into_owned();
    ["run", "--server", "--log-level", "error", "--addr", &format!("127.0.0.1:{port}"), &folder]
        .map(str::to_owned)
        .into()
}

fn opa_request(question: &TestQuestion) -> PreparedRequest {
    let TestQuestion { principal: (partner_type, id), customer, channel, permitted, .. } = question;
    let input =
        json!({ "input": { "kind": partner_type, "partner": id, "customer": customer, "channel": channel } });
    let expected: &[u8] = if *permitted { br#"{"result":true"# } else { br#"{"result":false"# };
    PreparedRequest::post("/v1/data/mandate/allow", &input.to_string(), ExpectedAnswer::StartsWith(expected))
}

/// Cerbos stores no data, so each request contains the rights for its customer.
fn prepare_cerbos(folder: &Path, _: u64) -> io::Result<()> {
    let policy = r#"apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: customer
  version: default
  rules:
    - actions: [registerDevice]
      effect: EFFECT_ALLOW
      roles: [partner]
      condition:
        match:
          expr: (P.attr.kind + "/" + P.id + "/" + R.attr.channel) in R.attr.rights
"#;
    fs::create_dir_all(folder.join("policies"))?;
    fs::write(folder.join("policies/customer.yaml"), policy)
}

fn cerbos_arguments(folder: &Path, port: u16) -> Vec<String> {
    let storage = format!("storage.disk.directory={}", folder.join("policies").display());
    let http = format!("server.httpListenAddr=127.0.0.1:{port}");
    let grpc = format!("server.grpcListenAddr=unix:{}", folder.join("grpc.sock").display());
    let settings = [&storage, &http, &grpc, "telemetry.disabled=true"].join(",");
    ["server", "--log-level=error", "--debug-listen-addr=", "--set", &settings].map(str::to_owned).into()
}

fn cerbos_request(question: &TestQuestion) -> PreparedRequest {
    let TestQuestion { principal: (partner_type, id), customer, channel, permitted, action, customer_number } =
        question;
    let attributes = json!({ "channel": channel, "rights": rights(*customer_number) });
    let body = json!({
        "requestId": "q",
        "principal": { "id": id, "roles": ["partner"], "attr": { "kind": partner_type } },
        "resources": [{ "actions": [action], "resource": { "kind": "customer", "id": customer, "attr": attributes } }],
    });
    let expected: &[u8] = if *permitted { b"EFFECT_ALLOW" } else { b"EFFECT_DENY" };
    PreparedRequest::post("/api/check/resources", &body.to_string(), ExpectedAnswer::Contains(expected))
}
