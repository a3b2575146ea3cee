"""A small gateway in front of a service. It asks Mandate about each request. Where a denial can be turned by somebody
else, it starts an access request, keeps the client's request, and performs it once that is approved.

    gateway.py PORT SERVICE_URL MANDATE_URL MANDATE_TOKEN gateway.json

It knows no domain: which request is which question stands in gateway.json. It keeps what waits in memory; one that has
to survive keeps it in a file, because tasks survive in Mandate.

The link to the review lets its holder see what is asked for, so it is for those who bring it to whoever decides: here
the partner's back office, which sends it to the customer. Clients that are not of the back office never get it, and
nobody gets the addresses of Mandate.
"""

import http.server
import json
import re
import secrets
import sys
import threading
import time
import urllib.error
import urllib.request

PORT, SERVICE, MANDATE, TOKEN, CONFIG = sys.argv[1:6]
with open(CONFIG, encoding="utf-8") as file:
    CONFIG = json.load(file)
EVALUATION = f"{MANDATE}/access/v1/evaluation"

# Requests of clients that wait, by an id of the gateway's own; and approvals, by what was asked.
WAITING = {}
APPROVALS = {}


def call(method, url, body=None, headers=None):
    """The status, the headers and the body of an answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, error.headers, {"error": text}


def mandate(method, url, body=None, headers=None):
    """Asks Mandate, and nobody else: what it says is on its own origin."""
    if not url.startswith(f"{MANDATE}/"):
        raise ValueError(f"{url} is not of {MANDATE}")
    return call(method, url, body, {"Authorization": f"Bearer {TOKEN}", **(headers or {})})


def decide(question):
    """Whether a question is permitted, and what was said of it. Everything but a clear permit is a denial."""
    asked = dict(question)
    approval = APPROVALS.get(json.dumps(question, sort_keys=True))
    if approval:
        asked["context"] = {**question["context"], "approval": approval}
    try:
        status, _, answer = mandate("POST", EVALUATION, asked)
    except OSError:
        return False, {}
    return status == 200 and answer.get("decision") is True, answer.get("context", {})


def start(question, context):
    """Starts an access request for a denial. It must not be started without an offer."""
    offer = context["access_request"]
    denial = {
        "evaluation_id": context["evaluation_id"],
        "evaluated_at": context["evaluated_at"],
        "reason": context["reason"],
        "expires_at": offer["expires_at"],
        "binding_token": offer["binding_token"],
        "template": offer["template"],
    }
    # The key makes it safe to send it again if the answer is lost.
    key = {"Idempotency-Key": secrets.token_hex(16)}
    status, _, answer = mandate("POST", offer["endpoint"], {**question, "denial": denial}, key)
    return answer if status in (201, 202) else None


def follow(waiting):
    """Polls a task until it ends, and then performs the request that waited for it."""
    while True:
        status, headers, answer = mandate("GET", waiting["task"]["status_endpoint"])
        if status != 200 or answer["task"]["status"] != "pending":
            break
        time.sleep(min(int(headers.get("Retry-After", "5")), POLL_AT_MOST))
    waiting["ended"] = finish(waiting, answer if status == 200 else {})


def finish(waiting, answer):
    """The answer to a request whose task has ended. Only a new evaluation permits."""
    result = answer.get("result", {})
    if answer.get("task", {}).get("status") != "approved" or result.get("mode") != "reevaluate":
        return 403, {"status": answer.get("task", {}).get("status", "unknown")}
    question = waiting["question"]
    APPROVALS[json.dumps(question, sort_keys=True)] = result["approval"]
    while True:
        permitted, context = decide(question)
        if permitted:
            status, _, body = call("POST", SERVICE + waiting["path"], waiting["body"])
            return status, body
        if context.get("next_action") != "retry":
            return 403, {"status": context.get("reason", "denied")}
        time.sleep(context.get("retry_after", 5))


# So that the example does not take long; a real gateway waits as long as Mandate says.
POLL_AT_MOST = 1


class Gateway(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        body = json.loads(self.rfile.read(length) or b"null")
        client, question = self.client(), self.question()
        if client is None:
            return self.answer(401, {"error": "unknown client"})
        if question is None:
            return self.answer(404, {"error": "no such path"})
        question = {"subject": client["subject"], **question}
        permitted, context = decide(question)
        if permitted:
            status, _, answer = call("POST", SERVICE + self.path, body)
            return self.answer(status, answer)
        if "access_request" not in context:
            return self.answer(403, {"error": context.get("reason_user", {}).get("en", "denied")})
        started = start(question, context)
        if started is None:
            return self.answer(403, {"error": "denied"})
        waiting = {"task": started["task"], "question": question, "path": self.path, "body": body,
                   "subject": client["subject"], "ended": None}
        name = secrets.token_urlsafe(24)
        WAITING[name] = waiting
        threading.Thread(target=follow, args=[waiting], daemon=True).start()
        return self.waits(name, waiting, client)

    def do_GET(self):
        client, name = self.client(), self.path.removeprefix("/waiting/")
        waiting = WAITING.get(name)
        if client is None or waiting is None or waiting["subject"] != client["subject"]:
            return self.answer(404, {"error": "unknown"})
        if waiting["ended"] is None:
            return self.waits(name, waiting, client)
        return self.answer(*waiting["ended"])

    def waits(self, name, waiting, client):
        """Of the task, people read only what is for them."""
        task = waiting["task"]
        answer = {"status": "pending", "follow": f"/waiting/{name}", **task.get("display", {})}
        if client["may_review"] and "review" in task.get("links", {}):
            answer["send_this_to_the_customer"] = task["links"]["review"]
        return self.answer(202, answer)

    def client(self):
        return CONFIG["clients"].get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def question(self):
        """The question that a request asks, by the routes."""
        for route in CONFIG["routes"]:
            found = re.match(route["path"], self.path)
            if found and route["method"] == self.command:
                named = route["resource"]["id"].format(**found.groupdict())
                resource = {**route["resource"], "id": named}
                return {"action": route["action"], "resource": resource, "context": route["context"]}
        return None

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(PORT)), Gateway).serve_forever()
