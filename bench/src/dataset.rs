//! A world of any number of customers, each with two consents, and questions about it whose answers
//! are known by construction. The same numbers give the same world on every machine.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// How many partners of each kind there are, whatever the number of customers.
const DIRECT: u64 = 200;
const PROVIDERS: u64 = 20;
const RESELLERS: u64 = 200;
const OEMS: u64 = 20;

/// Customers of the small world.
pub const FEW: u64 = 1_000;

/// A world: its customers differ, the partners are always the same.
#[derive(Debug, Clone, Copy)]
pub struct World {
    pub customers: u64,
}

/// One question in the words of the pack, and its answer.
#[derive(Debug, Clone)]
pub struct Question {
    pub principal: (&'static str, String),
    pub action: &'static str,
    pub customer: String,
    pub channel: &'static str,
    pub permitted: bool,
    /// The number of the customer.
    pub number: u64,
}

/// Well-mixed bits of a number (the finalizer of `SplitMix64`).
pub fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

/// The id of a customer: tenants are known by a GUID.
pub fn customer(n: u64) -> String {
    let (a, b) = (mix(n), mix(!n));
    let [head, tail] = [a >> 32, b & 0xFFFF_FFFF_FFFF];
    format!("{head:08x}-{:04x}-{:04x}-{:04x}-{tail:012x}", (a >> 16) & 0xFFFF, a & 0xFFFF, b >> 48)
}

/// Who has a customer's consent besides an OEM.
enum Csp {
    Direct(u64),
    /// A reseller, in a partnership with the provider.
    Reseller(u64, u64),
}

fn csp(n: u64) -> Csp {
    let bits = mix(n ^ 0xC0FF_EE00);
    if bits.is_multiple_of(2) {
        return Csp::Direct((bits >> 8) % DIRECT);
    }
    let reseller = (bits >> 8) % RESELLERS;
    Csp::Reseller(reseller, provider_of(reseller, (bits >> 40) % 2))
}

fn oem(n: u64) -> u64 {
    mix(n ^ 0x0E0E_0E0E) % OEMS
}

/// A reseller has two providers.
fn provider_of(reseller: u64, nth: u64) -> u64 {
    (reseller + nth * 7) % PROVIDERS
}

impl World {
    /// Writes the entities: the partners as JSON, customers and consents as NDJSON.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("partners.ndjson"), partners())?;
        let mut file = BufWriter::with_capacity(1 << 20, File::create(folder.join("customers.ndjson"))?);
        for n in 0..self.customers {
            file.write_all(lines_of(n, false).as_bytes())?;
        }
        file.flush()
    }

    /// How many entities [`Self::write`] writes.
    pub fn entities(&self) -> u64 {
        partners().lines().count() as u64 + 3 * self.customers
    }

    /// So many questions, three of five permitted, about customers that `pick` names.
    pub fn questions(&self, count: u64, pick: impl Fn(u64) -> u64) -> Vec<Question> {
        (0..count).map(|n| question(pick(n) % self.customers, n, n % 5 < 3)).collect()
    }
}

/// Writes the pack's schema and policies, and so many policies more whose scopes name entities that no
/// question is about.
pub fn write_policies(pack: &Path, folder: &Path, more: u64) -> io::Result<()> {
    copy_pack(pack, folder)?;
    fs::write(folder.join("routes.toml"), ROUTES)?;
    let policies: String = (0..more).map(other_policy).collect();
    fs::write(folder.join("others.cedar"), policies)
}

/// Copies the pack's schema, policies and routes, without its tests and guardrails.
pub fn copy_pack(pack: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(pack)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, folder.join(name))?;
        }
    }
    Ok(())
}

/// One path for all channels, so that questions over gRPC are those over HTTP.
const ROUTES: &str = r#"
[[route]]
id = "register"
method = "POST"
path = "/v1/customers/{customer}/deviceBatches"
principal = { type = { header = "x-partner-kind" }, id = { header = "x-partner" } }
action = "registerDevice"
resource = { type = "Customer", id = { path = "customer" } }
context = { channel = { header = "x-channel" } }
"#;

fn other_policy(n: u64) -> String {
    let id = customer(!n);
    let (effect, scope) = match n % 5 {
        0 => {
            ("permit", format!("principal == Autopilot::DirectBillPartner::\"other-{n}\", action, resource"))
        }
        1 => ("permit", format!("principal, action, resource == Autopilot::Customer::\"{id}\"")),
        2 => ("forbid", format!("principal, action, resource in Autopilot::CspConsent::\"c-{id}\"")),
        3 => ("permit", format!("principal, action, resource in Autopilot::Oem::\"other-{n}\"")),
        _ => (
            "forbid",
            format!("principal == Autopilot::Oem::\"other-{n}\", action, resource is Autopilot::Customer"),
        ),
    };
    let action = "action == Autopilot::Action::\"registerDevice\"";
    let scope = scope.replace("action,", &format!("{action},"));
    let when = "when { context.channel == Autopilot::Channel::\"oem-api\" }";
    format!("@id(\"other-{n}\")\n@reason(\"An agreement with one party.\")\n{effect} ({scope})\n{when};\n\n")
}

