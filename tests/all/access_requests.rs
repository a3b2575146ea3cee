//! AuthZEN access requests (Access Request and Approval Profile, draft 1), over real ports: a gateway is denied, asks,
//! waits, and asks again. `rules` names each rule of the profile and its test.

mod approvals;
mod bundles;
mod callbacks;
mod denials;
mod discovery;
mod rules;
mod submissions;
mod tasks;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Map, Value, json};

use crate::support::{Content, Reply, Sidecar, register};

const REQUESTS: &str = "/access/v1/requests";
const EVALUATION: &str = "/access/v1/evaluation";
const ERROR: &str = "urn:openid:authzen:access-request:error:";

/// Two gateways may submit access requests, a portal accepts them, and a third gateway may do neither.
const CALLERS: [&str; 4] = ["gateway", "other", "portal", "plain"];

/// What signs denials and approvals, so that a test can sign others.
struct SigningKey(KeyPair);

impl SigningKey {
    fn new() -> Self {
        Self(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap())
    }

    fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Signs claims with the header of another token.
    fn sign(&self, like: &str, claims: &Value) -> String {
        let header: Header = jsonwebtoken::decode_header(like).unwrap();
        assert_eq!(header.alg, Algorithm::ES256);
        encode(&header, claims, &EncodingKey::from_ec_der(&self.0.serialize_der())).unwrap()
    }
}

/// A sidecar with a store that took in the entities of the pack.
struct Served {
    sidecar: Option<Sidecar>,
    key: SigningKey,
    content: Content,
}

impl Served {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(more: &[&str]) -> Self {
        let content = Content::of_pack();
        let tokens = CALLERS.map(|caller| format!("{caller} {caller}-0123456789abcdef0123\n")).concat();
        content.write("tokens", &tokens);
        let key = SigningKey::new();
        content.write("keys.pem", &key.pem());
        let mut served = Self { sidecar: None, key, content };
        served.start(more);
        served
    }

    /// Starts the sidecar, again if it runs.
    fn start(&mut self, more: &[&str]) {
        self.sidecar = None;
        let args = self.arguments();
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend(more);
        self.sidecar = Some(self.content.serve_with(&args));
    }

    fn arguments(&self) -> Vec<String> {
        let path = |name| self.content.path(name).display().to_string();
        let mut args = vec!["--store".to_owned(), path("store.redb"), "--tokens".to_owned(), path("tokens")];
        for (option, value) in [
            ("--signing-keys", path("keys.pem").as_str()),
            ("--request-callers", "gateway,other"),
            ("--change-callers", "portal"),
            ("--pages-url", "https://consent.example.com"),
            ("--public-url", "https://pdp.example.com"),
        ] {
            args.extend([option.to_owned(), value.to_owned()]);
        }
        args
    }

    fn sidecar(&self) -> &Sidecar {
        self.sidecar.as_ref().unwrap()
    }

    fn send(&self, caller: &str, method: &str, path: &str, body: &Value, more: &[(&str, &str)]) -> Reply {
        let path = path.strip_prefix("https://pdp.example.com").unwrap_or(path);
        let authorization = format!("Bearer {caller}-0123456789abcdef0123");
        let mut headers = vec![("authorization", authorization.as_str())];
        if !body.is_null() {
            headers.push(("content-type", "application/json"));
        }
        headers.extend(more);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.sidecar().send(method, path, body, &headers)
    }

