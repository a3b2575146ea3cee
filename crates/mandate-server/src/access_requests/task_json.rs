//! A task as its caller sees it.

use mandate_changes::fill;
use mandate_core::moment::Moment;
use mandate_pdp::access_request::AccessRequest;
use mandate_pdp::task::{TaskItem, TaskStatus};
use mandate_pdp::task_book::TaskNow;
use mandate_pdp::{View, display_name};
use serde_json::{Map, Value, json};

use super::approval::result_json;
use super::issuer::Asker;
use super::keys::TokenFault;
use super::operation::TASK_PREFIX;
use crate::changes::link_json::review_url;
use crate::language::preferred;

/// A task, and its result once it is approved.
///
/// # Errors
/// A defect of this program.
pub fn task_json(
    found: &TaskNow,
    asker: &Asker<'_>,
    view: &View<'_>,
    now: Moment,
) -> Result<Value, TokenFault> {
    let (task, status, base_url) = (&found.task, found.status_at(now), asker.base_url());
    let endpoint = format!("{base_url}{TASK_PREFIX}{}", task.id);
    let mut body = json!({
        "id": task.id,
        "status": status.as_str(),
        "status_endpoint": endpoint,
        "expires_at": Moment::from_unix_seconds(task.expires_at),
    });
    let mut answer = Map::new();
    if let Some(members) = body.as_object_mut() {
        if let Some(display) = display(found, asker, view) {
            members.insert("display".into(), display);
        }
        if status == TaskStatus::Pending {
            members.insert("links".into(), links(found, asker, &endpoint, now));
        }
        if task.bundled {
            members.insert("items".into(), items(found, asker, &base_url, now)?);
        }
    }
    answer.insert("task".into(), body);
    if !task.bundled
        && let Some((item, Some(request))) = found.items().next()
    {
        let result = result_json((task, item), request, &asker.issuer.keys, &base_url)?;
        answer.extend(result.map(|result| ("result".to_owned(), result)));
    }
    Ok(answer.into())
}

fn items(found: &TaskNow, asker: &Asker<'_>, base_url: &str, now: Moment) -> Result<Value, TokenFault> {
    let item = |(item, request): (&TaskItem, Option<&AccessRequest>)| {
        let mut body = json!({
            "resource": item.denial.resource,
            "action": item.denial.action,
            "status": item.status_at(request, now).as_str(),
        });
        let result = match request {
            Some(request) => result_json((&found.task, item), request, &asker.issuer.keys, base_url)?,
            None => None,
        };
        if let (Some(members), Some(result)) = (body.as_object_mut(), result) {
            members.insert("result".into(), result);
        }
        Ok(body)
    };
    found.items().map(item).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

/// Where what waits is reviewed, and where it is cancelled.
fn links(found: &TaskNow, asker: &Asker<'_>, endpoint: &str, now: Moment) -> Value {
    let mut links = Map::from_iter([("cancel".to_owned(), Value::from(format!("{endpoint}/cancel")))]);
    let waits = |(item, request): &(&TaskItem, Option<&AccessRequest>)| {
        item.status_at(*request, now) == TaskStatus::Pending
    };
    let mut reviews: Vec<String> = Vec::new();
    if let Some(pages_url) = &asker.issuer.pages_url {
        for (_, request) in found.items().filter(waits) {
            let review = request.map(|request| review_url(request, pages_url));
            reviews.extend(review.filter(|review| !reviews.contains(review)));
        }
    }
    for (number, review) in (1..).zip(reviews) {
        // Items of one task may wait for different reviews.
        let relation = if number == 1 { "review".to_owned() } else { format!("urn:mandate:review:{number}") };
        links.insert(relation, review.into());
    }
    links.into()
}

/// What people read about the first thing that is asked for.
fn display(found: &TaskNow, asker: &Asker<'_>, view: &View<'_>) -> Option<Value> {
    let request = found.requests.first()?.as_ref()?;
    let texts = view.changes().request(&request.rule)?.texts(preferred(&asker.head().headers));
    let name = |name| display_name(view.snapshot(), name);
    let requester = name(&request.requester);
    let resource = request.resource.as_ref().map(name).unwrap_or_default();
    let description =
        fill(&texts.question, &[("requester", requester.as_str()), ("resource", resource.as_str())]);
    Some(json!({ "title": texts.title, "description": description }))
}
