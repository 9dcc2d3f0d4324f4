import { describe, expect, test } from '@jest/globals';
import { resolveEnvironment } from '../../../src/definition/environment.ts';
import { pairOf, problemsOf, projectText, repositoryText } from './documents.ts';

/** What is added to or changed in the least documents, and the one problem that this makes. */
interface Case {
  readonly name: string;
  readonly repository?: (text: string) => string;
  readonly project?: (text: string) => string;
  readonly problem: string;
}

const withDatabase = (text: string): string =>
  text.replaceAll(
    'target: { kind: docker }',
    'target: { kind: docker }\n    database: { kind: postgres, url: { env: DATABASE } }',
  );
const inProduction = (yaml: string) => (text: string) =>
  text.replace('  production:\n', `  production:\n    ${yaml}\n`);

const cases: readonly Case[] = [
  {
    name: 'stages have names of their own',
    repository: (text) =>
      text.replace('images:', '  - { name: test, steps: [{ name: x, run: [x], image: y }] }\nimages:'),
    problem: 'stages[1].name is `test` a second time',
  },
  {
    name: 'steps have names of their own within a stage',
    repository: (text) => text.replace('images:', '      - { name: unit, run: [x], image: y }\nimages:'),
    problem: 'stages[0].steps[1].name is `unit` a second time',
  },
  {
    name: 'a step has one command',
    repository: (text) => text.replace('run: [npm, test]', 'run: [npm, test]\n        shell: npm test'),
    problem: 'stages[0].steps[0].shell stands beside `run`',
  },
  {
    name: 'a step ends with its stage',
    repository: (text) =>
      text.replace('- name: test', '- name: test\n    timeout: 1m').replace('run:', 'timeout: 2m\n        run:'),
    problem: 'stages[0].steps[0].timeout is longer than that of its stage, which would end first',
  },
  {
    name: 'a secret is not hidden by a setting',
    repository: (text) => text.replace('run:', 'secrets: [TOKEN]\n        env: { TOKEN: x }\n        run:'),
    project: (text) => `${text}steps: { secrets: { TOKEN: { env: T } } }\n`,
    problem: 'stages[0].steps[0].secrets[0] `TOKEN` is a setting of this step too',
  },
  {
    name: 'the probes that every release has keep their kind',
    repository: (text) => `${text}probes: [{ name: health, kind: tcp }]\n`,
    problem: 'probes[0].kind is `tcp`, but the probe `health` that every release has is of kind `http`',
  },
  ...(
    [
      ['more tries', 'retries: 100', 'retries', 'at most 3'],
      ['longer pauses', 'interval: 1m', 'interval', 'at most 2s'],
      ['longer tries', 'timeout: 1h', 'timeout', 'at most 5s'],
      ['another status', 'expectStatus: 204', 'expectStatus', '200'],
      ['no body', 'method: HEAD', 'method', 'GET'],
      ['no way of users', 'through: slot', 'through', 'both'],
      ['no slot', 'through: router', 'through', 'both'],
    ] as const
  ).map(([what, setting, name, must]) => ({
    name: `the health of a release is not made milder by ${what}`,
    repository: (text: string) => `${text}probes: [{ name: health, kind: http, path: /health, ${setting} }]\n`,
    problem: `probes[0].${name} makes the probe \`health\` milder, which every release must pass: ${name} of it is ${must}`,
  })),
  {
    name: 'the health of a release is not asked for elsewhere',
    repository: (text) =>
      `${text.replace('port: 8080', 'port: 8080\n  health: { path: /ready }')}probes: [{ name: health, kind: http }]\n`,
    problem: 'probes[0].path makes the probe `health` milder, which every release must pass: path of it is /ready',
  },
  {
    name: 'the container of a release is not asked more mildly',
    repository: (text) => `${text}probes: [{ name: container, kind: container, retries: 4 }]\n`,
    problem:
      'probes[0].retries makes the probe `container` milder, which every release must pass: retries of it is at most 3',
  },
  {
    name: 'a gate is not made looser than its default',
    repository: (text) => `${text}gates: { coverage: { min: 60% } }\n`,
    problem: 'gates.coverage.min is looser than the project asks for anywhere',
  },
  {
    name: 'a gate is not switched off',
    repository: (text) => `${text}gates: { tests: { mode: warn } }\n`,
    problem: 'gates.tests.mode is looser than the project asks for anywhere',
  },
  {
    name: 'a gate does not count less than every environment does',
    repository: (text) => `${text}gates: { container: { severity: critical } }\n`,
    project: (text) => inProduction('gates: { container: { severity: medium } }')(text),
    problem: 'gates.container.severity is looser than the project asks for anywhere',
  },
  {
    name: 'the repository puts no finding aside',
    repository: (text) =>
      `${text}gates: { code-security: { suppressions: [{ rule: B602, reason: a reason for it, expires: 2027-01-01 }] } }\n`,
    problem: 'gates.code-security.suppressions is there, but the project keeps suppressions to itself',
  },
  {
    name: 'the critical floor of coverage is not above its minimum',
    project: (text) => `${text}gates: { coverage: { min: 60%, critical: 65% } }\n`,
    problem: 'gates.coverage.critical is above the minimum, which would then never be what decides',
  },
  {
    name: 'routes lead to environments that exist',
    project: (text) => `${text}routes: [{ on: push, ref: main, environments: [prodction] }]\n`,
    problem: 'routes[0].environments[0] is `prodction`, which is no environment of this project',
  },
  {
    name: 'every route can be reached',
    project: (text) => `${text}routes: [{ on: push }, { on: push, ref: main, environments: [production] }]\n`,
    problem: 'routes[1] is never reached: routes[0] matches everything that it does, and the first match wins',
  },
  {
    name: 'routes ask for parameters that are declared',
    repository: (text) => `${text}parameters: { DEPLOY_ENV: { type: choice, options: [staging, production] } }\n`,
    project: (text) =>
      `${text}routes: [{ on: push, ref: main, when: { parameter: { DEPLOY_ENVIRONMENT: [staging] } } }]\n`,
    problem: 'routes[0].when.parameter.DEPLOY_ENVIRONMENT is no parameter that the repository declares',
  },
  {
    name: 'routes ask for values that a parameter may have',
    repository: (text) => `${text}parameters: { DEPLOY_ENV: { type: choice, options: [staging, production] } }\n`,
    project: (text) => `${text}routes: [{ on: push, when: { parameter: { DEPLOY_ENV: [staging, prod] } } }]\n`,
    problem: 'routes[0].when.parameter.DEPLOY_ENV[1] is `prod`, but the parameter must be one of staging, production',
  },
  {
    name: 'what is deployed is pushed',
    project: (text) => `${text}routes: [{ on: push, ref: main, environments: [production], buildImages: build }]\n`,
    problem: 'routes[0].buildImages is `build`, but this route deploys, and only pushed images can be deployed',
  },
  {
    name: 'an approval can be given',
    project: inProduction('approval: { rules: [] }'),
    problem: 'environments.production.approval.rules is empty, but approval is required: nobody could ever give it',
  },
  {
    name: 'a release can have been in staging where that is asked for',
    project: (text) => inProduction('requireStagingSuccess: block')(text.replace('  staging:', '  uat:')),
    problem:
      'environments.production.requireStagingSuccess is `block`, but the project has no environment `staging` that a release could have been in',
  },
  {
    name: 'a release can have been in staging where that is warned about',
    project: (text) => inProduction('requireStagingSuccess: warn')(text.replace('  staging:', '  uat:')),
    problem:
      'environments.production.requireStagingSuccess is `warn`, but the project has no environment `staging` that a release could have been in',
  },
  {
    name: 'a group is asked once',
    project: inProduction('approval: { rules: [{ group: devops }, { group: devops }] }'),
    problem: 'environments.production.approval.rules[1].group is `devops` a second time',
  },
  {
    name: 'both slots have ports of their own',
    project: (text) => text.replace('green: 18081', 'green: 18080'),
    problem:
      'environments.production.router.slots.green is 18080, which environments.production.router.slots.blue has already',
  },
  {
    name: 'targets have names of their own',
    project: (text) => text.replaceAll('target: { kind: docker }', 'target: { kind: docker, name: one }'),
    problem: 'environments.staging.target.name is `one`, which is the target of `production`',
  },
  {
    name: 'a warning comes before a rollback',
    project: inProduction('watch: { warn: { errors: 10% } }'),
    problem:
      'environments.production.watch.warn.errors is above the figure that rolls back, so nobody would be warned before',
  },
  {
    name: 'only what is backed up is put back',
    project: inProduction('rollback: { restore: automatic }'),
    problem: 'environments.production.rollback.restore is `automatic`, but there is no database',
  },
  {
    name: 'a secret is not a setting too',
    project: inProduction('env: { KEY: x }\n    secrets: { KEY: { env: K } }'),
    problem: 'environments.production.env.KEY is a secret of this environment too',
  },
  {
    name: 'notices go to environments that exist',
    project: (text) => `${text}notifications: [{ kind: log, environments: [qa] }]\n`,
    problem: 'notifications[0].environments[0] is `qa`, which is no environment of this project',
  },
  // Floors: the repository never loosens what the project fixes.
  {
    name: 'steps run on the host only where the project allows it',
    repository: (text) => text.replace('image: node:24-slim', 'image: node:24-slim\n        executor: host'),
    problem: 'stages[0].steps[0].executor is `host`, but the project lets steps run in containers only',
  },
  {
    name: 'a step in a container has an image',
    repository: (text) => text.replace('        image: node:24-slim\n', ''),
    problem: 'stages[0].steps[0] runs in a container, and no image is named for it',
  },
  {
    name: 'a step gets only secrets that the project offers',
    repository: (text) => text.replace('run:', 'secrets: [NPM_TOKEN]\n        run:'),
    problem: 'stages[0].steps[0].secrets[0] is `NPM_TOKEN`, which the project does not offer to steps',
  },
  {
    name: 'a build asks for no more network than the project gives',
    repository: (text) => text.replace('- name: app', '- name: app\n    network: default'),
    project: (text) => `${text}builds: { network: none }\n`,
    problem: 'images[0].network is `default`, but the project builds without a network',
  },
  {
    name: 'a probe of the project is not replaced',
    repository: (text) => `${text}probes: [{ name: front, kind: tcp }]\n`,
    project: (text) => `${text}probes: [{ name: front, kind: http }]\n`,
    problem: 'probes[0].name is `front`, a probe that the project fixes',
  },
  {
    name: 'migrations run only where the project allows them',
    repository: (text) => `${text}migrations: {}\n`,
    project: (text) => `${withDatabase(text)}migrations: { runner: none }\n`,
    problem: 'migrations is there, but the project allows no migrations',
  },
  {
    name: 'the watch is not made looser',
    repository: (text) => `${text}watch: { rollback: { errors: 6% } }\n`,
    problem: 'watch.rollback.errors is looser than the project allows in any environment',
  },
  {
    name: 'what is deployed says what runs',
    repository: (text) => text.slice(0, text.indexOf('service:')),
    problem: 'service is missing, but the project deploys this repository',
  },
];

