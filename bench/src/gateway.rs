//! HTTP requests as a gateway describes them to Mandate. Each comes from a question and knows its answer.

use crate::dataset::{TestQuestion, mix};

/// An HTTP request that a gateway asks about, and whether it has to be permitted.
#[derive(Debug, Clone)]
pub struct GatewayRequest {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub permitted: bool,
}

impl GatewayRequest {
    /// The request that the route of [`crate::dataset::write_policies`] turns into the question.
    pub fn by_single_route(question: &TestQuestion) -> Self {
        let TestQuestion { principal: (partner_type, id), customer, channel, permitted, .. } = question;
        let headers = [
            (":method", "POST".to_owned()),
            ("x-partner-kind", (*partner_type).to_owned()),
            ("x-partner", id.clone()),
            ("x-channel", (*channel).to_owned()),
        ];
        let path = format!("/v1/customers/{customer}/deviceBatches");
        Self { method: "POST", path, headers: headers.into(), permitted: *permitted }
    }

    /// A request that a route of the pack turns into the question. Several routes give the same
    /// question; the customer decides which one is used. `None` for the channel `partner-center-ui`, which
    /// has no route.
    pub fn by_pack_routes(question: &TestQuestion) -> Option<Self> {
        let TestQuestion {
            principal: (partner_type, id), customer, channel, permitted, customer_number, ..
        } = question;
        let (method, path) = match *channel {
            "oem-api" => ("POST", format!("/oem/v1/customers/{customer}/devices")),
            "partner-center-api" => {
                let (method, rest) = match mix(*customer_number) % 5 {
                    0 => ("POST", "/deviceBatches/batch-7/devices"),
                    1 => ("PATCH", "/devicePolicyUpdates"),
                    2 => ("PUT", "/policies/policy-7"),
                    _ => ("POST", "/deviceBatches"),
                };
                (method, format!("/v1/customers/{customer}{rest}"))
            }
            _ => return None,
        };
        let headers = vec![
            (":authority", "api.example.com".to_owned()),
            (":method", method.to_owned()),
            (":path", path.clone()),
            ("content-type", "application/json".to_owned()),
            ("user-agent", "registration/1.0".to_owned()),
            ("x-partner-type", (*partner_type).to_owned()),
            ("x-partner-id", id.clone()),
        ];
        Some(Self { method, path, headers, permitted: *permitted })
    }
}
