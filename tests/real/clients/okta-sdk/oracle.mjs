// Walks the real Okta SDK through the secrets of an application, at whatever serves under --base.
//
// One JSON line a step on stdout: {"step", "ok"} or {"step", "error", "status", "code", "causes"}. The exit status is 0
// whatever the answers were: the test that runs this compares the lines.
import { parseArgs } from 'node:util';
import okta from '@okta/okta-sdk-nodejs';

const { values: opt } = parseArgs({
  options: {
    base: { type: 'string' },          // http://127.0.0.1:PORT
    token: { type: 'string' },         // an API token that may manage the application
    reader: { type: 'string' },        // one that may read alone
    app: { type: 'string' },           // the id of the application
    secret: { type: 'string' },        // a value to choose
  },
});
for (const name of ['base', 'token', 'reader', 'app', 'secret']) {
  if (!opt[name]) {
    console.error('usage: node oracle.mjs --base URL --token TOKEN --reader TOKEN --app ID --secret VALUE');
    process.exit(2);
  }
}

// What its user would see of a limit or an error is looked at here, so it does not try again by itself.
const requestExecutor = new okta.RequestExecutor();
const client = (token) => new okta.Client({ orgUrl: opt.base, token, requestExecutor });
const { applicationApi, applicationSSOPublicKeysApi: secrets } = client(opt.token);
const appId = opt.app;

async function step(name, call) {
  try {
    const ok = await call();
    console.log(JSON.stringify({ step: name, ok: ok ?? null }));
    return ok;
  } catch (error) {
    console.log(JSON.stringify({
      step: name, error: error.name, status: error.status, code: error.errorCode,
      causes: error.errorCauses?.map((cause) => cause.errorSummary),
      ...(error.status === undefined && { message: error.message }),
    }));
    return undefined;
  }
}

const all = async (api) => {
  const found = [];
  // A list, or a collection that is fetched page by page.
  for await (const one of await api.listOAuth2ClientSecrets({ appId })) found.push(one);
  return found;
};
const chosen = { oAuth2ClientSecretRequestBody: { client_secret: opt.secret, status: 'ACTIVE' } };

await step('application', async () => {
  const app = await applicationApi.getApplication({ appId });
  const { client_id, token_endpoint_auth_method } = app.credentials.oauthClient;
  return { kind: app.constructor.name, label: app.label, client_id, token_endpoint_auth_method };
});
const [first] = await step('list', () => all(secrets));
const added = await step('add a chosen one', () => secrets.createOAuth2ClientSecret({ appId, ...chosen }));
await step('add one too many', () => secrets.createOAuth2ClientSecret({ appId }));
await step('list both', () => all(secrets));
await step('read one', () => secrets.getOAuth2ClientSecret({ appId, secretId: added.id }));
await step('remove an active one', () => secrets.deleteOAuth2ClientSecret({ appId, secretId: first.id }));
await step('deactivate', () => secrets.deactivateOAuth2ClientSecret({ appId, secretId: first.id }));
await step('deactivate the only active one', () => secrets.deactivateOAuth2ClientSecret({ appId, secretId: added.id }));
await step('activate', () => secrets.activateOAuth2ClientSecret({ appId, secretId: first.id }));
await step('deactivate again', () => secrets.deactivateOAuth2ClientSecret({ appId, secretId: first.id }));
await step('remove', () => secrets.deleteOAuth2ClientSecret({ appId, secretId: first.id }));
await step('read one that is not there', () => secrets.getOAuth2ClientSecret({ appId, secretId: first.id }));
await step('add one that Okta chooses', () => secrets.createOAuth2ClientSecret({ appId }));
await step('list of an application that is not there', async () => {
  for await (const _ of await secrets.listOAuth2ClientSecrets({ appId: 'nope' }));
});
const { applicationSSOPublicKeysApi: reader } = client(opt.reader);
await step('list with a token that reads', () => all(reader));
await step('remove with a token that reads', () => reader.deleteOAuth2ClientSecret({ appId, secretId: added.id }));
const { applicationSSOPublicKeysApi: stranger } = client('wrong');
await step('list with a token that is none', () => all(stranger));
