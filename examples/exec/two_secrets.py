#!/usr/bin/env python3
"""Administers a server that holds two secrets a client, for keyswap (kind = "exec").

    two_secrets.py URL [--generated]

With --generated the server chooses the value. The token that it asks for is in the environment variable OUR_TOKEN.
Needs Python 3.8 or newer, and nothing else.
"""

import base64
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

URL = sys.argv[1].rstrip("/")
GENERATED = "--generated" in sys.argv[2:]


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Nobody else is to be sent a secret."""

    def redirect_request(self, *_):
        return None


SERVER = urllib.request.build_opener(NoRedirects)


def call(method, path, data=None, **headers):
    """The status, the headers and the JSON of one answer. No answer at all is an exception."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(URL + path, data, {"Accept": "application/json", **headers}, method=method)
    try:
        answer = SERVER.open(request, timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        text = answer.read(1_000_000)
    return answer.status, answer.headers, json.loads(text) if text else {}


def manage(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    return call(method, path, data, Authorization="SSWS " + os.environ["OUR_TOKEN"], Content_Type="application/json")


def problem(outcome, status, headers):
    """What a status other than 2xx means. Of a change, 5xx leaves open whether it was made."""
    error = {401: "credentials", 403: "permission", 404: "no_such_client", 429: "busy"}.get(status, "refused")
    if status >= 500:
        outcome, error = ("unknown" if outcome == "not_applied" else "error"), "unreachable"
    answer = {"outcome": outcome, "error": error, "reason": f"the server answered {status}"}
    if "Retry-After" in headers:
        answer["retry_after_seconds"] = float(headers["Retry-After"])
    return answer


def probe(client, secret):
    quoted = ":".join(urllib.parse.quote_plus(text) for text in (client, secret))
    status, _, _ = call(
        "POST", "/oauth2/default/v1/token", b"grant_type=client_credentials&scope=read",
        Authorization="Basic " + base64.b64encode(quoted.encode()).decode(),
        Content_Type="application/x-www-form-urlencoded",
    )
    if status in (200, 401):
        return {"outcome": "accepted" if status == 200 else "refused"}
    return {"outcome": "inconclusive", "reason": f"the server answered {status}"}


def answer(request):
    asked, client, secret = request["request"], request.get("client", ""), request.get("secret", {})
    application = "/api/v1/apps/" + urllib.parse.quote(client, safe="")
    secrets = application + "/credentials/secrets"
    slot = secrets + "/" + urllib.parse.quote(request.get("slot", ""), safe="")

    if asked == "describe":
        return {"outcome": "ok", "capabilities": {
            "secrets": 2,
            "value_chosen_by": "server" if GENERATED else "caller",
            "deactivation": True,
            "propagation_window_seconds": 30,
            "value": {"shortest": 14, "longest": 100},
        }}

    if asked == "probe":
        return probe(client, secret["value"])

    if asked == "check":
        status, headers, _ = manage("GET", application)
        return {"outcome": "ok"} if status == 200 else problem("error", status, headers)

    if asked == "list_secrets":
        status, headers, found = manage("GET", secrets)
        if status != 200:
            return problem("error", status, headers)
        return {"outcome": "ok", "secrets": [
            {"slot": one["id"], "active": one["status"] == "ACTIVE", "value": one.get("client_secret")}
            for one in found
        ]}

    if asked == "add_secret":
        new = {"client_secret": secret["value"], "status": "ACTIVE"} if "value" in secret else {}
        status, headers, made = manage("POST", secrets, new)
        if status != 201:
            return problem("not_applied", status, headers)
        return {"outcome": "applied", "slot": made["id"], "value": made["client_secret"]}

    if asked == "set_active":
        status, headers, _ = manage("POST", slot + "/lifecycle/" + ("activate" if request["active"] else "deactivate"))
        return {"outcome": "applied"} if status == 200 else problem("not_applied", status, headers)

    if asked == "remove_secret":
        status, headers, _ = manage("DELETE", slot)
        # What is gone already is removed.
        return {"outcome": "applied"} if status in (204, 404) else problem("not_applied", status, headers)

    return {"outcome": "error", "error": "unsupported", "reason": f"no request {asked} is known"}


try:
    result = answer(json.load(sys.stdin))
except Exception as error:  # A change may have been made: keyswap finds out.
    sys.exit(f"no answer: {type(error).__name__}")
print(json.dumps({"keyswap": 1, **result}))
