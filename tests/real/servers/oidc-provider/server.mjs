// A genuine OAuth 2.0 authorization server (the npm package `oidc-provider`) on 127.0.0.1.
//
// Prints one JSON line once it serves: {"event":"ready","issuer":...,"token_endpoint":...}. SIGTERM ends it.
// The routes below /_control/ are not the provider's: they let a test change secrets at a chosen moment, stand for the
// user who signs in with a browser, lose an answer, stand for an administrator, and tell what the wire hides (a wrong
// secret and an unknown client look the same there).
import http from 'node:http';
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { Provider } from 'oidc-provider';

const USAGE = `usage: node server.mjs [--port N] [--client ID:SECRET[:METHOD]]...
  --port N    default 0: the kernel picks one; the address is always 127.0.0.1
  --client    a client that exists from the start; METHOD is client_secret_basic (default),
              client_secret_post or client_secret_jwt
  --update keep|regenerate
              what an update of a registration (RFC 7592) does to the secret: keep, the package's own behaviour (default);
              regenerate: issue another one; a client's own choice is always refused
  --same-token
              an update brings no other registration access token
  --overlap   a secret that an update replaced goes on working until it is forgotten
control:
  POST /_control/secrets  {"client_id":ID,"secrets":[A,B...]}: A is registered, and the others work as well; 204
  POST /_control/code     {"client_id":ID,"redirect_uri":URI}: an authorization code, as after a sign-in; 200 {"code":...}
  POST /_control/registration  {"client_id":ID}: another registration access token; 200 {"uri":...,"token":...}
  POST /_control/forget   {"client_id":ID}: none but its registered secret works from now on; 204, or 404 if none other did
  POST /_control/lose     the next update of a registration is made, and its answer is lost; 204
  GET  /_control/counts   how often each outcome was seen, by its reason`;

// The package is written for Node 22; URL.parse is the one thing it uses that Node 20 lacks.
URL.parse ??= (text, base) => {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
};

const { values: opt } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    client: { type: 'string', multiple: true, default: [] },
    update: { type: 'string', default: 'keep' },
    'same-token': { type: 'boolean', default: false },
    overlap: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (opt.help) {
  console.log(USAGE);
  process.exit(0);
}
if (opt.client.some((preset) => !preset.split(':')[1]) || !['keep', 'regenerate'].includes(opt.update)) {
  console.error(USAGE);
  process.exit(2);
}

// The package's own adapter is one LRU of 1000 entries for everything: a load test would push the clients out of it.
// This one keeps what has no end, and drops what has one.
const stores = new Map();
class MemoryAdapter {
  constructor(name) {
    this.kept = stores.get(name) ?? new Map();
    stores.set(name, this.kept);
  }

  async upsert(id, payload, expiresIn) {
    const until = expiresIn === undefined ? Infinity : Date.now() + expiresIn * 1000;
    this.kept.delete(id);
    this.kept.set(id, { payload, until });
    for (const [key, entry] of this.kept) {
      if (entry.until > Date.now()) break;
      this.kept.delete(key);
    }
  }

  async find(id) {
    const entry = this.kept.get(id);
    return entry && entry.until > Date.now() ? entry.payload : undefined;
  }

  async findByUid() { return undefined; }

  async findByUserCode() { return undefined; }

  async consume(id) { this.kept.get(id).payload.consumed = Math.floor(Date.now() / 1000); }

  async destroy(id) { this.kept.delete(id); }

  async revokeByGrantId(grantId) {
    for (const [id, { payload }] of this.kept) {
      if (payload.grantId === grantId) this.kept.delete(id);
    }
  }
}

const server = http.createServer();
await new Promise((resolve, reject) => {
  server.once('error', reject);
  server.listen(Number(opt.port), '127.0.0.1', resolve);
});
const issuer = `http://127.0.0.1:${server.address().port}`;

const regenerate = opt.update === 'regenerate';
const newSecret = () => randomBytes(32).toString('base64url');
// client_id -> [secret]: secrets beside the registered one that authenticate too.
const alsoAccepted = new Map();

