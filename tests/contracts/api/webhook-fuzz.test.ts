import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { fc, seed } from '../../support/property.ts';
import { forgeKinds } from '../../../src/providers/forges/index.ts';
import { type TestApi, signingToken, startTestApi, webhookSecret } from '../../support/api.ts';
import { type Draft, dialects } from '../../support/forge-dialects.ts';
import { type WebhookExample, webhookExamples } from '../../support/webhook-examples.ts';

/** `SLIPWAY_FUZZ=100000` for all of it (CONTRIBUTING.md); the seed is printed, and can be given by `SLIPWAY_SEED`. */
const count = Number(process.env['SLIPWAY_FUZZ'] ?? 2_000);
/** Longer is a hang, ms. Judgement: the slowest honest answer waits for the store. */
const longestMs = 5_000;
const run = randomUUID().slice(0, 8);

let api: TestApi;
let admin: string;
let examples: readonly WebhookExample[];
beforeAll(async () => {
  examples = await webhookExamples();
  api = await startTestApi({ webhookBurst: 1_000_000 }, (_project, ref) =>
    Promise.resolve(ref.length > 20 ? 'd'.repeat(40) : ''),
  );
  for (const kind of forgeKinds) await api.addProject(`${kind}-${run}`, '', kind);
  admin = await api.token('admin');
}, 300_000);
afterAll(async () => {
  await api.close();
});

interface Attempt {
  readonly method: 'POST' | 'GET' | 'PUT';
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: string | Buffer;
}

// Few refs and commits, so that a hundred thousand deliveries are no hundred thousand runs.
const ref = fc.constantFrom(
  'refs/heads/main',
  'refs/heads/feature/x',
  'refs/tags/v1.0.0',
  'refs/heads/é',
  'refs/notes/x',
);
const commit = fc.constantFrom('0'.repeat(40), 'a'.repeat(40), 'b'.repeat(40), 'C'.repeat(40), 'short');
const oddText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.constantFrom(
    '',
    '\0',
    '__proto__',
    'constructor',
    '../../etc/passwd',
    "'; drop table runs; --",
    '${7*7}',
    '\ud800',
    'x'.repeat(10_000),
  ),
);
const oddValue = fc.oneof(fc.jsonValue({ maxDepth: 3 }), oddText, fc.double(), fc.constant(null));

interface Made {
  readonly kind: (typeof forgeKinds)[number];
  readonly draft: Draft;
}
const honest: fc.Arbitrary<Made> = fc
  .record({
    kind: fc.constantFrom(...forgeKinds),
    what: fc.constantFrom('push', 'pull-request', 'other'),
    ref,
    before: commit,
    after: commit,
    number: fc.integer({ min: -1, max: 3 }),
    fork: fc.boolean(),
    action: fc.constantFrom('opened', 'updated', 'closed'),
    author: oddText,
    message: oddText,
  })
  .map(({ kind, what, number, fork, action, ...told }) => {
    const dialect = dialects[kind];
    const repository = 'https://git.example.com/team/app';
    if (what === 'push') return { kind, draft: dialect.push({ ...told, repository }) };
    if (what === 'other') return { kind, draft: dialect.other };
    return {
      kind,
      draft: dialect.pullRequest({
        ...told,
        repository,
        number,
        fork,
        action,
        branch: 'x',
        into: 'main',
      }),
    };
  });

/** Null as many times as often as a value. */
function rarely<T>(arbitrary: fc.Arbitrary<T>, times: number): fc.Arbitrary<T | null> {
  return fc.oneof({ arbitrary: fc.constant(null), weight: times }, { arbitrary, weight: 1 });
}

/** Whatever forges have sent; by kind first, for three in four are of GitHub. The examples are known only when the first is drawn. */
const real: fc.Arbitrary<Made> = fc
  .tuple(fc.constantFrom(...forgeKinds.filter((kind) => kind !== 'generic')), fc.nat())
  .map(([kind, place]) => {
    const known = examples.filter((each) => each.kind === kind);
    return { kind, draft: known[place % known.length]! };
  });