test.each(cases)('$name', ({ repository = (text) => text, project = (text) => text, problem }) => {
  expect(problemsOf({ repository: repository(repositoryText), project: project(projectText) })).toEqual([problem]);
});

describe('what the rules leave alone', () => {
  test('a release that must have been in staging where there is one, and nothing asked where there is none', () => {
    const asked = inProduction('requireStagingSuccess: block')(projectText);
    const none = inProduction("requireStagingSuccess: 'off'")(projectText.replace('  staging:', '  uat:'));
    for (const project of [asked, none]) expect(problemsOf({ project })).toEqual([]);
  });

  test('a host step where the project allows it, with no image', () => {
    const repository = repositoryText.replace('        image: node:24-slim\n', '');
    expect(problemsOf({ repository, project: `${projectText}steps: { executor: host }\n` })).toEqual([]);
  });

  test('a stricter probe in the place of one that every release has', () => {
    const probes = `probes:
  - { name: health, kind: http, path: /health, retries: 0, interval: 1s, timeout: 1s, versionField: version }
  - { name: container, kind: container, retries: 2 }
`;
    expect(problemsOf({ repository: repositoryText + probes })).toEqual([]);
  });

  test('a probe of the project that is milder than what every release has', () => {
    const project = `${projectText}probes: [{ name: health, kind: http, path: /up, retries: 100, through: slot }]\n`;
    expect(problemsOf({ project })).toEqual([]);
  });

  test('a figure that is stricter in one environment', () => {
    const project = projectText.replace('  staging:\n', '  staging:\n    watch: { rollback: { errors: 20% } }\n');
    expect(problemsOf({ repository: `${repositoryText}watch: { rollback: { errors: 10% } }\n`, project })).toEqual([]);
  });

  test('no approval where none is required, even without rules', () => {
    const project = projectText.replace('  staging:\n', '  staging:\n    approval: { rules: [] }\n');
    expect(problemsOf({ project })).toEqual([]);
  });

  test('migrations need a database in every environment', () => {
    expect(problemsOf({ repository: `${repositoryText}migrations: {}\n` })).toHaveLength(2);
    expect(problemsOf({ repository: `${repositoryText}migrations: {}\n`, project: withDatabase(projectText) })).toEqual(
      [],
    );
  });

  test('a route behind one that is for some parameters only, and any parameter where none is declared', () => {
    const routes =
      'routes: [{ on: push, when: { parameter: { DRY: [true] } } }, { on: push, environments: [staging] }]\n';
    expect(problemsOf({ project: projectText + routes })).toEqual([]);
    const declared = `${repositoryText}parameters: { DRY: { type: boolean } }\n`;
    expect(problemsOf({ repository: declared, project: projectText + routes })).toEqual([]);
  });

  test('a route by parameter takes no approval from production', () => {
    const route =
      '{ on: push, ref: main, when: { parameter: { DEPLOY_ENV: [production] } }, environments: [production] }';
    const pair = pairOf({ project: `${projectText}routes: [${route}]\n` });
    expect(resolveEnvironment(pair, 'production').policy.approval).toMatchObject({ required: true });
  });

  test('a repository without a service where nothing is deployed', () => {
    const repository = repositoryText.slice(0, repositoryText.indexOf('service:'));
    const project = projectText.slice(0, projectText.indexOf('environments:'));
    expect(problemsOf({ repository, project })).toEqual([]);
  });
});
