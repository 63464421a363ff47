// Walks the real AWS SDK through the secrets of an app client of Amazon Cognito, at whatever serves under --base.
//
// One JSON line a step on stdout: {"step", "ok"} or {"step", "error", "kind", "status"}. The exit status is 0 whatever the
// answers were: the test that runs this compares the lines.
import { parseArgs } from 'node:util';
import * as cognito from '@aws-sdk/client-cognito-identity-provider';

const { values: opt } = parseArgs({
  options: {
    base: { type: 'string' },     // http://127.0.0.1:PORT
    key: { type: 'string' },      // an access key that may manage the app client, as ID:KEY
    reader: { type: 'string' },   // one that may read alone
    session: { type: 'string' },  // a temporary one
    pool: { type: 'string' },     // the id of the user pool
    client: { type: 'string' },   // the id of the app client
    secret: { type: 'string' },   // a value to choose
  },
});
for (const name of ['base', 'key', 'reader', 'session', 'pool', 'client', 'secret']) {
  if (!opt[name]) {
    console.error('usage: node oracle.mjs --base URL --key ID:KEY --reader ID:KEY --session ID:KEY --pool ID --client ID --secret VALUE');
    process.exit(2);
  }
}

const sdk = (key, sessionToken) => {
  const [accessKeyId, secretAccessKey] = key.split(':');
  return new cognito.CognitoIdentityProviderClient({
    endpoint: opt.base,
    region: opt.pool.split('_')[0],
    credentials: { accessKeyId, secretAccessKey, sessionToken },
    // What its user would see of an error is looked at here, so it does not try again by itself.
    maxAttempts: 1,
  });
};
const ids = { UserPoolId: opt.pool, ClientId: opt.client };

async function step(name, client, command, more) {
  try {
    const { $metadata, ...ok } = await client.send(new cognito[command]({ ...ids, ...more }));
    console.log(JSON.stringify({ step: name, ok }));
    return ok;
  } catch (error) {
    const { name: kind, $metadata } = error;
    // Exceptions that are in the SDK's own model of the service, and others that AWS may answer anything with.
    const known = error.constructor === cognito[kind];
    const status = $metadata?.httpStatusCode;
    console.log(JSON.stringify({
      step: name, error: error.constructor.name, kind, known, status,
      ...(status === undefined && { message: error.message }),
    }));
    return undefined;
  }
}

const DESCRIBE = 'DescribeUserPoolClientCommand';
const LIST = 'ListUserPoolClientSecretsCommand';
const ADD = 'AddUserPoolClientSecretCommand';
const DELETE = 'DeleteUserPoolClientSecretCommand';
const owner = sdk(opt.key);

await step('describe', owner, DESCRIBE);
const { ClientSecrets: [first] } = await step('list', owner, LIST);
const { ClientSecretDescriptor: added } = await step('add a chosen one', owner, ADD, { ClientSecret: opt.secret });
await step('add one too many', owner, ADD);
await step('list both', owner, LIST);
await step('delete', owner, DELETE, { ClientSecretId: first.ClientSecretId });
await step('delete it again', owner, DELETE, { ClientSecretId: first.ClientSecretId });
await step('delete the last one', owner, DELETE, { ClientSecretId: added.ClientSecretId });
await step('describe it without the first one', owner, DESCRIBE);
await step('add one that is too short', owner, ADD, { ClientSecret: 'short' });
await step('add one that Cognito chooses', owner, ADD);
await step('list of an app client that is not there', owner, LIST, { ClientId: 'nope' });
await step('list of a user pool that is not there', owner, LIST, { UserPoolId: `${opt.pool}x` });
await step('list with a key that reads', sdk(opt.reader), LIST);
await step('add with a key that reads', sdk(opt.reader), ADD);
await step('list with a wrong key', sdk(`${opt.key}x`), LIST);
await step('list with a key that is none', sdk('AKIDNOBODY:key'), LIST);
await step('list with a session', sdk(opt.session, 'until-99999999999'), LIST);
await step('list with a session that is over', sdk(opt.session, 'until-1'), LIST);
