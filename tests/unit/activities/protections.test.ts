import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createProtections } from '../../../src/activities/protections.ts';
import { pairOf, problemsOf, projectText } from '../definition/documents.ts';
import type { ProjectDefinition } from '../../../src/definition/project.ts';
import { resolveEnvironmentGates } from '../../../src/definition/gates.ts';
import { type ProtectionStandIn, startProtectionStandIn } from '../../support/protection-stand-ins.ts';

let forge: ProtectionStandIn;
beforeEach(async () => {
  forge = await startProtectionStandIn('github', 'ghp_secret');
});
afterEach(() => forge.close());

const readSecret = (): Promise<string> => Promise.resolve('ghp_secret');

function text(api: string, protection: string): string {
  return projectText.replace(/^( {2}forge: .*) \}$/m, `$1${api} }\n  protection: ${protection}`);
}

function project(): ProjectDefinition {
  const api = `, api: { url: "${forge.url}", token: { env: FORGE }, repository: team/app }`;
  return pairOf({ project: text(api, '{ development: develop }') }).project;
}

test('what the forge refuses is told as not known, branch by branch', async () => {
  forge.answers.set('/repos/team/app/branches/main/protection', [403, { message: 'Resource not accessible' }]);
  forge.answers.set('/repos/team/app/rules/branches/main?per_page=100', [200, []]);
  forge.answers.set('/repos/team/app/branches/develop/protection', [404, { message: 'Branch not protected' }]);
  forge.answers.set('/repos/team/app/rules/branches/develop?per_page=100', [200, []]);
  expect(await createProtections(readSecret)(project())).toEqual([
    { wanted: expect.objectContaining({ branch: 'main', approvals: 1 }), refused: expect.stringContaining('403') },
    {
      wanted: expect.objectContaining({ branch: 'develop', approvals: 0 }),
      found: expect.objectContaining({ pushers: 'others' }),
    },
  ]);
});

test('the check that is looked for is the one that the project has at its forge', async () => {
  const asked = async (sole: boolean): Promise<unknown> => {
    const only = project();
    const { forge: given } = only.repository;
    if (!('api' in given)) throw new Error('the forge has no API');
    const repository = {
      ...only.repository,
      forge: { ...given, api: { ...given.api, sole } },
    } as typeof only.repository;
    return await createProtections(readSecret)({ ...only, repository });
  };
  const contexts = (check: string): void => {
    for (const branch of ['main', 'develop']) {
      const required = { url: '', strict: true, contexts: [check], checks: [] };
      forge.answers.set(`/repos/team/app/branches/${branch}/protection`, [200, { required_status_checks: required }]);
      forge.answers.set(`/repos/team/app/rules/branches/${branch}?per_page=100`, [200, []]);
    }
  };
  const read = (check: string, statusChecks: boolean) =>
    ['main', 'develop'].map((branch) => ({ wanted: { branch, check }, found: { statusChecks } }));
  const name = `slipway/${project().project}`;
  contexts(name);
  expect(await asked(false)).toMatchObject(read(name, true));
  expect(await asked(true)).toMatchObject(read('slipway', false));
  contexts('slipway');
  expect(await asked(false)).toMatchObject(read(name, false));
  expect(await asked(true)).toMatchObject(read('slipway', true));
});

test('a secret that is not there is told too, and nothing is asked where the project wants nothing', async () => {
  const missing = createProtections(() => Promise.reject(new Error('there is no FORGE')));
  expect(await missing(project())).toMatchObject([{ refused: expect.stringContaining('FORGE') }, {}]);
  expect(await missing(pairOf().project)).toBeUndefined();
});

test('whoever asks for protection asks for its gate, and must say how the forge is asked', () => {
  const gates = resolveEnvironmentGates({ ...pairOf(), project: project() }, 'production');
  expect(gates.find(({ gate }) => gate === 'access-control')).toMatchObject({ demanded: true, mode: 'block' });
  expect(problemsOf({ project: text('', '{}') })).toEqual([
    'repository.protection is asked for, but nothing says how the forge can be asked',
  ]);
});
