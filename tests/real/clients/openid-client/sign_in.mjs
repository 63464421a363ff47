// A program that gets tokens with openid-client, as one does that knows nothing of keyswap: until SIGTERM, one after the
// other.
//
// usage: node sign_in.mjs TOKEN_ENDPOINT CLIENT_ID METHOD INTERVAL_MS [NAME=VALUE...]
//
// METHOD is client_secret_basic or client_secret_post; the secret is in CLIENT_SECRET. One JSON line every 25 requests and
// one at the end: {"requests", "failed", "failures", "ended"}.
import { setTimeout } from 'node:timers/promises';
import * as client from 'openid-client';

const [endpoint, id, method, interval, ...pairs] = process.argv.slice(2);
const parameters = Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
const methods = { client_secret_basic: client.ClientSecretBasic, client_secret_post: client.ClientSecretPost };
const server = { issuer: new URL(endpoint).origin, token_endpoint: endpoint };
const config = new client.Configuration(server, id, undefined, methods[method](process.env.CLIENT_SECRET));
// The servers of the tests are on this machine.
client.allowInsecureRequests(config);

let ended = false;
let requests = 0;
const failures = [];
const tell = () => console.log(JSON.stringify({ requests, failed: failures.length, failures: failures.slice(0, 3), ended }));

process.on('SIGTERM', () => { ended = true; });
while (!ended) {
  requests += 1;
  try {
    const token = await client.clientCredentialsGrant(config, parameters);
    if (!token.access_token) failures.push('no token');
  } catch (error) {
    failures.push(`${error}: ${error.cause}`);
  }
  if (requests % 25 === 0) tell();
  await setTimeout(Number(interval));
}
tell();