/** A body with something put in place of something, or cut off, or no JSON at all. */
const delivery: fc.Arbitrary<Attempt> = fc
  .record({
    made: fc.oneof({ arbitrary: honest, weight: 4 }, { arbitrary: real, weight: 1 }),
    place: fc.nat(),
    value: rarely(oddValue, 1),
    cut: rarely(fc.nat(2_000), 6),
    noise: rarely(fc.uint8Array({ maxLength: 300 }), 10),
    signed: fc.oneof({ arbitrary: fc.constant(true), weight: 4 }, { arbitrary: fc.constant(false), weight: 1 }),
    elsewhere: rarely(
      fc.constantFrom('/github-webhook/', '/webhooks/github/nobody', '/webhooks/gitlab/%00', '/webhooks/generic/a%2Fb'),
      15,
    ),
    odd: rarely(fc.tuple(fc.nat(), oddText), 4),
    contentType: rarely(
      fc.constantFrom(
        'application/x-www-form-urlencoded',
        'text/plain',
        'application/json; charset=utf-16',
        'application/json;;;',
        '',
      ),
      8,
    ),
  })
  .map(({ made: { kind, draft }, place, value, cut, noise, signed, elsewhere, odd, contentType }) => {
    const body = value === null ? draft.body : replaced(draft.body, place, value);
    const text = JSON.stringify(body);
    const payload = noise === null ? (cut === null ? text : text.slice(0, cut)) : Buffer.from(noise);
    const secret = !signed ? 'of somebody else' : kind === 'generic' ? signingToken : webhookSecret;
    // Over what is sent: beyond the signature is where it gets interesting.
    const headers: Record<string, string> = {
      ...dialects[kind].headers(draft, payload.toString(), secret, { id: randomUUID() }),
    };
    if (contentType !== null) headers['content-type'] = contentType;
    const names = Object.keys(headers);
    if (odd !== null) headers[names[odd[0] % names.length] ?? ''] = odd[1];
    return { method: 'POST', url: elsewhere ?? `/webhooks/${kind}/${kind}-${run}`, headers, payload };
  });

/** What else takes a body or a query, by somebody who may. */
const command: fc.Arbitrary<Attempt> = fc
  .record({
    where: fc.constantFrom<readonly ['POST' | 'GET' | 'PUT', string]>(
      ['POST', `/v1/projects/github-${run}/runs`],
      ['PUT', '/v1/projects/odd'],
      ['POST', '/v1/projects/github/runs/1/rerun'],
      ['POST', '/v1/projects/github/runs/x/abort'],
      ['GET', '/v1/runs'],
      ['GET', '/v1/deployments'],
      ['GET', '/v1/projects'],
    ),
    query: fc.dictionary(fc.constantFrom('limit', 'cursor', 'project', 'ref', 'outcome', 'open', 'x'), oddText, {
      maxKeys: 3,
    }),
    body: fc.oneof(
      fc.record(
        {
          ref: fc.oneof(oddValue, fc.constant('refs/heads/none')),
          commit: oddValue,
          release: oddValue,
          idempotencyKey: oddValue,
        },
        { requiredKeys: [] },
      ),
      oddValue,
    ),
    known: fc.boolean(),
    odd: oddText,
  })
  .map(({ where: [method, path], query, body, known, odd }) => ({
    method,
    url: `${path}?${new URLSearchParams(query).toString()}`,
    headers: {
      'content-type': 'application/json',
      authorization: known ? `Bearer ${admin}` : odd,
      'idempotency-key': odd,
    },
    payload: method === 'GET' ? '' : JSON.stringify(body),
  }));

test(`${count} deliveries and commands of any kind: no crash, no hang, no fault of ours`, async () => {
  const statuses = new Map<number, number>();
  // In portions, for a sample of all at once would be kept in memory.
  const portion = 1_000;
  for (let done = 0; done < count; done += portion) {
    const some = fc.sample(fc.oneof({ arbitrary: delivery, weight: 9 }, { arbitrary: command, weight: 1 }), {
      seed: seed + done,
      numRuns: Math.min(portion, count - done),
    });
    const queue = [...some];
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        for (let attempt = queue.shift(); attempt !== undefined; attempt = queue.shift()) {
          const status = await statusOf(attempt);
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
          if (status < 200 || status >= 500) {
            throw new Error(
              `seed ${seed}: ${status} for ${JSON.stringify({ ...attempt, payload: attempt.payload.toString() })}`,
            );
          }
        }
      }),
    );
  }
  // It went through all the doors, or it has shown nothing.
  for (const expected of [202, 400, 401, 404]) expect(statuses.get(expected) ?? 0).toBeGreaterThan(0);
  expect((await api.app.inject('/health')).statusCode).toBeLessThan(500);
  process.stdout.write(
    `fuzz: seed ${seed}, ${JSON.stringify(Object.fromEntries([...statuses].sort(([a], [b]) => a - b)))}\n`,
  );
}, 3_600_000);

async function statusOf(attempt: Attempt): Promise<number> {
  let timer: NodeJS.Timeout | undefined;
  const hang = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`no answer within ${longestMs} ms, seed ${seed}: ${JSON.stringify(attempt)}`)),
      longestMs,
    );
  });
  try {
    return (await Promise.race([api.app.inject(attempt), hang])).statusCode;
  } finally {
    clearTimeout(timer);
  }
}

/** The same document with one of its values, counted through all of it, replaced. */
function replaced(document: unknown, place: number, value: unknown): unknown {
  const paths: (readonly string[])[] = [];
  const walk = (at: unknown, path: readonly string[]): void => {
    paths.push(path);
    if (typeof at === 'object' && at !== null) Object.entries(at).forEach(([key, item]) => walk(item, [...path, key]));
  };
  walk(document, []);
  const path = paths[place % paths.length] ?? [];
  const last = path.at(-1);
  if (last === undefined) return value;
  const copy: unknown = structuredClone(document);
  let parent = copy as Record<string, unknown>;
  for (const key of path.slice(0, -1)) parent = parent[key] as Record<string, unknown>;
  parent[last] = value;
  return copy;
}