    /// Evaluates a question as the gateway, and gives the whole answer.
    #[track_caller]
    fn evaluate(&self, question: &Value) -> Value {
        let reply = self.send("gateway", "POST", EVALUATION, question, &[]);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// The submission that follows the denial of a question.
    #[track_caller]
    fn denied(&self, question: &Value) -> Value {
        submission(question, &self.evaluate(question))
    }

    fn submit(&self, submission: &Value) -> Reply {
        self.send("gateway", "POST", REQUESTS, submission, &[])
    }

    /// Submits an access request for a question, and gives its task.
    #[track_caller]
    fn ask(&self, question: &Value) -> Value {
        task_of(&self.submit(&self.denied(question)))
    }

    /// The answer to a poll.
    #[track_caller]
    fn poll(&self, task: &Value) -> Value {
        let reply = self.send("gateway", "GET", text(&task["status_endpoint"]), &Value::Null, &[]);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    #[track_caller]
    fn status(&self, task: &Value) -> String {
        text(&self.poll(task)["task"]["status"]).to_owned()
    }

    /// Reviews what a task waits for, as an administrator of a customer.
    #[track_caller]
    fn review(&self, task: &Value, verb: &str, customer: &str) -> Reply {
        let link = text(&task["links"]["review"]).strip_prefix("https://consent.example.com/links/").unwrap();
        let subject = json!({ "subject": { "type": "TenantUser", "id": format!("admin@{customer}") } });
        self.send("portal", "POST", &format!("/links/v1/{link}/{verb}"), &subject, &[])
    }

    /// Asks for a question, has it accepted, and gives the approval.
    #[track_caller]
    fn approved(&self, question: &Value) -> Value {
        let task = self.ask(question);
        let customer = text(&question["resource"]["id"]).to_owned();
        assert_eq!(self.review(&task, "accept", &customer).status, 200);
        self.poll(&task)["result"]["approval"].clone()
    }

    /// Performs an action as the portal.
    #[track_caller]
    fn act(&self, subject: (&str, &str), action: &str, resource: (&str, &str)) {
        let question = crate::support::question(subject, action, resource, json!({}));
        let reply = self.send("portal", "POST", "/access/v1/changes", &question, &[]);
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

/// A partner that lacks nothing but the consent of a customer.
fn registration() -> Value {
    register(("DirectBillPartner", "fabrikam"), "relecloud", "partner-center-api")
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The submission that follows a denial.
#[track_caller]
fn submission(question: &Value, denied: &Value) -> Value {
    assert_eq!(denied["decision"], false, "{denied}");
    let mut submission = question.clone();
    submission["denial"] = denial(denied);
    submission
}

/// What a submission echoes of a denial.
#[track_caller]
fn denial(denied: &Value) -> Value {
    let (context, offer) = (&denied["context"], &denied["context"]["access_request"]);
    assert!(offer.is_object(), "not requestable: {denied}");
    json!({
        "evaluation_id": context["evaluation_id"],
        "evaluated_at": context["evaluated_at"],
        "reason": context["reason"],
        "expires_at": offer["expires_at"],
        "binding_token": offer["binding_token"],
        "template": offer["template"],
    })
}

/// The task of a submission that was taken.
#[track_caller]
fn task_of(reply: &Reply) -> Value {
    assert_eq!(reply.status, 202, "{reply:?}");
    reply.json()["task"].clone()
}

/// The claims of a token, unverified.
#[track_caller]
fn claims(token: &str) -> Map<String, Value> {
    let payload = token.split('.').nth(1).unwrap();
    let text = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, payload).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// The question, with an approval.
fn with_approval(question: &Value, approval: &Value) -> Value {
    let mut question = question.clone();
    question["context"]["approval"] = approval.clone();
    question
}

/// Checks that an answer is one of the profile's problems.
#[track_caller]
fn refused(reply: &Reply, status: u16, name: &str) {
    let kind = if name.is_empty() { "about:blank".to_owned() } else { format!("{ERROR}{name}") };
    assert_eq!((reply.status, reply.json()["type"].clone()), (status, json!(kind)), "{reply:?}");
    assert_eq!(header(reply, "content-type"), "application/problem+json");
}

#[track_caller]
fn header<'r>(reply: &'r Reply, name: &str) -> &'r str {
    reply.headers.get(name).unwrap_or_else(|| panic!("no {name}: {reply:?}")).to_str().unwrap()
}
