"""A program that gets tokens with Authlib, as one does that knows nothing of keyswap: until SIGTERM, one after the other.

usage: sign_in.py TOKEN_ENDPOINT CLIENT_ID METHOD INTERVAL_MS [NAME=VALUE...]

METHOD is client_secret_basic or client_secret_post; the secret is in CLIENT_SECRET. One JSON line every 25 requests and
one at the end: {"requests", "failed", "failures", "ended"}.
"""
import json
import os
import signal
import sys
import time

from authlib.integrations.requests_client import OAuth2Session

endpoint, client, method, interval = sys.argv[1:5]
parameters = dict(pair.split("=", 1) for pair in sys.argv[5:])
session = OAuth2Session(client, os.environ["CLIENT_SECRET"], token_endpoint_auth_method=method)

ended = False
requests, failures = 0, []


def end(*_):
    global ended
    ended = True


def tell():
    told = {"requests": requests, "failed": len(failures), "failures": failures[:3], "ended": ended}
    print(json.dumps(told), flush=True)


signal.signal(signal.SIGTERM, end)
while not ended:
    requests += 1
    try:
        token = session.fetch_token(endpoint, grant_type="client_credentials", **parameters)
        if not token.get("access_token"):
            failures.append("no token")
    except Exception as error:
        failures.append(repr(error))
    if requests % 25 == 0:
        tell()
    time.sleep(int(interval) / 1000)
tell()
