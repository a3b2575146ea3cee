//! A generated data set: any number of customers with two consents each, and questions whose answers are
//! known by construction. The same numbers give the same entities and questions on every machine.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

// The number of partners of each type. It does not depend on the number of customers.
const DIRECT: u64 = 200;
const PROVIDERS: u64 = 20;
const RESELLERS: u64 = 200;
const OEMS: u64 = 20;

/// The number of customers of the small data set.
pub const FEW_CUSTOMERS: u64 = 1_000;

/// The entities for a number of customers. The partners are the same in every data set.
#[derive(Debug, Clone, Copy)]
pub struct Dataset {
    pub customers: u64,
}

/// A question that the pack's policies can answer, and its correct answer.
#[derive(Debug, Clone)]
pub struct TestQuestion {
    pub principal: Partner,
    pub action: &'static str,
    pub customer: String,
    pub channel: &'static str,
    pub permitted: bool,
    pub customer_number: u64,
}

/// Well-mixed bits of a number (the finalizer of `SplitMix64`).
pub fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

/// The id of a customer. It has the form of a GUID, as the ids of real tenants do.
pub fn customer_id(n: u64) -> String {
    let (a, b) = (mix(n), mix(!n));
    let [head, tail] = [a >> 32, b & 0xFFFF_FFFF_FFFF];
    format!("{head:08x}-{:04x}-{:04x}-{:04x}-{tail:012x}", (a >> 16) & 0xFFFF, a & 0xFFFF, b >> 48)
}

/// The partner that has a customer's `CspConsent`. The numbers are those of the partners.
enum Csp {
    DirectBillPartner(u64),
    Reseller { reseller: u64, provider: u64 },
}

fn csp_of(n: u64) -> Csp {
    let bits = mix(n ^ 0xC0FF_EE00);
    if bits.is_multiple_of(2) {
        return Csp::DirectBillPartner((bits >> 8) % DIRECT);
    }
    let reseller = (bits >> 8) % RESELLERS;
    Csp::Reseller { reseller, provider: provider_of(reseller, (bits >> 40) % 2) }
}

/// The number of the OEM that has a customer's `OemConsent`.
fn oem_of(n: u64) -> u64 {
    mix(n ^ 0x0E0E_0E0E) % OEMS
}

/// One of the two providers of a reseller: `nth` is 0 or 1.
fn provider_of(reseller: u64, nth: u64) -> u64 {
    (reseller + nth * 7) % PROVIDERS
}

impl Dataset {
    /// Writes the entities as NDJSON: one file for the partners, one for the customers and their consents.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("partners.ndjson"), partner_lines())?;
        let mut file = BufWriter::with_capacity(1 << 20, File::create(folder.join("customers.ndjson"))?);
        for n in 0..self.customers {
            file.write_all(customer_with_consents(n, false).as_bytes())?;
        }
        file.flush()
    }

    /// How many entities [`Self::write`] writes.
    pub fn entities(&self) -> u64 {
        partner_lines().lines().count() as u64 + 3 * self.customers
    }

    /// `count` questions, of which three in five are permitted. The question with number `n` is about the
    /// customer with number `customer_of(n)`, modulo the number of customers.
    pub fn questions(&self, count: u64, customer_of: impl Fn(u64) -> u64) -> Vec<TestQuestion> {
        (0..count).map(|n| question(customer_of(n) % self.customers, n, n % 5 < 3)).collect()
    }
}

