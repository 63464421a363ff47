// Walks the real SDK of Microsoft Graph through the secrets of an application, at whatever serves under --base.
//
// One JSON line a step on stdout: {"step", "ok"} or {"step", "error", "status", "code", "message"}, and one for each request
// that was sent. The exit status is 0 whatever the answers were: the test that runs this compares the lines.
import { parseArgs } from 'node:util';
import sdk from '@microsoft/microsoft-graph-client';

const { values: opt } = parseArgs({
  options: {
    base: { type: 'string' },          // http://127.0.0.1:PORT
    tenant: { type: 'string' },
    rotator: { type: 'string' },       // the client id of one that may change the secrets
    reader: { type: 'string' },        // and of one that may read alone
    secret: { type: 'string' },        // the secret of both
    app: { type: 'string' },           // the client id of the application
    object: { type: 'string' },        // its object id
  },
});
for (const name of ['base', 'tenant', 'rotator', 'reader', 'secret', 'app', 'object']) {
  if (!opt[name]) {
    console.error('usage: node oracle.mjs --base URL --tenant T --rotator ID --reader ID --secret SECRET --app ID --object ID');
    process.exit(2);
  }
}
const out = (line) => console.log(JSON.stringify(line));

// The SDK shows its token to the hosts of Microsoft alone, so it is left to believe that this is one. The last link of its
// chain sends each request to --base; all that stands before is its own.
const transport = {
  async execute(context) {
    const { pathname, search } = new URL(context.request);
    context.response = await fetch(new URL(pathname + search, opt.base), context.options);
    const { method } = context.options;
    out({ trace: `${method} ${pathname}`, status: context.response.status, ms: Math.round(performance.now()) });
  },
};

async function token(client) {
  const body = new URLSearchParams({
    grant_type: 'client_credentials', client_id: client, client_secret: opt.secret, scope: `${opt.base}/.default`,
  });
  const answer = await fetch(`${opt.base}/${opt.tenant}/oauth2/v2.0/token`, { method: 'POST', body });
  if (!answer.ok) throw new Error(`no token for ${client}: ${answer.status}`);
  return (await answer.json()).access_token;
}

const client = (getAccessToken) => sdk.Client.initWithMiddleware({
  middleware: [
    new sdk.AuthenticationHandler({ getAccessToken }), new sdk.RetryHandler(), new sdk.TelemetryHandler(), transport,
  ],
});

async function step(name, call) {
  try {
    const ok = await call();
    out({ step: name, ok: ok ?? 'nothing' });
    return ok;
  } catch (error) {
    out({ step: name, error: error.constructor.name, status: error.statusCode, code: error.code, message: error.message });
    return undefined;
  }
}

const graph = client(() => token(opt.rotator));
const reader = client(() => token(opt.reader));
const stranger = client(async () => 'a-token-that-was-never-issued');
const byClient = `/applications(appId='${opt.app}')`;
const byObject = `/applications/${opt.object}`;
const nobody = "/applications(appId='00000000-0000-0000-0000-000000000000')";
const list = (by, application) => by.api(application).select('id,appId,passwordCredentials').get();
const inDays = (days) => new Date(Date.now() + days * 24 * 60 * 60 * 1000).toISOString();
const wanted = (displayName, days) => ({ passwordCredential: { displayName, endDateTime: inDays(days) } });

const first = await step('list', () => list(graph, byClient));
await step('whole application', () => graph.api(byObject).get());
const added = await step('add', () => graph.api(`${byClient}/addPassword`).post(wanted('made by the SDK', 30)));
await step('list both', () => list(reader, byObject));
const plain = await step('add without a name', () => graph.api(`${byObject}/addPassword`).post({}));
await step('remove', () => graph.api(`${byClient}/removePassword`).post({ keyId: plain.keyId }));
await step('remove again', () => graph.api(`${byClient}/removePassword`).post({ keyId: plain.keyId }));
await step('remove the first', () => graph.api(`${byObject}/removePassword`).post({ keyId: first.passwordCredentials[0].keyId }));
await step('list the one that is left', () => list(graph, byClient));
await step('add for too long', () => graph.api(`${byClient}/addPassword`).post(wanted('for ever', 4000)));
await step('list of an application that is not there', () => list(graph, nobody));
await step('service principal', () => graph.api(`/servicePrincipals(appId='${opt.app}')`).select('appId,servicePrincipalType').get());
await step('add as one that reads', () => reader.api(`${byClient}/addPassword`).post({}));
await step('remove as one that reads', () => reader.api(`${byClient}/removePassword`).post({ keyId: added.keyId }));
await step('list with a token that is none', () => list(stranger, byClient));