const provider = new Provider(issuer, {
  adapter: MemoryAdapter,
  scopes: ['openid', 'offline_access', 'read', 'write'],
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt'],
  enabledJWA: { clientAuthSigningAlgValues: ['HS256', 'HS384', 'HS512'] },
  clientDefaults: {
    grant_types: ['client_credentials', 'authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: ['https://billing.example/callback'],
    token_endpoint_auth_method: 'client_secret_basic',
  },
  responseTypes: ['code'],
  ttl: { ClientCredentials: 300 },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  // Each refresh token works once, and using it again ends all that came of the sign-in.
  rotateRefreshToken: true,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    registration: {
      enabled: true,
      initialAccessToken: regenerate,
      secretFactory: newSecret,
      ...(regenerate && {
        // Runs on an update as well; the client that makes it is in ctx.oidc then.
        policies: {
          'new-secret': (ctx, properties) => {
            const current = ctx.oidc.client?.clientSecret;
            if (current === undefined || properties.client_secret !== current) return;
            if (opt.overlap) {
              const kept = alsoAccepted.get(properties.client_id) ?? [];
              alsoAccepted.set(properties.client_id, [...kept, current]);
            }
            properties.client_secret = newSecret();
          },
        },
      }),
    },
    registrationManagement: {
      enabled: true,
      rotateRegistrationAccessToken: !opt['same-token'],
    },
  },
});
const policies = regenerate ? { policies: ['new-secret'] } : {};

const stock = provider.Client.prototype.compareClientSecret;
provider.Client.prototype.compareClientSecret = async function compare(actual) {
  if (await stock.call(this, actual)) return true;
  const others = alsoAccepted.get(this.clientId) ?? [];
  return others.includes(actual);
};

const counts = {};
function count(key) { counts[key] = (counts[key] ?? 0) + 1; }
provider.on('grant.success', () => count('success'));
provider.on('grant.error', (ctx, error) => {
  count(`${error.message}: ${error.error_detail ?? error.error_description}`);
});
provider.on('server_error', (ctx, error) => {
  count(`server_error: ${error.message}`);
  console.error(error);
});

async function json(ctx) {
  const parts = [];
  for await (const part of ctx.req) parts.push(part);
  try {
    return JSON.parse(Buffer.concat(parts).toString());
  } catch {
    return undefined;
  }
}

async function code({ client_id: id, redirect_uri: redirectUri }) {
  const client = await provider.Client.find(id);
  const accountId = 'somebody';
  const scope = 'openid offline_access';
  const grant = new provider.Grant({ accountId, clientId: id });
  grant.addOIDCScope(scope);
  const grantId = await grant.save();
  const fields = { accountId, client, grantId, gty: 'authorization_code', redirectUri, scope };
  return new provider.AuthorizationCode(fields).save();
}

let loseNextUpdate = false;
provider.use(async (ctx, next) => {
  if (loseNextUpdate && ctx.method === 'PUT') {
    loseNextUpdate = false;
    await next();
    ctx.respond = false;
    ctx.req.socket.destroy();
    return;
  }
  if (ctx.path === '/_control/lose' && ctx.method === 'POST') {
    loseNextUpdate = true;
    ctx.status = 204;
    return;
  }
  if (ctx.path === '/_control/forget' && ctx.method === 'POST') {
    const { client_id: clientId } = await json(ctx);
    const others = alsoAccepted.get(clientId) ?? [];
    alsoAccepted.delete(clientId);
    ctx.status = others.length > 0 ? 204 : 404;
    return;
  }
  if (ctx.path === '/_control/registration' && ctx.method === 'POST') {
    const { client_id: clientId } = await json(ctx);
    const token = await new provider.RegistrationAccessToken({ clientId, ...policies }).save();
    ctx.body = { uri: `${issuer}/reg/${encodeURIComponent(clientId)}`, token };
    return;
  }
  if (ctx.path === '/_control/counts' && ctx.method === 'GET') {
    ctx.body = counts;
    return;
  }
  if (ctx.path === '/_control/code' && ctx.method === 'POST') {
    ctx.body = { code: await code(await json(ctx)) };
    return;
  }
  if (ctx.path === '/_control/secrets' && ctx.method === 'POST') {
    const asked = await json(ctx);
    if (!asked) {
      ctx.status = 400;
      return;
    }
    const { client_id: id, secrets } = asked;
    const metadata = await provider.Client.adapter.find(id);
    if (!metadata || !secrets?.length) {
      ctx.status = 404;
      return;
    }
    await provider.Client.adapter.upsert(id, { ...metadata, client_secret: secrets[0] });
    alsoAccepted.set(id, secrets.slice(1));
    ctx.status = 204;
    return;
  }
  await next();
});

for (const preset of opt.client) {
  const [id, secret, method = 'client_secret_basic'] = preset.split(':');
  const client = new provider.Client({
    client_id: id,
    client_secret: secret,
    client_secret_expires_at: 0,
    token_endpoint_auth_method: method,
  });
  await provider.Client.adapter.upsert(id, client.metadata());
}

server.on('request', provider.callback());
console.log(JSON.stringify({ event: 'ready', issuer, token_endpoint: `${issuer}/token` }));

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    server.closeAllConnections();
    server.close(() => process.exit(0));
  });
}
