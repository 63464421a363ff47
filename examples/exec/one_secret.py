#!/usr/bin/env python3
"""Administers a server that holds one secret a client, for keyswap (kind = "exec").

    one_secret.py URL [--generated]

With --generated the server chooses the value. Whoever asks it for a change needs a token of the client `our-admin`,
whose secret is in the environment variable OUR_ADMIN_SECRET. Needs Python 3.8 or newer, and nothing else.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

URL = sys.argv[1].rstrip("/")
GENERATED = "--generated" in sys.argv[2:]
API = "https://api.example/"


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Nobody else is to be sent a secret."""

    def redirect_request(self, *_):
        return None


SERVER = urllib.request.build_opener(NoRedirects)


def call(method, path, body=None, form=None, token=None):
    """The status, the headers and the JSON of one answer. No answer at all is an exception."""
    headers = {"Accept": "application/json"}
    data = None
    if form is not None:
        data = urllib.parse.urlencode(form).encode()
    elif body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    if token is not None:
        headers["Authorization"] = "Bearer " + token
    request = urllib.request.Request(URL + path, data, headers, method=method)
    try:
        answer = SERVER.open(request, timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        text = answer.read(1_000_000)
    return answer.status, answer.headers, json.loads(text) if text else {}


def sign_in(client, secret, audience):
    return call("POST", "/oauth/token", form={
        "grant_type": "client_credentials", "client_id": client, "client_secret": secret, "audience": audience,
    })


def problem(outcome, status, headers):
    """What a status other than 2xx means. Of a change, 5xx leaves open whether it was made."""
    error = {401: "credentials", 403: "permission", 404: "no_such_client", 429: "busy"}.get(status, "refused")
    if status >= 500:
        outcome, error = ("unknown" if outcome == "not_applied" else "error"), "unreachable"
    answer = {"outcome": outcome, "error": error, "reason": f"the server answered {status}"}
    if "Retry-After" in headers:
        answer["retry_after_seconds"] = float(headers["Retry-After"])
    return answer


def answer(request):
    asked, client = request["request"], request.get("client")

    if asked == "describe":
        return {"outcome": "ok", "capabilities": {
            "secrets": 1,
            "value_chosen_by": "server" if GENERATED else "caller",
            "read_back": True,
            "propagation_window_seconds": 30,
            "value": {"shortest": 16, "longest": 100},
        }}

    if asked == "probe":
        status, _, _ = sign_in(client, request["secret"]["value"], API)
        if status == 200:
            return {"outcome": "accepted"}
        if status == 401:
            return {"outcome": "refused"}
        return {"outcome": "inconclusive", "reason": f"the server answered {status}"}

    changes = asked in ("set_secret", "regenerate_secret")
    failed = "not_applied" if changes else "error"
    status, headers, granted = sign_in("our-admin", os.environ["OUR_ADMIN_SECRET"], URL + "/api/v2/")
    if status >= 500:
        # Nothing was asked yet, so no change is open.
        return {"outcome": failed, "error": "unreachable", "reason": f"no token: the server answered {status}"}
    if status != 200:
        return problem(failed, status, headers)
    token = granted["access_token"]
    path = "/api/v2/clients/" + urllib.parse.quote(client, safe="")

    if asked in ("check", "read_back"):
        status, headers, found = call("GET", path, token=token)
        if status != 200:
            return problem("error", status, headers)
        if asked == "read_back":
            return {"outcome": "ok", "value": found.get("client_secret")}
        if found.get("token_endpoint_auth_method") != "client_secret_post":
            return {"outcome": "error", "error": "unsupported_client", "reason": "it does not authenticate by post"}
        return {"outcome": "ok"}

    if asked == "set_secret":
        status, headers, _ = call("PATCH", path, {"client_secret": request["secret"]["value"]}, token=token)
        return {"outcome": "applied"} if status == 200 else problem("not_applied", status, headers)

    if asked == "regenerate_secret":
        status, headers, found = call("POST", path + "/rotate-secret", {}, token=token)
        if status != 200:
            return problem("not_applied", status, headers)
        return {"outcome": "applied", "value": found["client_secret"]}

    return {"outcome": "error", "error": "unsupported", "reason": f"no request {asked} is known"}


try:
    result = answer(json.load(sys.stdin))
except Exception as error:  # A change may have been made: keyswap finds out.
    sys.exit(f"no answer: {type(error).__name__}")
print(json.dumps({"keyswap": 1, **result}))
