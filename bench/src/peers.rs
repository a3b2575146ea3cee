//! Other servers with the same questions, through an adapter each: how to start it, what to write for
//! it beforehand, how to word a question, and how a permit looks. They decide the same by their own
//! means, over the same customers; none is asked for more than yes or no.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::numbers::{median, number, ratio};
use crate::results::Samples;
use crate::setup::{Setup, Target};
use crate::shot::{Expected, Shot, for_the_limit, questions};
use crate::world::{self, Question, World, mix};

/// Another server.
pub struct Peer {
    pub name: &'static str,
    /// The program to look for.
    program: &'static str,
    /// Writes what it needs into a folder.
    prepare: fn(&Path, u64) -> io::Result<()>,
    /// Its arguments, for a port.
    arguments: fn(&Path, u16) -> Vec<String>,
    ask: fn(&Question) -> Shot,
}

/// The servers that there are adapters for.
pub const PEERS: [Peer; 2] = [
    Peer { name: "Open Policy Agent", program: "opa", prepare: opa, arguments: opa_arguments, ask: ask_opa },
    Peer { name: "Cerbos", program: "cerbos", prepare: cerbos, arguments: cerbos_arguments, ask: ask_cerbos },
];

/// Customers of the comparison.
const CUSTOMERS: u64 = 1_000;

/// Measures what is installed beside the limit and the sidecar; says what is not there.
///
/// # Errors
/// A server that is there cannot be started or asked.
pub fn run(setup: &Setup, say: &dyn Fn(&str)) -> io::Result<String> {
    let hot = questions(CUSTOMERS);
    let (policies, entities) = (setup.policies(0)?, setup.entities(CUSTOMERS)?);
    let mut targets = vec![
        Target::new("limit", setup.limit()?, &for_the_limit(&hot)),
        Target::new("Mandate", setup.mandate("hits", &policies, &entities, &[])?, &hot),
        Target::new(
            "Mandate, cache off",
            setup.mandate("uncached", &policies, &entities, &["--cache-entries", "0"])?,
            &hot,
        ),
    ];
    for peer in PEERS {
        if Command::new(peer.program).arg("version").output().is_err() {
            say(&format!("{}: not measured, there is no `{}` on the PATH", peer.name, peer.program));
            continue;
        }
        let folder = setup.folder.join(peer.program);
        fs::create_dir_all(&folder)?;
        (peer.prepare)(&folder, CUSTOMERS)?;
        let server = setup.other(peer.name, peer.program, |port| (peer.arguments)(&folder, port))?;
        let shots: Rc<[Shot]> =
            World { customers: CUSTOMERS }.questions(2_000, mix).iter().map(peer.ask).collect();
        targets.push(Target::new(peer.name, server, &shots));
    }
    setup.measure(&targets, 16).map(|samples| table(&samples))
}

fn table(samples: &Samples) -> String {
    let rates = |name: &str| samples.get(name).map(|of| of.iter().map(|s| s.rate).collect::<Vec<_>>());
    let limit = rates("limit").unwrap_or_default();
    let mut text = "| server | requests/s | of the limit | wrong or failed |\n|---|---|---|---|\n".to_owned();
    for (name, of) in samples {
        let rates = rates(name).unwrap_or_default();
        let bad: u64 = of.iter().map(|sample| sample.wrong + sample.failed).sum();
        let (rate, ratio) = (median(&rates), ratio(&rates, &limit));
        let cells = [name.clone(), number(rate), format!("{ratio:.3}"), bad.to_string()];
        text.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    text
}

/// Who may register devices for a customer over which channel, by customer: what the pack derives.
fn rights(n: u64) -> Value {
    let rights: Vec<Value> = world::rights(n)
        .into_iter()
        .flat_map(|((kind, id), channels)| {
            channels.iter().map(move |channel| json!(format!("{kind}/{id}/{channel}"))).collect::<Vec<_>>()
        })
        .collect();
    json!(rights)
}

fn opa(folder: &Path, customers: u64) -> io::Result<()> {
    let policy = "package mandate\n\nimport rego.v1\n\ndefault allow := false\n\nallow if {\n\tright := sprintf(\"%s/%s/%s\", [input.kind, input.partner, input.channel])\n\tright in data.rights[input.customer]\n}\n";
    fs::write(folder.join("policy.rego"), policy)?;
    let rights: serde_json::Map<String, Value> =
        (0..customers).map(|n| (world::customer(n), rights(n))).collect();
    fs::write(folder.join("data.json"), json!({ "rights": rights }).to_string())
}

fn opa_arguments(folder: &Path, port: u16) -> Vec<String> {
    let folder = folder.to_string_lossy().into_owned();
    ["run", "--server", "--log-level", "error", "--addr", &format!("127.0.0.1:{port}"), &folder]
        .map(str::to_owned)
        .into()
}

fn ask_opa(question: &Question) -> Shot {
    let Question { principal: (kind, id), customer, channel, permitted, .. } = question;
    let input = json!({ "input": { "kind": kind, "partner": id, "customer": customer, "channel": channel } });
    let expected: &[u8] = if *permitted { br#"{"result":true"# } else { br#"{"result":false"# };
    Shot::post("/v1/data/mandate/allow", &input.to_string(), Expected::Start(expected))
}

/// Cerbos has no data of its own: the rights come with the question.
fn cerbos(folder: &Path, _: u64) -> io::Result<()> {
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

fn ask_cerbos(question: &Question) -> Shot {
    let Question { principal: (kind, id), customer, channel, permitted, action, number } = question;
    let attributes = json!({ "channel": channel, "rights": rights(*number) });
    let body = json!({
        "requestId": "q",
        "principal": { "id": id, "roles": ["partner"], "attr": { "kind": kind } },
        "resources": [{ "actions": [action], "resource": { "kind": "customer", "id": customer, "attr": attributes } }],
    });
    let expected: &[u8] = if *permitted { b"EFFECT_ALLOW" } else { b"EFFECT_DENY" };
    Shot::post("/api/check/resources", &body.to_string(), Expected::Anywhere(expected))
}
