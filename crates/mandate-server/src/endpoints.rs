//! The table of the HTTP endpoints. Routing (`service`), the `OpenAPI` document (`openapi`) and AuthZEN's
//! metadata (`authzen::metadata`) are made from it, so a new endpoint is one row here. Envoy's gRPC service
//! is not in it, because it has no HTTP interface of its own: see `gateway::envoy`.

use hyper::StatusCode;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::access_requests::operation::{
    AccessRequestOperation, CANCEL_SUFFIX, JWKS_PATH, REQUESTS_PATH, SCHEMA_PREFIX, TASK_PREFIX,
};
use crate::authzen::api::Operation;
use crate::authzen::evaluation;
use crate::authzen::search::{self, SearchResponse};
use crate::authzen::wire::EvaluationResponse;
use crate::changes::operation::{ChangeOperation, ENTITIES_PREFIX, LINK_PREFIX, LINKS_PATH};
pub use crate::endpoint_path::EndpointPath;
use crate::gateway::http::{EXT_AUTHZ_PREFIX, GatewayProtocol};
pub use crate::methods::Methods;
use crate::openapi::access_requests::{AccessRequestSubmission, CancelRequest};
use crate::openapi::schemas::{
    ActionRequest, ActionSearchRequest, ActionsRequest, BulkRequest, ChangeResponse, ChangesResponse,
    EvaluationRequest, EvaluationsRequest, EvaluationsResponse, LinkRequest, LinkResponse,
    ResourceSearchRequest, ReviewRequest, SubjectSearchRequest, WriteResponse,
};

/// The path of AuthZEN's metadata.
pub const METADATA_PATH: &str = "/.well-known/authzen-configuration";

/// The key of the metadata that holds the base URL; the other keys are in the table.
pub const METADATA_BASE_KEY: &str = "policy_decision_point";

/// An endpoint: how it is reached, what answers there, and what it reads and writes.
#[derive(Debug)]
pub struct Endpoint {
    pub path: EndpointPath,
    pub methods: Methods,
    pub handler: Handler,
    /// The id of the operation in the `OpenAPI` document.
    pub operation_id: &'static str,
    /// One line for the `OpenAPI` document.
    pub summary: &'static str,
    /// The key under which AuthZEN's metadata have the endpoint's URL.
    pub metadata_key: Option<&'static str>,
    pub contract: Contract,
}

/// What answers.
#[derive(Debug, Clone, Copy)]
pub enum Handler {
    AuthZen(Operation),
    Metadata,
    OpenApi,
    Gateway(GatewayProtocol),
    Change(ChangeOperation),
    AccessRequest(AccessRequestOperation),
    /// The public keys.
    Keys,
}

/// A function that adds a type to the `OpenAPI` document and returns the reference to it.
pub type SchemaFn = fn(&mut SchemaGenerator) -> Schema;

