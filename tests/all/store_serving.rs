//! `mandate serve --store`: entities that change through the sidecar, as gateways, portals and outside systems use it.

mod actions;
mod clock_jumps;
mod entities;
mod failures;
mod links;
mod operators;
mod positions;

use serde_json::{Value, json};

use crate::support::{Content, Reply, Sidecar};

/// A portal may ask for changes, a CRM may write entities, and a gateway may only ask for decisions.
const TOKENS: &str = "portal portal-0123456789abcdef0123\ncrm crm-0123456789abcdef0123\ngateway gateway-0123456789abcdef0123\n";

/// A sidecar with a store that took in the entities of the pack.
struct Served {
    /// It writes its log to the folder of the content, so it goes first.
    sidecar: Option<Sidecar>,
    content: Content,
}

impl Served {
    fn of_pack() -> Self {
        Self::of(Content::of_pack())
    }

    fn of(content: Content) -> Self {
        content.write("tokens", TOKENS);
        let mut served = Self { sidecar: None, content };
        served.start();
        served
    }

    fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the sidecar, again if it runs.
    fn start_with(&mut self, more: &[&str]) {
        self.sidecar = None;
        let path = |name| self.content.path(name).display().to_string();
        let (store, tokens) = (path("store.redb"), path("tokens"));
        let mut args = vec!["--store", &store, "--tokens", &tokens];
        args.extend(["--change-callers", "portal", "--entity-callers", "crm,portal"]);
        args.extend(more);
        self.sidecar = Some(self.content.serve_with(&args));
    }

    fn sidecar(&self) -> &Sidecar {
        self.sidecar.as_ref().unwrap()
    }

    /// Waits until the sidecar is so.
    #[track_caller]
    fn wait(&self, condition: impl Fn(&Sidecar) -> bool) {
        crate::support::until("the sidecar is as expected", || condition(self.sidecar()));
    }

    fn send_as(
        &self,
        caller: &str,
        method: &str,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Reply {
        let authorization = format!("Bearer {caller}-0123456789abcdef0123");
        let mut all = vec![("content-type", "application/json"), ("authorization", &authorization)];
        all.extend(headers);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.sidecar().send(method, path, body, &all)
    }

    /// Asks for an action, as the portal.
    fn change(&self, question: &Value) -> Reply {
        self.send_as("portal", "POST", "/access/v1/changes", question, &[])
    }

    /// Whether a question is permitted, as a gateway asks.
    fn permits(&self, question: &Value) -> bool {
        let reply = self.send_as("gateway", "POST", "/access/v1/evaluation", question, &[]);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["decision"].as_bool().unwrap()
    }

    /// Stops the sidecar and runs `mandate entities VERB` on its store.
    fn entities(&mut self, verb: &str, args: &[&str]) -> String {
        self.sidecar = None;
        let mut command = crate::support::mandate();
        command.args(["entities", verb]).args(args).arg("--store").arg(self.content.path("store.redb"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn question(subject: (&str, &str), action: &str, resource: (&str, &str), context: &Value) -> Value {
    crate::support::question(subject, action, resource, context.clone())
}

/// A partner of the pack asks a customer that has given it no consent.
fn request_consent() -> Value {
    let context = json!({ "delegatedAdministration": false });
    question(("DirectBillPartner", "fabrikam"), "requestConsent", ("Customer", "relecloud"), &context)
}

fn header<'r>(reply: &'r Reply, name: &str) -> &'r str {
    reply.headers.get(name).unwrap_or_else(|| panic!("no {name}: {reply:?}")).to_str().unwrap()
}