fn entity(kind: &str, id: &str, attrs: &str, parents: &[(&str, &str)]) -> String {
    let parents: Vec<String> = parents.iter().map(|(kind, id)| reference(kind, id)).collect();
    let (uid, parents) = (reference(kind, id), parents.join(","));
    format!("{{\"uid\":{uid},\"attrs\":{{{attrs}}},\"parents\":[{parents}]}}\n")
}

fn reference(kind: &str, id: &str) -> String {
    format!("{{\"type\":\"Autopilot::{kind}\",\"id\":\"{id}\"}}")
}

fn partners() -> String {
    let kinds = [
        ("DirectBillPartner", "direct", DIRECT),
        ("IndirectProvider", "provider", PROVIDERS),
        ("IndirectReseller", "reseller", RESELLERS),
        ("Oem", "oem", OEMS),
    ];
    let enrolments = kinds.iter().flat_map(|(kind, name, count)| {
        (0..*count).map(move |n| entity(kind, &format!("{name}-{n}"), "\"active\":true", &[]))
    });
    let partnerships = (0..RESELLERS).flat_map(|reseller| {
        (0..2).map(move |nth| {
            let provider = provider_of(reseller, nth);
            let parents = [format!("provider-{provider}"), format!("reseller-{reseller}")];
            let [provider, reseller] = parents.each_ref().map(String::as_str);
            let id = format!("{provider}--{reseller}");
            entity("Partnership", &id, "", &[("IndirectProvider", provider), ("IndirectReseller", reseller)])
        })
    });
    enrolments.chain(partnerships).collect()
}

/// A customer and its two consents, as lines of NDJSON. Whether delegated administration is granted
/// makes another entity of the consent, and changes no answer.
pub fn lines_of(n: u64, delegated: bool) -> String {
    let id = customer(n);
    let (csp_id, oem_id) = (format!("c-{id}"), format!("o-{id}"));
    let of_customer = format!("\"customer\":{}", reference("Customer", &id));
    let parent = match csp(n) {
        Csp::Direct(direct) => ("DirectBillPartner", format!("direct-{direct}")),
        Csp::Reseller(reseller, provider) => {
            ("Partnership", format!("provider-{provider}--reseller-{reseller}"))
        }
    };
    let csp_attrs = format!("{of_customer},\"delegatedAdministration\":{delegated}");
    entity("CspConsent", &csp_id, &csp_attrs, &[(parent.0, &parent.1)])
        + &entity("OemConsent", &oem_id, &of_customer, &[("Oem", &format!("oem-{}", oem(n)))])
        + &entity("Customer", &id, "", &[("CspConsent", &csp_id), ("OemConsent", &oem_id)])
}

/// A partner's kind and id.
pub type Partner = (&'static str, String);

/// Who may register a customer's devices, and over which channels, as the pack has it.
pub fn rights(n: u64) -> Vec<(Partner, &'static [&'static str])> {
    let (both, ui) = (&["partner-center-api", "partner-center-ui"][..], &["partner-center-ui"][..]);
    let mut rights = vec![(("Oem", format!("oem-{}", oem(n))), &["oem-api"][..])];
    match csp(n) {
        Csp::Direct(direct) => rights.push((("DirectBillPartner", format!("direct-{direct}")), both)),
        Csp::Reseller(reseller, provider) => {
            rights.push((("IndirectReseller", format!("reseller-{reseller}")), ui));
            rights.push((("IndirectProvider", format!("provider-{provider}")), both));
        }
    }
    rights
}

/// The customer in none of its consents, which stand as before.
pub fn customer_without_consents(n: u64) -> String {
    let lines = lines_of(n, false);
    let consents: String = lines.split_inclusive('\n').take(2).collect();
    consents + &entity("Customer", &customer(n), "", &[])
}

/// A question about a customer. Who is denied is a partner of the same kind that has no consent.
fn question(n: u64, variant: u64, permitted: bool) -> Question {
    let bits = mix(variant ^ 0x5EED);
    let stranger = u64::from(!permitted);
    let by_oem = (("Oem", format!("oem-{}", (oem(n) + stranger) % OEMS)), "oem-api");
    let by_csp = match csp(n) {
        Csp::Direct(direct) => {
            (("DirectBillPartner", format!("direct-{}", (direct + stranger) % DIRECT)), "partner-center-api")
        }
        Csp::Reseller(_, provider) if bits.is_multiple_of(2) => {
            let provider = (provider + stranger) % PROVIDERS;
            (("IndirectProvider", format!("provider-{provider}")), "partner-center-api")
        }
        Csp::Reseller(reseller, _) => {
            let reseller = (reseller + stranger) % RESELLERS;
            (("IndirectReseller", format!("reseller-{reseller}")), "partner-center-ui")
        }
    };
    let (principal, channel) = if (bits >> 8).is_multiple_of(4) { by_oem } else { by_csp };
    Question { principal, action: "registerDevice", customer: customer(n), channel, permitted, number: n }
}

impl Question {
    /// The question as an `AuthZEN` body.
    pub fn body(&self) -> String {
        let Self { principal: (kind, id), action, customer, channel, .. } = self;
        format!(
            r#"{{"subject":{{"type":"{kind}","id":"{id}"}},"action":{{"name":"{action}"}},"resource":{{"type":"Customer","id":"{customer}"}},"context":{{"channel":"{channel}"}}}}"#
        )
    }
}
