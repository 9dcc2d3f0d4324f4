/**
 * What forges really send, to a project of their kind: each delivery is answered with 202, and the store has the runs that it asks for and no
 * other. The payloads come from outside (tests/support/webhook-examples.ts); what must become of them stands here.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SourceEvent } from '../../../src/domain/run.ts';
import type { ForgeKind } from '../../../src/providers/forges/index.ts';
import { type TestApi, startTestApi, webhookSecret } from '../../support/api.ts';
import { dialects } from '../../support/forge-dialects.ts';
import { type WebhookExample, webhookExamples } from '../../support/webhook-examples.ts';

const none = '0'.repeat(40);
/** Bitbucket Cloud tells the first twelve digits of a commit; this is what its branch is at. */
const branch2 = 'd3022fc0ca3d'.padEnd(40, '7');

interface Expected {
  /** All of them; a new version of a source may bring more, and then somebody looks at what they are. */
  readonly examples: number;
  /** In the order of their numbers, each with the examples that lead to it: the same change is the same run. */
  readonly runs: readonly { readonly of: readonly string[]; readonly event: SourceEvent }[];
  /** Pushes that lead to nothing. */
  readonly deleted: Readonly<Record<string, string>>;
}

const expected = {
  github: {
    examples: 377,
    runs: [
      {
        of: [0, 12, 13, 14, 18, 19, 22].map((index) => `pull_request ${String(index)}`),
        event: {
          ...{ kind: 'pull-request', ref: 'refs/pull/2/head', pullRequest: 2, fork: false, into: 'master' },
          before: 'f95f852bd8fca8fcc58a9a2d6c842781e32a215e',
          after: 'ec26c3e57ca3a959ca5aad62de7213c562f8c821',
          ...{ author: 'Codertocat', message: 'Update the README with new information.' },
        },
      },
      {
        of: ['push 0'],
        event: {
          ...{ kind: 'tag', ref: 'refs/tags/simple-tag', before: none },
          after: '6113728f27ae82c7b1a177c8d03f9e96e0adf246',
          ...{ author: 'Codertocat', message: 'Adding a .gitignore file' },
        },
      },
      {
        of: ['push 4', 'push 5'],
        event: {
          ...{ kind: 'push', ref: 'refs/heads/master', before: none },
          after: '6113728f27ae82c7b1a177c8d03f9e96e0adf246',
          ...{ author: 'Codertocat', message: 'Initial commit' },
        },
      },
      {
        of: ['github/pull-request'],
        event: {
          ...{ kind: 'pull-request', ref: 'refs/pull/1/head', pullRequest: 1, fork: false, into: 'master' },
          before: '9049f1265b7d61be4a8904a9a27120d2064dab3b',
          after: '0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c',
          ...{ author: 'baxterthehacker', message: 'Update the README with new information' },
        },
      },
      {
        of: ['github/push'],
        event: {
          ...{ kind: 'push', ref: 'refs/heads/master' },
          before: '737d38c599c1b2991664dfc6155d6bf516fcce36',
          after: 'fd489864e7642b48eaad6e3f155c10e46810ec72',
          ...{ author: 'binkkatal', message: 'test a push event' },
        },
      },
    ],
    deleted: Object.fromEntries([1, 2, 3, 6].map((index) => [`push ${String(index)}`, 'refs/tags/simple-tag'])),
  },
  gitlab: {
    examples: 95,
    runs: [
      {
        of: ['gitlab/merge-request-event', 'webhooks/merge_request'],
        event: {
          ...{ kind: 'pull-request', ref: 'refs/pull/1/head', pullRequest: 1, fork: false, into: 'master' },
          ...{ from: 'refs/merge-requests/1/head', before: none },
          after: 'da1560886d4f094c3e6c9ef40349f7d38b5d27d7',
          ...{ author: 'root', message: 'MS-Viewport' },
        },
      },
      {
        of: ['gitlab/push-event', 'gitlab/system-push-event', 'systemhooks/push', 'webhooks/push'],
        event: {
          ...{ kind: 'push', ref: 'refs/heads/master' },
          before: '95790bf891e76fee5e1747ab589903a6a1f80f22',
          after: 'da1560886d4f094c3e6c9ef40349f7d38b5d27d7',
          ...{ author: 'John Smith', message: 'fixed readme' },
        },
      },
      {
        // A tag with a message: `after` is the tag itself, and the run is for what `checkout_sha` says.
        of: ['gitlab/system-tag-event', 'systemhooks/tag_push'],
        event: {
          ...{ kind: 'tag', ref: 'refs/tags/v1.0.0', before: none },
          after: '5937ac0a7beb003549fc5fd26fc247adbce4a52e',
          ...{ author: 'John Smith' },
        },
      },
      {
        of: ['gitlab/tag-event', 'webhooks/tag_push'],
        event: {
          ...{ kind: 'tag', ref: 'refs/tags/v1.0.0', before: none },
          after: '82b3d5ae55f7080f1e6022629cdb57bfae7cccc7',
          ...{ author: 'John Smith' },
        },
      },
      {
        // An update with new commits; one without has no `oldrev`.
        of: ['webhooks/service_merge_request'],
        event: {
          ...{ kind: 'pull-request', ref: 'refs/pull/2/head', pullRequest: 2, fork: false, into: 'master' },
          from: 'refs/merge-requests/2/head',
          before: '6ef047571374c96a2bf13c361efd1fb008b0063e',
          after: '0ab96a10266b95b4b533dcfd98738015fbe70889',
          ...{ author: 'test', message: 'Update client.go 🎉' },
        },
      },
    ],
    deleted: {},
  },
  gitea: {
    examples: 17,
    runs: [
      {
        // From the main branch of a fork, by an engine that gives both repositories their numbers.
        of: ['gitea/pull-request-event'],
        event: {
          ...{ kind: 'pull-request', ref: 'refs/pull/2/head', pullRequest: 2, fork: true, into: 'master' },
          before: '67b56589a45103f891bdee7c0546e5d40bc02001',
          after: '48e773f892a831faa47c0a160d1b7f0cd369ae2a',
          ...{ author: 'example2', message: 'update' },
        },
      },
      {
        of: ['gitea/push-event'],
        event: {
          ...{ kind: 'push', ref: 'refs/heads/master', before: none },
          after: '67b56589a45103f891bdee7c0546e5d40bc02001',
          ...{ author: 'example', message: 'example\n' },
        },
      },
    ],
    deleted: {},
  },
  bitbucket: {
    examples: 18,
    runs: [
      {
        of: ['bitbucket/pull-request-created', 'bitbucket/pull-request-updated'],
        event: {
          ...{ kind: 'pull-request', ref: 'refs/pull/1/head', pullRequest: 1, fork: false, into: 'master' },
          ...{ from: 'refs/heads/branch2', before: none, after: branch2 },
          ...{ author: 'emmap1', message: 'Title of pull request' },
        },
      },
      {
        of: ['bitbucket/repo-push'],
        event: {
          ...{ kind: 'push', ref: 'refs/heads/name-of-branch' },
          before: '1e65c05c1d5171631d92438a13901ca7dae9618c',
          after: '709d658dc5b6d6afcd46049c2f332ee3f515a67d',
          ...{ author: 'emmap1', message: 'new commit message\n' },
        },
      },
    ],
    deleted: {},
  },
  'bitbucket-data-center': {
    examples: 18,
    runs: [
      {
        of: ['bitbucket-server/pr-opened'],
        event: {
          ...{ kind: 'pull-request', ref: 'refs/pull/5/head', pullRequest: 5, fork: false, into: 'master' },
          ...{ from: 'refs/pull-requests/5/from', before: none },
          after: '32a0b8a740c2963c6f56bd8baf3dc05683d299e0',
          ...{ author: 'gopher', message: 'Update README' },
        },
      },
    ],
    deleted: { 'bitbucket-server/repo-refs-changed': 'refs/heads/feature/wip' },
  },
} as const satisfies Readonly<Record<Exclude<ForgeKind, 'generic'>, Expected>>;

