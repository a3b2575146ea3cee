//! The rules of the profile for a decision point and an access request service, each with the section that has it and the
//! test that holds it. Rules for callers, for catalogs and for hashed bindings are not here: see `docs/access-requests.md`.

/// Section, rule, and the name of the test.
const RULES: &[(&str, &str, &str)] = &[
    (
        "Discovery",
        "the metadata have `access_request_endpoint`",
        "metadata_name_the_endpoint_the_keys_and_the_capability",
    ),
    (
        "Discovery",
        "the metadata have the capability",
        "metadata_name_the_endpoint_the_keys_and_the_capability",
    ),
    ("Discovery", "the metadata have `jwks_uri`", "metadata_name_the_endpoint_the_keys_and_the_capability"),
    ("Discovery", "keys have `kid` and `use`", "keys_are_public_and_named_by_their_thumbprints"),
    ("Discovery", "keys are cached, and rotated", "keys_are_rotated_without_losing_what_was_signed"),
    (
        "Requestable Denial Context",
        "the object is there only for denials that can be requested",
        "a_denial_that_stays_is_not_requestable",
    ),
    (
        "Requestable Denial Context",
        "a denial with the object stays a denial",
        "a_denial_that_a_consent_would_turn_is_requestable",
    ),
    (
        "Requestable Denial Context",
        "`expires_at` and a binding are there",
        "a_denial_that_a_consent_would_turn_is_requestable",
    ),
    ("Requestable Denial Context", "`reason` is a code", "a_denial_that_a_consent_would_turn_is_requestable"),
    (
        "Requestable Denial Context",
        "`display` is in the language of the caller",
        "people_read_it_in_their_language",
    ),
    ("Requestable Denial Context", "no endpoint, no object", "nothing_of_it_is_there_unless_it_is_turned_on"),
    (
        "Evaluation Identifier",
        "`evaluation_id` names the evaluation",
        "a_denial_that_a_consent_would_turn_is_requestable",
    ),
    ("Evaluation Identifier", "it is kept for audits", "the_log_tells_the_whole_story"),
    ("Machine-Readable Forms", "a schema says what has to be added", "a_choice_is_described_by_a_schema"),
    (
        "Access Request Submission",
        "`resource` and `action`, or `items`",
        "a_bundle_has_items_and_nothing_beside_them",
    ),
    (
        "Access Request Submission",
        "members of an item replace those of all",
        "a_bundle_has_items_and_nothing_beside_them",
    ),
    (
        "Access Request Submission",
        "added context does not change what was denied",
        "context_may_be_added_and_not_changed",
    ),
    ("Access Request Submission", "a denial is required, and each item has one", "every_item_needs_a_denial"),
    (
        "Access Request Submission",
        "without a verifiable binding: invalid_denial_binding",
        "a_submission_needs_the_token_of_its_denial",
    ),
    (
        "Access Request Submission",
        "what the binding does not cover is refused",
        "what_is_submitted_has_to_be_what_was_denied",
    ),
    ("Access Request Submission", "late submissions are refused", "a_denial_expires"),
    (
        "Access Request Submission",
        "the same key and body: the same task",
        "a_repetition_with_a_key_gets_the_same_task",
    ),
    (
        "Access Request Submission",
        "the same key and another body: duplicate_request",
        "a_repetition_with_a_key_gets_the_same_task",
    ),
    (
        "Access Request Submission",
        "`requested_until` is an absolute time",
        "requested_until_is_an_end_that_the_rule_allows",
    ),
    (
        "Access Request Response",
        "202 with a task handle, and `Location`",
        "a_submission_is_answered_with_a_task_handle",
    ),
    (
        "Access Request Response",
        "201 with a result if it is done already",
        "a_repetition_with_a_key_gets_the_same_task",
    ),
    (
        "Access Request Response",
        "ids are opaque and cannot be guessed",
        "a_submission_is_answered_with_a_task_handle",
    ),
    ("Access Request Response", "items are listed in their order", "items_end_one_by_one"),
    (
        "Access Request Response",
        "the status of all is computed from the items",
        "items_that_end_differently_are_partial",
    ),
    (
        "Task Status Endpoint",
        "a handle works after a restart and for another instance",
        "a_task_survives_the_process_and_the_token_of_its_caller",
    ),
    ("Task Status Endpoint", "`Retry-After` while it waits", "a_task_waits_and_says_when_to_ask_again"),
    (
        "State Transitions",
        "approved once it is accepted, for good",
        "an_accepted_task_is_approved_with_a_result",
    ),
    ("State Transitions", "denied once it is declined, for good", "a_declined_task_is_denied"),
    (
        "State Transitions",
        "cancelled once it is withdrawn",
        "a_request_that_its_requester_takes_back_is_cancelled",
    ),
    ("State Transitions", "expired once its time has passed", "requests_tasks_and_approvals_end_with_time"),
    (
        "Completed Task Response",
        "an approved task has a result",
        "an_accepted_task_is_approved_with_a_result",
    ),
    ("Completed Task Response", "each approved item has its own result", "items_end_one_by_one"),
    ("Completed Task Response", "afterwards: task_expired", "requests_tasks_and_approvals_end_with_time"),
    ("Cancellation", "POST or DELETE, with a reason", "a_caller_cancels_its_task"),
    (
        "Cancellation",
        "a task that has ended: invalid_task_state",
        "an_accepted_task_is_approved_with_a_result",
    ),
    ("Cancellation", "items that have ended stay as they are", "cancelling_ends_the_items_that_wait"),
    ("Cancellation", "it takes a right of its own", "a_task_is_nobody_elses"),
    ("Completion Semantics", "the mode is `reevaluate`", "an_accepted_task_is_approved_with_a_result"),
    ("Completion Semantics", "approvals end, and say when", "an_approval_ends_when_its_requester_said"),
    (
        "Completion Semantics",
        "the decision is made on the present state and policies",
        "an_approval_never_overrides_the_policies",
    ),
    (
        "Completion Semantics",
        "id and state have to match",
        "an_approval_that_cannot_be_verified_is_worth_nothing",
    ),
    (
        "Completion Semantics",
        "the state is signed, for this decision point",
        "an_approval_that_cannot_be_verified_is_worth_nothing",
    ),
    ("Completion Semantics", "an approval is bound to its caller", "an_approval_belongs_to_its_caller"),
    (
        "Completion Semantics",
        "an approval that does not apply is ignored",
        "a_permit_stays_a_permit_with_a_bad_approval",
    ),
    (
        "Completion Semantics",
        "the scope is what was denied, member by member",
        "an_approval_is_about_what_was_denied",
    ),
    (
        "Completion Semantics",
        "`next_action: request` has a fresh offer",
        "a_right_that_was_taken_away_can_be_asked_for_again",
    ),
    ("Completion Semantics", "`policy_denied`: none", "an_approval_never_overrides_the_policies"),
    (
        "Completion Semantics",
        "`approval_expired`: request",
        "a_right_that_was_taken_away_can_be_asked_for_again",
    ),
    ("Completion Semantics", "`out_of_scope`: request", "an_approval_is_about_what_was_denied"),
    (
        "Completion Semantics",
        "`approval_unverifiable`: none",
        "an_approval_that_cannot_be_verified_is_worth_nothing",
    ),
    ("Completion Semantics", "a permit shows the approval and its end", "the_next_evaluation_permits"),
    (
        "Completion Semantics",
        "items are evaluated again one by one",
        "items_of_a_batch_bring_their_own_approvals",
    ),
    (
        "Callback Completion",
        "a call has the task, and the state as it was sent",
        "a_caller_is_told_what_became_of_its_task",
    ),
    ("Callback Completion", "calls are authenticated", "a_caller_is_told_what_became_of_its_task"),
    (
        "Callback Completion",
        "only allowed endpoints, and no internal ones unless said",
        "only_allowed_hosts_are_called",
    ),
    ("Callback Completion", "only the events that were asked for", "only_the_events_that_it_wants_are_told"),
    (
        "Error Responses",
        "errors are problem details with the type of the profile",
        "what_is_submitted_has_to_be_what_was_denied",
    ),
    ("Error Responses", "not_requestable: 400", "it_is_decided_again_when_it_is_submitted"),
    ("Error Responses", "expired_denial: 410", "a_denial_expires"),
    ("Error Responses", "invalid_denial_binding: 400", "a_token_that_others_made_is_refused"),
    ("Error Responses", "duplicate_request: 409", "a_repetition_with_a_key_gets_the_same_task"),
    ("Error Responses", "unknown_task: 404", "a_task_is_nobody_elses"),
    ("Error Responses", "task_expired: 410", "requests_tasks_and_approvals_end_with_time"),
    ("Error Responses", "invalid_task_state: 409", "a_caller_cancels_its_task"),
    (
        "Forward Compatibility",
        "unknown members of extension points are ignored",
        "emergencies_are_refused_and_unknown_members_ignored",
    ),
    (
        "PDP Processing Rules",
        "the token is signed, and its claims are inline",
        "the_token_binds_what_was_asked_inline",
    ),
    (
        "PDP Processing Rules",
        "mandatory conditions stay: nothing while all is denied",
        "nothing_is_requestable_while_everything_is_denied",
    ),
    (
        "Access Request Service Processing Rules",
        "callers are authenticated and authorized",
        "only_named_callers_submit",
    ),
    (
        "Access Request Service Processing Rules",
        "a denial that cannot be requested: not_requestable",
        "a_denial_without_an_offer_cannot_be_submitted",
    ),
    (
        "Access Request Service Processing Rules",
        "signatures are verified by `kid`",
        "the_token_of_a_denial_is_verified_by_the_published_key",
    ),
    (
        "Access Request Service Processing Rules",
        "requests end by local policy",
        "requests_tasks_and_approvals_end_with_time",
    ),
    (
        "Access Request Service Processing Rules",
        "approved only after an eligible reviewer accepted",
        "only_an_eligible_reviewer_approves",
    ),
    (
        "Access Request Service Processing Rules",
        "records tell what happened",
        "the_log_tells_the_whole_story",
    ),
    ("Authorization and Authentication", "a task is shown only to its caller", "a_task_is_nobody_elses"),
    (
        "Delegation and On-Behalf-Of",
        "an actor that cannot be verified is refused",
        "an_actor_that_cannot_be_verified_is_refused",
    ),
    (
        "Delegation and On-Behalf-Of",
        "the actor of a subject may be named elsewhere",
        "what_is_submitted_has_to_be_what_was_denied",
    ),
    (
        "Binding Token Integrity",
        "`aud` is required, and has to be this service",
        "a_token_for_another_party_is_refused",
    ),
    ("Binding Token Integrity", "`jti` is accepted once", "a_token_is_used_once"),
    (
        "Binding Token Integrity",
        "values are compared structurally",
        "numbers_and_the_order_of_members_do_not_matter",
    ),
    ("Binding Token Integrity", "the earlier of both ends counts", "a_denial_expires"),
    (
        "Binding Token Integrity",
        "what is signed for one use is not accepted for another",
        "an_approval_is_no_denial",
    ),
    (
        "Overbroad Approval",
        "`requested_access` is no policy: it is decided again",
        "a_choice_is_described_by_a_schema",
    ),
    (
        "Emergency Access",
        "there is none, and nobody is told otherwise",
        "emergencies_are_refused_and_unknown_members_ignored",
    ),
    ("Task Handle Leakage", "a leaked handle is worth nothing", "a_task_is_nobody_elses"),
    (
        "Callback Security",
        "no redirect is followed",
        "a_call_that_fails_is_repeated_and_no_redirect_is_followed",
    ),
    ("Idempotency Key Abuse", "keys belong to their caller", "a_repetition_with_a_key_gets_the_same_task"),
    ("Availability", "requests are limited", "a_requester_has_only_so_many_requests"),
    ("Time and Clock Skew", "30 seconds are tolerated", "a_denial_expires"),
];

/// The files with the tests.
const FILES: &[&str] = &[
    include_str!("approvals.rs"),
    include_str!("bundles.rs"),
    include_str!("callbacks.rs"),
    include_str!("denials.rs"),
    include_str!("discovery.rs"),
    include_str!("submissions.rs"),
    include_str!("tasks.rs"),
];

#[test]
fn every_rule_has_its_test() {
    for (section, rule, test) in RULES {
        let is_there = FILES.iter().any(|file| file.contains(&format!("#[test]\nfn {test}() {{")));
        assert!(is_there, "{section}: {rule}: there is no test `{test}`");
    }
}
