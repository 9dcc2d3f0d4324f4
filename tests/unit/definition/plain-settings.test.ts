import { expect, test } from '@jest/globals';
import { plainSettingsOf } from '../../../src/definition/plain-settings.ts';
import { looksSecret } from '../../../src/domain/security-facts.ts';
import { pairOf, projectText, repositoryText } from './documents.ts';

/** Where a secret stands in the open, of production. */
function openSecrets(infrastructure: { readonly repository?: string; readonly project?: string }): readonly string[] {
  const { repository, project } = infrastructure;
  const pair = pairOf({
    repository: repository === undefined ? repositoryText : `${repositoryText}infrastructure: ${repository}\n`,
    project:
      project === undefined
        ? projectText
        : projectText.replace('  production:\n', `  production:\n    infrastructure: ${project}\n`),
  });
  return plainSettingsOf(pair, 'production').flatMap(({ place, name, value }) =>
    looksSecret(name, value) ? [place] : [],
  );
}

const terraform = (more: string, config = '{}'): string =>
  `{ kind: terraform, executor: host, backend: { kind: s3, config: ${config} }, planKey: { env: KEY }, ${more} }`;
const here = 'environments.production.infrastructure';

test.each([
  ['a setting of the tool', { project: terraform('env: { TF_TOKEN: hunter2 }') }, `${here}.env.TF_TOKEN`],
  [
    'a variable of the repository',
    { repository: '{ variables: { db_password: hunter2 } }' },
    'infrastructure.variables.db_password',
  ],
  [
    'a variable of the environment',
    { project: terraform('variables: { db_password: hunter2 }') },
    `${here}.variables.db_password`,
  ],
  [
    'one that is a number',
    { project: terraform('variables: { db_password: 12345678 }') },
    `${here}.variables.db_password`,
  ],
  [
    'one in a group',
    { project: terraform('variables: { db: { user: ada, password: hunter2 } }') },
    `${here}.variables.db.password`,
  ],
  ['one in a list', { project: terraform('variables: { api_key: [a, abcdef] }') }, `${here}.variables.api_key[1]`],
  [
    'an address in a list',
    { project: terraform('variables: { urls: ["pg://db", "pg://ada:hunter2@db"] }') },
    `${here}.variables.urls[1]`,
  ],
  [
    'a key of the backend',
    { project: terraform('variables: {}', '{ bucket: b, secret_key: abcdef }') },
    `${here}.backend.config.secret_key`,
  ],
  [
    'one in a group of the backend',
    { project: terraform('env: {}', '{ assume_role: { token: abcdef } }') },
    `${here}.backend.config.assume_role.token`,
  ],
  [
    'a variable of commands',
    {
      project:
        '{ kind: exec, executor: host, plan: [a], apply: [b], state: [c], planKey: { env: KEY }, variables: { MasterUserPassword: hunter2 } }',
    },
    `${here}.variables.MasterUserPassword`,
  ],
])('%s that is a secret in the open is found', (_, documents, place) => {
  expect(openSecrets(documents)).toEqual([place]);
});

test('what the project goes over stands in the repository all the same', () => {
  const found = openSecrets({
    repository: '{ variables: { db_password: hunter2 } }',
    project: terraform('variables: { db_password: hunter3 }'),
  });
  expect(found).toEqual(['infrastructure.variables.db_password', `${here}.variables.db_password`]);
});

test('what is no secret, or says where one is, is none', () => {
  const variables =
    'size: large, zones: [a, b], manage_master_user_password: true, db_secret: "arn:aws:secretsmanager:eu:1:secret:db", password_length: 32, api_token: "${API_TOKEN}"';
  expect(
    openSecrets({
      repository: `{ variables: { ${variables} } }`,
      project: terraform(
        `variables: { ${variables} }, secretVariables: { db_password: { env: DB } }`,
        '{ bucket: b, key: production/terraform.tfstate, use_lockfile: true, credentials: /etc/slipway/gcs.json }',
      ),
    }),
  ).toEqual([]);
});