const suffix = randomUUID().slice(0, 8);
let api: TestApi;
let examples: readonly WebhookExample[];
beforeAll(async () => {
  examples = await webhookExamples();
  api = await startTestApi({ webhookBurst: 100_000 }, async (_project, ref) =>
    Promise.resolve(ref === 'refs/heads/branch2' ? branch2 : none),
  );
}, 300_000);
afterAll(async () => {
  await api.close();
});

describe.each(Object.keys(expected) as (keyof typeof expected)[])('%s', (kind) => {
  const { examples: count, runs, deleted }: Expected = expected[kind];
  const project = `${kind}-${suffix}`;
  /** What became of each, as the store has it. */
  const told = new Map<string, { readonly run: string | null; readonly ignored: string | null }>();
  const refused: string[] = [];

  beforeAll(async () => {
    await api.addProject(project, 'routes:\n  - { on: push }\n  - { on: tag }\n  - { on: pull-request }\n', kind);
    for (const example of examples.filter((each) => each.kind === kind)) {
      const payload = JSON.stringify(example.body);
      const id = randomUUID();
      const headers = dialects[kind].headers(example, payload, webhookSecret, { id });
      const response = await api.app.inject({ method: 'POST', url: `/webhooks/${kind}/${project}`, headers, payload });
      if (response.statusCode !== 202) refused.push(`${example.name}: ${response.statusCode} ${response.body}`);
      const { runKey, ignored } = await api.store.db
        .selectFrom('deliveries')
        .select(['runKey', 'ignored'])
        .where('project', '=', project)
        .where('id', '=', id)
        .executeTakeFirst()
        .then((found) => found ?? { runKey: null, ignored: null });
      told.set(example.name, { run: runKey, ignored });
    }
  }, 120_000);

  test(`takes all ${String(count)} examples`, () => {
    expect(refused).toEqual([]);
    expect(told.size).toBe(count);
  });

  test(`has ${String(runs.length)} runs of them, each for the commit that its payload names`, async () => {
    const stored = await api.store.db
      .selectFrom('runs')
      .select(['key', 'input', 'commit'])
      .where('project', '=', project)
      .orderBy('number')
      .execute();
    const found = stored.map(({ key, input }) => ({
      of: [...told].filter(([, { run }]) => run === key).map(([example]) => example),
      event: input.event,
    }));
    expect(found).toEqual(runs);
    expect(stored.map(({ commit }) => commit)).toEqual(runs.map(({ event }) => event.after));
  });

  test('ignores every other one, and says why', () => {
    const others = [...told].filter(([, { run }]) => run === null);
    const usual = /^(?:Nothing is done (?:for|when) .+|The webhook works)\.$/;
    const odd = others.filter(([, { ignored }]) => !usual.test(ignored ?? ''));
    expect(Object.fromEntries(odd.map(([example, { ignored }]) => [example, ignored]))).toEqual(
      Object.fromEntries(
        Object.entries(deleted).map(([example, ref]) => [
          example,
          `${ref} was deleted; what was deployed from it stays.`,
        ]),
      ),
    );
    expect(others).toHaveLength(count - runs.flatMap(({ of }) => of).length);
  });
});
