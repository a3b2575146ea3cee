//! Questions as the HTTP requests that a gateway asks about.

use crate::world::{Question, mix};

/// An HTTP request that a gateway asks about, and whether it is permitted.
#[derive(Debug, Clone)]
pub struct GatewayRequest {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub permitted: bool,
}

impl GatewayRequest {
    /// By the one route of [`crate::world::write_policies`], which takes questions of all channels.
    pub fn one_route(question: &Question) -> Self {
        let Question { principal: (kind, id), customer, channel, permitted, .. } = question;
        let headers = [
            (":method", "POST".to_owned()),
            ("x-partner-kind", (*kind).to_owned()),
            ("x-partner", id.clone()),
            ("x-channel", (*channel).to_owned()),
        ];
        let path = format!("/v1/customers/{customer}/deviceBatches");
        Self { method: "POST", path, headers: headers.into(), permitted: *permitted }
    }

    /// By the pack's routes, several of which come to the same question. There is none for the user
    /// interface of Partner Center, so a question about that channel gives `None`.
    pub fn pack(question: &Question) -> Option<Self> {
        let Question { principal: (kind, id), customer, channel, permitted, number, .. } = question;
        let (method, path) = match *channel {
            "oem-api" => ("POST", format!("/oem/v1/customers/{customer}/devices")),
            "partner-center-api" => {
                let (method, rest) = match mix(*number) % 5 {
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
            ("x-partner-type", (*kind).to_owned()),
            ("x-partner-id", id.clone()),
        ];
        Some(Self { method, path, headers, permitted: *permitted })
    }
}