/// What an endpoint reads and writes.
#[derive(Debug)]
pub enum Contract {
    /// JSON in, JSON out.
    Json { request: SchemaFn, response: SchemaFn },
    /// JSON in, JSON out, and errors as problem details.
    Change { request: SchemaFn, response: SchemaFn, description: &'static str },
    /// JSON in, a task out, and errors as problem details of the profile of access requests.
    Task { request: SchemaFn, statuses: &'static [StatusCode] },
    /// An entity, to be read, written or deleted under its name.
    Entity { parameters: &'static [Parameter], response: SchemaFn, description: &'static str },
    /// A JSON document, to be fetched.
    Document { response: SchemaFn },
    /// A decision: 200 for a permit and 403 for a denial, or 401 without a principal, with headers that say why.
    GatewayDecision { parameters: &'static [Parameter], description: &'static str },
}

/// A header or a part of the path that an endpoint reads.
#[derive(Debug)]
pub struct Parameter {
    pub name: &'static str,
    /// `header` or `path`.
    pub location: &'static str,
    pub description: &'static str,
}

/// All endpoints; those that are called most often come first.
pub static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: EndpointPath::Exact("/access/v1/evaluation"),
        methods: Methods::Post,
        handler: Handler::AuthZen(Operation { run: evaluation::single, takes_turn: evaluation::explains }),
        operation_id: "evaluateAccess",
        summary: "Evaluate one request",
        metadata_key: Some("access_evaluation_endpoint"),
        contract: Contract::Json {
            request: SchemaGenerator::subschema_for::<EvaluationRequest>,
            response: SchemaGenerator::subschema_for::<EvaluationResponse<'_>>,
        },
    },
    Endpoint {
        path: EndpointPath::Exact("/access/v1/evaluations"),
        methods: Methods::Post,
        handler: Handler::AuthZen(Operation { run: evaluation::batch, takes_turn: evaluation::explains }),
        operation_id: "evaluateAccessBatch",
        summary: "Evaluate several requests against one revision",
        metadata_key: Some("access_evaluations_endpoint"),
        contract: Contract::Json {
            request: SchemaGenerator::subschema_for::<EvaluationsRequest>,
            response: SchemaGenerator::subschema_for::<EvaluationsResponse<'_>>,
        },
    },
    Endpoint {
        path: EndpointPath::Exact("/forward-auth"),
        methods: Methods::Any,
        handler: Handler::Gateway(GatewayProtocol::ForwardAuth),
        operation_id: "checkForwardAuth",
        summary: "Decide on a request that headers describe (nginx, Caddy, Traefik)",
        metadata_key: None,
        contract: Contract::GatewayDecision {
            parameters: &[
                Parameter {
                    name: "X-Forwarded-Method",
                    location: "header",
                    description: "The method of the request",
                },
                Parameter {
                    name: "X-Forwarded-Uri",
                    location: "header",
                    description: "The path and the query of the request, as the client sent them",
                },
            ],
            description: "Send the other headers that the routes read, too. The method does not matter.",
        },
    },
    Endpoint {
        path: EndpointPath::Prefix(EXT_AUTHZ_PREFIX),
        methods: Methods::Any,
        handler: Handler::Gateway(GatewayProtocol::ExtAuthz),
        operation_id: "checkExtAuthz",
        summary: "Decide on the request itself, sent with a prefix before its path (Envoy)",
        metadata_key: None,
        contract: Contract::GatewayDecision {
            parameters: &[Parameter {
                name: "path",
                location: "path",
                description: "The path of the request",
            }],
            description: "The method is that of the request; every method is answered.",
        },
    },
    Endpoint {
        path: EndpointPath::Exact("/access/v1/search/subject"),
        methods: Methods::Post,
        handler: Handler::AuthZen(Operation { run: search::subject, takes_turn: |_| true }),
        operation_id: "searchSubjects",
        summary: "Subject search: which subjects of a type may perform an action on a resource, in pages",
        metadata_key: Some("search_subject_endpoint"),
        contract: Contract::Json {
            request: SchemaGenerator::subschema_for::<SubjectSearchRequest>,
            response: SchemaGenerator::subschema_for::<SearchResponse<'_>>,
        },
    },
    Endpoint {
        path: EndpointPath::Exact("/access/v1/search/resource"),
        methods: Methods::Post,
        handler: Handler::AuthZen(Operation { run: search::resource, takes_turn: |_| true }),
        operation_id: "searchResources",
        summary: "Resource search: on which resources of a type a subject may perform an action, in pages",
        metadata_key: Some("search_resource_endpoint"),
        contract: Contract::Json {
            request: SchemaGenerator::subschema_for::<ResourceSearchRequest>,
            response: SchemaGenerator::subschema_for::<SearchResponse<'_>>,
        },
    },
    Endpoint {
        path: EndpointPath::Exact("/access/v1/search/action"),
        methods: Methods::Post,
        handler: Handler::AuthZen(Operation { run: search::action, takes_turn: |_| true }),
        operation_id: "searchActions",
        summary: "Action search: which actions a subject may perform on a resource, in pages",
        metadata_key: Some("search_action_endpoint"),
        contract: Contract::Json {
            request: SchemaGenerator::subschema_for::<ActionSearchRequest>,
            response: SchemaGenerator::subschema_for::<SearchResponse<'_>>,
        },
    },
    Endpoint {
        path: EndpointPath::Exact("/access/v1/changes"),
        methods: Methods::Post,
        handler: Handler::Change(ChangeOperation::Action),
        operation_id: "changeEntities",
        summary: "Perform an action that changes entities, if the policies permit it",
        metadata_key: None,
        contract: Contract::Change {
            request: SchemaGenerator::subschema_for::<ActionRequest>,
            response: SchemaGenerator::subschema_for::<ChangeResponse>,
            description: "For the callers of `--change-callers`. Decision and edits are committed together, or nothing is.",
        },
    },
    Endpoint {
        path: EndpointPath::Exact("/access/v1/changes/batch"),
        methods: Methods::Post,
        handler: Handler::Change(ChangeOperation::Actions),
        operation_id: "changeEntitiesBatch",
        summary: "Perform several actions that change entities: all of them, or none",
        metadata_key: None,
        contract: Contract::Change {
            request: SchemaGenerator::subschema_for::<ActionsRequest>,
            response: SchemaGenerator::subschema_for::<ChangesResponse>,
            description: "For the callers of `--change-callers`. Each action is decided on the entities as those before it leave them. `index` of a problem is the action that was not performed.",
        },
    },
    Endpoint {
        path: EndpointPath::Exact("/entities/v1/bulk"),
        methods: Methods::Post,
        handler: Handler::Change(ChangeOperation::Entities),
        operation_id: "writeEntities",
        summary: "Write several entities: all of them, or none",
        metadata_key: None,
        contract: Contract::Change {
            request: SchemaGenerator::subschema_for::<BulkRequest>,
            response: SchemaGenerator::subschema_for::<WriteResponse>,
            description: "For the callers of `--entity-callers`. The policies are not asked; the rules of the schema hold.",
        },
    },
    Endpoint {
        path: EndpointPath::Prefix(ENTITIES_PREFIX),
        methods: Methods::Resource,
        handler: Handler::Change(ChangeOperation::Entity),
        operation_id: "entity",
        summary: "Read, write or delete an entity",
        metadata_key: None,
        contract: Contract::Entity {
            parameters: &[Parameter {
                name: "path",
                location: "path",
                description: "The type and the id of the entity, with a slash between them, each percent-encoded",
            }],
            response: SchemaGenerator::subschema_for::<WriteResponse>,
            description: "For the callers of `--entity-callers`. `ETag` is the version of the entity, for `If-Match`.",
        },
    },
    Endpoint {
        path: EndpointPath::Exact(LINKS_PATH),
        methods: Methods::GetOrPost,
        handler: Handler::Change(ChangeOperation::Links),
        operation_id: "links",
        summary: "Make a request that is reviewed by link, or list those of a requester",
        metadata_key: None,
        contract: Contract::Change {
            request: SchemaGenerator::subschema_for::<LinkRequest>,
            response: SchemaGenerator::subschema_for::<LinkResponse>,
            description: "For the callers of `--change-callers`. With GET, `?requester=TYPE::ID` lists the newest requests.",
        },
    },
    Endpoint {
        path: EndpointPath::Prefix(LINK_PREFIX),
        methods: Methods::GetOrPost,
        handler: Handler::Change(ChangeOperation::Link),
        operation_id: "link",
        summary: "Show a request, or review it: `…/accept`, `…/decline`, `…/withdraw`",
        metadata_key: None,
        contract: Contract::Change {
            request: SchemaGenerator::subschema_for::<ReviewRequest>,
            response: SchemaGenerator::subschema_for::<LinkResponse>,
            description: "For the callers of `--change-callers`. The path has the secret of the link, and what to do with it.",
        },
    },
    Endpoint {
        path: EndpointPath::Exact(REQUESTS_PATH),
        methods: Methods::Post,
        handler: Handler::AccessRequest(AccessRequestOperation::Submit),
        operation_id: "submitAccessRequest",
        summary: "Ask for what was denied: an access request of AuthZEN",
        metadata_key: Some("access_request_endpoint"),
        contract: Contract::Task {
            request: SchemaGenerator::subschema_for::<AccessRequestSubmission>,
            statuses: &[StatusCode::ACCEPTED, StatusCode::CREATED],
        },
    },
    Endpoint {
        path: EndpointPath::Between(TASK_PREFIX, CANCEL_SUFFIX),
        methods: Methods::PostOrDelete,
        handler: Handler::AccessRequest(AccessRequestOperation::Cancel),
        operation_id: "cancelAccessRequest",
        summary: "Cancel an access request, as far as it waits",
        metadata_key: None,
        contract: Contract::Task {
            request: SchemaGenerator::subschema_for::<CancelRequest>,
            statuses: &[StatusCode::OK],
        },
    },
    Endpoint {
        path: EndpointPath::Prefix(TASK_PREFIX),
        methods: Methods::Get,
        handler: Handler::AccessRequest(AccessRequestOperation::Task),
        operation_id: "getAccessRequest",
        summary: "What became of an access request, for the caller that submitted it",
        metadata_key: None,
        contract: Contract::Task {
            request: SchemaGenerator::subschema_for::<CancelRequest>,
            statuses: &[StatusCode::OK],
        },
    },
    Endpoint {
        path: EndpointPath::Prefix(SCHEMA_PREFIX),
        methods: Methods::Get,
        handler: Handler::AccessRequest(AccessRequestOperation::Schema),
        operation_id: "accessRequestSchema",
        summary: "The JSON Schema of what an access request has to say besides the denial",
        metadata_key: None,
        contract: Contract::Entity {
            parameters: &[Parameter {
                name: "path",
                location: "path",
                description: "The id of a rule of requests; with `?subject=TYPE::ID`, what that subject may choose is listed",
            }],
            response: |_| json_schema!({ "type": "object" }),
            description: "For the callers of `--request-callers`.",
        },
    },
    Endpoint {
        path: EndpointPath::Exact(JWKS_PATH),
        methods: Methods::GetOrHead,
        handler: Handler::Keys,
        operation_id: "getKeys",
        summary: "The public keys of signed denials and approvals",
        metadata_key: Some("jwks_uri"),
        contract: Contract::Document { response: |_| json_schema!({ "type": "object" }) },
    },
    Endpoint {
        path: EndpointPath::Exact(METADATA_PATH),
        methods: Methods::GetOrHead,
        handler: Handler::Metadata,
        operation_id: "getMetadata",
        summary: "AuthZEN metadata: the URLs of the endpoints",
        metadata_key: None,
        contract: Contract::Document { response: metadata_schema },
    },
    Endpoint {
        path: EndpointPath::Exact("/openapi.json"),
        methods: Methods::GetOrHead,
        handler: Handler::OpenApi,
        operation_id: "getOpenApi",
        summary: "This document",
        metadata_key: None,
        contract: Contract::Document { response: |_| json_schema!({ "type": "object" }) },
    },
];

