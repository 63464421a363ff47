// Walks the real `auth0` SDK through reading, updating and rotating a client, at whatever serves under --base.
//
// One JSON line a step on stdout: {"step", "ok"} or {"step", "error", "status", "body"}. The exit status is 0 whatever
// the answers were: the test that runs this compares the lines. --trace adds a line for each request that was sent.
import { parseArgs } from 'node:util';
import { ManagementClient } from 'auth0';
import { AuthenticationClient } from 'auth0/legacy';

const { values: opt } = parseArgs({
  options: {
    base: { type: 'string' },          // http://127.0.0.1:PORT or https://127.0.0.1:PORT
    id: { type: 'string' },            // the management client: needs read:clients,
    secret: { type: 'string' },        //   update:clients and update:client_keys
    client: { type: 'string' },        // the client whose secret is rotated
    current: { type: 'string' },       // its secret now, to prove which one signs in
    'new-secret': { type: 'string', default: `chosen-${'n'.repeat(57)}` },
    audience: { type: 'string' },      // default https://HOST/api/v2/
    retries: { type: 'string', default: '2' },
    trace: { type: 'boolean', default: false },
  },
});
for (const name of ['base', 'id', 'secret', 'client']) {
  if (!opt[name]) {
    console.error('usage: node oracle.mjs --base URL --id ID --secret SECRET --client TARGET_ID [--current SECRET] [--new-secret S] [--audience A] [--retries N] [--trace]');
    process.exit(2);
  }
}

const base = new URL(opt.base);
const out = (line) => console.log(JSON.stringify(line));

// The SDK always builds https://DOMAIN/...; its own `fetch` option puts that back to plain http, which leaves everything
// else it does as it is.
async function via(url, init) {
  const address = new URL(String(url));
  address.protocol = base.protocol;
  const answer = await fetch(address, init);
  if (opt.trace) {
    const kind = new Headers(init.headers).get('content-type');
    const text = init.body?.toString() ?? '';
    out({
      trace: `${init.method} ${address.pathname}`,
      'content-type': kind,
      // The names alone: the values are secrets.
      sends: text === '' ? [] : [...(kind?.includes('json') ? Object.keys(JSON.parse(text)) : new URLSearchParams(text).keys())],
      status: answer.status,
      ms: Math.round(performance.now()),
    });
  }
  return answer;
}

const sdk = new ManagementClient({
  domain: base.host,
  clientId: opt.id,
  clientSecret: opt.secret,
  ...(opt.audience && { audience: opt.audience }),
  maxRetries: Number(opt.retries),
  fetch: via,
});

async function step(name, call) {
  try {
    out({ step: name, ok: await call() });
    return true;
  } catch (error) {
    out({
      step: name, error: error.name, status: error.statusCode, body: error.body,
      ...(error.statusCode === undefined && { message: error.message, cause: error.cause?.message }),
    });
    return false;
  }
}

const brief = (client) => ({
  client_id: client.client_id, name: client.name, client_secret: client.client_secret,
  token_endpoint_auth_method: client.token_endpoint_auth_method, app_type: client.app_type,
});

async function signIn(name, clientSecret) {
  const auth = new AuthenticationClient({
    domain: base.host, clientId: opt.client, clientSecret, fetch: via, retry: { enabled: false },
  });
  await step(`sign in with ${name}`, async () => {
    const { data } = await auth.oauth.clientCredentialsGrant({ audience: 'https://api.example/' });
    return { token_type: data.token_type, expires_in: data.expires_in, access_token: typeof data.access_token };
  });
}

let last;
const keep = (client) => { last = client.client_secret; return brief(client); };

await step('get', async () => brief(await sdk.clients.get(opt.client)));
await step('get, some fields', async () => sdk.clients.get(opt.client, { fields: 'client_id,name', include_fields: true }));
if (opt.current) await signIn('the current secret', opt.current);
await step('update with client_secret', async () => keep(await sdk.clients.update(opt.client, { client_secret: opt['new-secret'] })));
await step('get', async () => brief(await sdk.clients.get(opt.client)));
await signIn('the secret that update set', opt['new-secret']);
if (opt.current) await signIn('the secret before that', opt.current);
await step('rotateSecret', async () => keep(await sdk.clients.rotateSecret(opt.client)));
const rotated = last;
await signIn('the secret that rotateSecret gave', rotated);
await signIn('the secret before that', opt['new-secret']);
await step('get', async () => brief(await sdk.clients.get(opt.client)));
await step('update with a short client_secret', async () => keep(await sdk.clients.update(opt.client, { client_secret: 'x' })));
await step('get of a client that is not there', async () => brief(await sdk.clients.get('nope')));
await step('update of a client that is not there', async () => brief(await sdk.clients.update('nope', { client_secret: opt['new-secret'] })));
await step('rotateSecret of a client that is not there', async () => brief(await sdk.clients.rotateSecret('nope')));
const stranger = new ManagementClient({ domain: base.host, clientId: opt.id, clientSecret: 'wrong', fetch: via, maxRetries: 0 });
await step('management client with a wrong secret', async () => brief(await stranger.clients.get(opt.client)));
const forged = new ManagementClient({ domain: base.host, token: 'not-a-token', fetch: via, maxRetries: 0 });
await step('bearer token that was never issued', async () => brief(await forged.clients.get(opt.client)));