/// Writes the pack's schema and policies, a routes file with one route, and `extra` more policies. The scopes
/// of the extra policies name entities that no question is about.
pub fn write_policies(pack: &Path, folder: &Path, extra: u64) -> io::Result<()> {
    copy_pack(pack, folder)?;
    fs::write(folder.join("routes.toml"), ONE_ROUTE)?;
    let policies: String = (0..extra).map(extra_policy).collect();
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

/// One route for all channels, so that every question can be asked over gRPC. The pack's own routes do not
/// cover the channel `partner-center-ui`.
const ONE_ROUTE: &str = r#"
[[route]]
id = "register"
method = "POST"
path = "/v1/customers/{customer}/deviceBatches"
principal = { type = { header = "x-partner-kind" }, id = { header = "x-partner" } }
action = "registerDevice"
resource = { type = "Customer", id = { path = "customer" } }
context = { channel = { header = "x-channel" } }
"#;

fn extra_policy(n: u64) -> String {
    let customer = customer_id(!n);
    let (effect, scope) = match n % 5 {
        0 => {
            ("permit", format!("principal == Autopilot::DirectBillPartner::\"other-{n}\", action, resource"))
        }
        1 => ("permit", format!("principal, action, resource == Autopilot::Customer::\"{customer}\"")),
        2 => ("forbid", format!("principal, action, resource in Autopilot::CspConsent::\"c-{customer}\"")),
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

/// An entity as one line of NDJSON.
fn entity_line(entity_type: &str, id: &str, attrs: &str, parents: &[(&str, &str)]) -> String {
    let parents: Vec<String> = parents.iter().map(|(entity_type, id)| uid_json(entity_type, id)).collect();
    let (uid, parents) = (uid_json(entity_type, id), parents.join(","));
    format!("{{\"uid\":{uid},\"attrs\":{{{attrs}}},\"parents\":[{parents}]}}\n")
}

fn uid_json(entity_type: &str, id: &str) -> String {
    format!("{{\"type\":\"Autopilot::{entity_type}\",\"id\":\"{id}\"}}")
}

/// The entities of all partners and partnerships, as lines of NDJSON.
fn partner_lines() -> String {
    let partner_types = [
        ("DirectBillPartner", "direct", DIRECT),
        ("IndirectProvider", "provider", PROVIDERS),
        ("IndirectReseller", "reseller", RESELLERS),
        ("Oem", "oem", OEMS),
    ];
    let partners = partner_types.iter().flat_map(|(entity_type, name, count)| {
        (0..*count).map(move |n| entity_line(entity_type, &format!("{name}-{n}"), "\"active\":true", &[]))
    });
    let partnerships = (0..RESELLERS).flat_map(|reseller| {
        (0..2).map(move |nth| {
            let provider = provider_of(reseller, nth);
            let (provider, reseller) = (format!("provider-{provider}"), format!("reseller-{reseller}"));
            let id = format!("{provider}--{reseller}");
            let parents = [("IndirectProvider", provider.as_str()), ("IndirectReseller", &reseller)];
            entity_line("Partnership", &id, "", &parents)
        })
    });
    partners.chain(partnerships).collect()
}

/// A customer and its two consents, as three lines of NDJSON. `delegated` is an attribute of the `CspConsent`
/// that changes no answer, so that a measurement can change entities and still check the answers.
pub fn customer_with_consents(n: u64, delegated: bool) -> String {
    let id = customer_id(n);
    let (csp_id, oem_id) = (format!("c-{id}"), format!("o-{id}"));
    let (customer, admin) = (uid_json("Customer", &id), uid_json("TenantUser", "admin"));
    let accepted = format!("\"customer\":{customer},\"acceptedBy\":{admin}");
    let (parent_type, parent_id) = match csp_of(n) {
        Csp::DirectBillPartner(direct) => ("DirectBillPartner", format!("direct-{direct}")),
        Csp::Reseller { reseller, provider } => {
            ("Partnership", format!("provider-{provider}--reseller-{reseller}"))
        }
    };
    let csp_attrs = format!("{accepted},\"delegatedAdministration\":{delegated}");
    entity_line("CspConsent", &csp_id, &csp_attrs, &[(parent_type, &parent_id)])
        + &entity_line("OemConsent", &oem_id, &accepted, &[("Oem", &format!("oem-{}", oem_of(n)))])
        + &entity_line("Customer", &id, "", &[("CspConsent", &csp_id), ("OemConsent", &oem_id)])
}

/// The entity type and the id of a partner.
pub type Partner = (&'static str, String);

/// The partners that may register a customer's devices, and the channels that each may use: what the pack's
/// policies permit.
pub fn rights(n: u64) -> Vec<(Partner, &'static [&'static str])> {
    let (api_and_ui, ui) = (&["partner-center-api", "partner-center-ui"][..], &["partner-center-ui"][..]);
    let mut rights = vec![(("Oem", format!("oem-{}", oem_of(n))), &["oem-api"][..])];
    match csp_of(n) {
        Csp::DirectBillPartner(direct) => {
            rights.push((("DirectBillPartner", format!("direct-{direct}")), api_and_ui));
        }
        Csp::Reseller { reseller, provider } => {
            rights.push((("IndirectReseller", format!("reseller-{reseller}")), ui));
            rights.push((("IndirectProvider", format!("provider-{provider}")), api_and_ui));
        }
    }
    rights
}

/// The lines of [`customer_with_consents`], but the customer is in none of its consents.
pub fn customer_without_consents(n: u64) -> String {
    let lines = customer_with_consents(n, false);
    let consents: String = lines.split_inclusive('\n').take(2).collect();
    consents + &entity_line("Customer", &customer_id(n), "", &[])
}

/// A question about customer `n`. If it has to be denied, the principal is another partner of the same type,
/// which has no consent of this customer.
fn question(n: u64, variant: u64, permitted: bool) -> TestQuestion {
    let bits = mix(variant ^ 0x5EED);
    let offset = u64::from(!permitted);
    let by_oem = (("Oem", format!("oem-{}", (oem_of(n) + offset) % OEMS)), "oem-api");
    let by_csp = match csp_of(n) {
        Csp::DirectBillPartner(direct) => {
            let direct = (direct + offset) % DIRECT;
            (("DirectBillPartner", format!("direct-{direct}")), "partner-center-api")
        }
        Csp::Reseller { provider, .. } if bits.is_multiple_of(2) => {
            let provider = (provider + offset) % PROVIDERS;
            (("IndirectProvider", format!("provider-{provider}")), "partner-center-api")
        }
        Csp::Reseller { reseller, .. } => {
            let reseller = (reseller + offset) % RESELLERS;
            (("IndirectReseller", format!("reseller-{reseller}")), "partner-center-ui")
        }
    };
    let (principal, channel) = if (bits >> 8).is_multiple_of(4) { by_oem } else { by_csp };
    let customer = customer_id(n);
    TestQuestion { principal, action: "registerDevice", customer, channel, permitted, customer_number: n }
}

impl TestQuestion {
    /// The JSON body of an `AuthZEN` evaluation that asks the question.
    pub fn authzen_body(&self) -> String {
        let Self { principal: (principal_type, id), action, customer, channel, .. } = self;
        format!(
            r#"{{"subject":{{"type":"{principal_type}","id":"{id}"}},"action":{{"name":"{action}"}},"resource":{{"type":"Customer","id":"{customer}"}},"context":{{"channel":"{channel}"}}}}"#
        )
    }
}