/// The endpoint of a path.
pub fn find(path: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.iter().find(|endpoint| endpoint.path.matches(path))
}

/// The keys of AuthZEN's metadata and the paths of their endpoints; those of access requests only if these are taken.
pub fn metadata_paths(takes_requests: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_of_requests =
        |endpoint: &Endpoint| matches!(endpoint.handler, Handler::AccessRequest(_) | Handler::Keys);
    let shown = ENDPOINTS.iter().filter(move |endpoint| takes_requests || !is_of_requests(endpoint));
    shown.filter_map(|endpoint| Some((endpoint.metadata_key?, endpoint.path.fixed_part())))
}

fn metadata_schema(_: &mut SchemaGenerator) -> Schema {
    let keys = |all| [METADATA_BASE_KEY].into_iter().chain(metadata_paths(all).map(|(key, _)| key));
    let mut properties: Map<String, Value> =
        keys(true).map(|key| (key.to_owned(), json!({ "type": "string", "format": "uri" }))).collect();
    let capabilities = json!({ "type": "array", "items": { "type": "string" } });
    properties.insert("capabilities".to_owned(), capabilities);
    json_schema!({ "type": "object", "properties": properties, "required": keys(false).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;

    #[test]
    fn each_path_leads_to_its_own_row() {
        for endpoint in ENDPOINTS {
            let found = find(&endpoint.path.template()).unwrap();
            assert_eq!(found.operation_id, endpoint.operation_id);
        }
        assert_eq!(find("/ext-authz/").unwrap().operation_id, "checkExtAuthz");
        for path in ["", "/", "/ext-authz", "/forward-auth/", "/access/v1/evaluation/", "/openapi"] {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn methods() {
        for endpoint in ENDPOINTS {
            assert!(!endpoint.operation_id.is_empty());
            for allowed in endpoint.methods.allow_header().split(", ").filter(|it| *it != "*") {
                assert!(endpoint.methods.allow(&allowed.parse().unwrap()), "{endpoint:?}");
            }
        }
        assert!(!Methods::Post.allow(&Method::GET) && !Methods::GetOrHead.allow(&Method::POST));
    }
}
