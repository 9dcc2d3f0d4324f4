import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { createForge, forgeKinds } from '../../../src/providers/forges/index.ts';
import type { ForgeRequest } from '../../../src/providers/forges/port.ts';
import { type Draft, type Told, type ToldPullRequest, dialects } from '../../support/forge-dialects.ts';

const sha = (digit: string): string => digit.repeat(40);
const zeros = sha('0');
const now = new Date('2026-11-25T12:00:00Z');

const told: Told = {
  ref: 'refs/heads/feature/x',
  before: sha('a'),
  after: sha('b'),
  author: 'ada',
  message: 'a change',
  repository: 'https://git.example.com/team/app',
};
const toldPullRequest: ToldPullRequest = {
  number: 7,
  before: sha('d'),
  after: sha('c'),
  branch: 'feature/y',
  into: 'develop',
  fork: false,
  author: 'eve',
  message: 'Better',
  action: 'opened',
  repository: told.repository,
};

describe.each(forgeKinds)('%s', (kind) => {
  const forge = createForge(kind);
  const dialect = dialects[kind];
  const [present, next, strange] = [dialect.secret('present'), dialect.secret('next'), dialect.secret('strange')];

  function requestOf(
    draft: Draft,
    over: { text?: string; secret?: string; headers?: Record<string, string> } = {},
  ): ForgeRequest {
    const text = over.text ?? JSON.stringify(draft.body);
    const headers = dialect.headers(draft, text, over.secret ?? present, { at: now });
    return { headers: { ...headers, ...over.headers }, body: Buffer.from(text) };
  }
  const read = (draft: Draft): unknown => forge.read(requestOf(draft));

  describe('the signature', () => {
    const signed = requestOf(dialect.push(told));

    test('may be that of either secret, in any order', () => {
      expect(forge.verify(signed, [present, next], now)).toBe('valid');
      expect(forge.verify(signed, [next, present], now)).toBe('valid');
      expect(forge.verify(signed, [present], now)).toBe('valid');
      expect(forge.verify(signed, [next, strange], now)).toBe('invalid');
      expect(forge.verify(signed, [], now)).toBe('invalid');
    });

    test('of no secret is none', () => {
      const unsigned = requestOf(dialect.push(told), { secret: '' });
      expect(forge.verify(unsigned, [''], now)).toBe('invalid');
      expect(forge.verify({ headers: {}, body: signed.body }, [present], now)).toBe('invalid');
      expect(forge.verify({ headers: {}, body: Buffer.alloc(0) }, [present], now)).toBe('invalid');
    });

    test('is over the bytes', () => {
      const body = Buffer.concat([signed.body, Buffer.from(' ')]);
      expect(forge.verify({ ...signed, body }, [present], now)).toBe(dialect.signsBody ? 'invalid' : 'valid');
    });

    test('is compared whatever stands in its place', () => {
      const names = Object.keys(signed.headers).filter((name) => /signature|token/.test(name));
      expect(names.length).toBeGreaterThan(0);
      for (const wrong of [
        '',
        'sha256=',
        'sha1=00',
        `sha256=${'0'.repeat(64)}`,
        'é'.repeat(64),
        'v1,',
        'v1, v1,x',
        'x'.repeat(5_000),
      ]) {
        const headers = { ...signed.headers, ...Object.fromEntries(names.map((name) => [name, wrong])) };
        expect(forge.verify({ ...signed, headers }, [present], now)).toBe('invalid');
      }
    });
  });

  describe('a delivery', () => {
    test('has an id, the same when it comes again', () => {
      const first = forge.identify(requestOf(dialect.push(told)));
      expect(first.id).toMatch(/^\S{8,200}$/);
      expect(first.event).toMatch(/^.{3,}$/);
      expect(forge.identify(requestOf(dialect.push(told)))).toEqual(first);
      const other = requestOf(dialect.push(told)).headers;
      const named = dialect.headers(dialect.push(told), '{}', present, { id: 'another-delivery', at: now });
      expect(forge.identify({ headers: { ...other, ...named }, body: Buffer.from('{}') }).id).not.toBe(first.id);
    });

    test('without the headers of one is refused', () => {
      expect(() => forge.identify({ headers: {}, body: Buffer.alloc(0) })).toThrow(
        expect.objectContaining({ type: 'InvalidInput' }),
      );
      const long = Object.fromEntries(
        Object.keys(requestOf(dialect.push(told)).headers).map((name) => [name, 'x'.repeat(300)]),
      );
      expect(() => forge.identify({ headers: long, body: Buffer.alloc(0) })).toThrow(
        expect.objectContaining({ type: 'InvalidInput' }),
      );
    });

    test('names its repository, also as a project writes it', () => {
      expect(forge.repositories(requestOf(dialect.push(told)))).toEqual(
        expect.arrayContaining([expect.stringContaining('git.example.com')]),
      );
    });
  });

  describe('a push', () => {
    test('of a branch', () => {
      const message = kind === 'bitbucket' ? `${told.message}\n` : told.message;
      expect(read(dialect.push(told))).toMatchObject({
        kind: 'events',
        events: [
          { event: { kind: 'push', ref: told.ref, before: told.before, after: told.after, author: 'ada', message } },
        ],
      });
    });

    test('of a new branch, and in capital letters', () => {
      expect(read(dialect.push({ ...told, before: zeros, after: sha('B') }))).toMatchObject({
        events: [{ event: { before: zeros, after: sha('b') } }],
      });
    });

    test('of a tag', () => {
      expect(read(dialect.push({ ...told, ref: 'refs/tags/v1.0.0', before: zeros }))).toMatchObject({
        events: [{ event: { kind: 'tag', ref: 'refs/tags/v1.0.0', after: told.after } }],
      });
    });

    test('of a tag with a message is for the commit that it was put on', () => {
      const draft = dialect.push({ ...told, ref: 'refs/tags/v1.0.0', before: zeros, object: sha('e') });
      expect(read(draft)).toMatchObject({ events: [{ event: { kind: 'tag', after: told.after } }] });
    });

    test('that deletes, or moves nothing, is ignored', () => {
      expect(read(dialect.push({ ...told, after: zeros }))).toMatchObject({
        kind: 'ignored',
        why: expect.stringContaining('deleted'),
      });
      expect(read(dialect.push({ ...told, after: told.before }))).toMatchObject({ kind: 'ignored' });
    });

    test.each([
      ['an option for a commit', { after: `--upload-pack=${sha('x').slice(20)}` }],
      ['a short commit', { after: 'abc' }],
      ['a ref with a blank', { ref: 'refs/heads/a b' }],
      ['a ref with a line break', { ref: 'refs/heads/a\nb' }],
    ])('with %s is refused', (_name, over) => {
      expect(() => read(dialect.push({ ...told, ...over }))).toThrow(expect.objectContaining({ type: 'InvalidInput' }));
    });
  });

  describe('a pull request', () => {
    test('that is opened', () => {
      const whole = kind === 'bitbucket' ? toldPullRequest.after.slice(0, 12) : toldPullRequest.after;
      expect(read(dialect.pullRequest(toldPullRequest))).toMatchObject({
        kind: 'events',
        events: [
          {
            event: {
              kind: 'pull-request',
              ref: 'refs/pull/7/head',
              after: whole,
              fork: false,
              pullRequest: 7,
              into: 'develop',
              author: 'eve',
              message: 'Better',
            },
          },
        ],
      });
    });

    test('that has new commits', () => {
      const before =
        dialect.lacks.includes('before-of-pull-request') && kind === 'bitbucket' ? zeros : toldPullRequest.before;
      expect(read(dialect.pullRequest({ ...toldPullRequest, action: 'updated' }))).toMatchObject({
        events: [{ event: { kind: 'pull-request', before } }],
      });
    });

    test('from a fork says so, or is ignored where the forge gives out nothing of it', () => {
      const fork = read(dialect.pullRequest({ ...toldPullRequest, fork: true }));
      if (dialect.lacks.includes('forks'))
        expect(fork).toMatchObject({ kind: 'ignored', why: expect.stringContaining('fork') });
      else expect(fork).toMatchObject({ events: [{ event: { fork: true } }] });
    });

    test('of which it is not told where it comes from is one of a fork', () => {
      if (kind === 'generic') return expectRefused();
      const draft = dialect.pullRequest(toldPullRequest);
      for (const untold of [undefined, null]) {
        const text = JSON.stringify(draft.body, (key, value: unknown) =>
          /^(?:source_project_id|target_project_id|repo_id|repo|repository)$/.test(key) ? untold : value,
        );
        const found = read({ ...draft, body: JSON.parse(text) as typeof draft.body });
        if (dialect.lacks.includes('forks'))
          expect(found).toMatchObject({ kind: 'ignored', why: expect.stringContaining('fork') });
        else expect(found).toMatchObject({ events: [{ event: { fork: true } }] });
      }

      function expectRefused(): void {
        const body = { ...(dialect.pullRequest(toldPullRequest).body as Record<string, unknown>), fork: undefined };
        expect(() => read({ ...dialect.pullRequest(toldPullRequest), body })).toThrow(
          expect.objectContaining({ type: 'InvalidInput' }),
        );
      }
    });

    test('that is closed is ignored', () => {
      expect(read(dialect.pullRequest({ ...toldPullRequest, action: 'closed' }))).toMatchObject({ kind: 'ignored' });
    });
  });

  test('anything else is ignored, with a reason', () => {
    for (const draft of [dialect.other, dialect.test ?? dialect.other]) {
      expect(read(draft)).toMatchObject({ kind: 'ignored', why: expect.stringMatching(/.{10,}/) });
    }
    if (dialect.test !== undefined) expect(read(dialect.test)).toMatchObject({ why: 'The webhook works.' });
  });

  test('what is no JSON, or of another shape, is refused and never crashes', () => {
    const drafts = [dialect.push(told), dialect.pullRequest(toldPullRequest)];
    for (const draft of drafts) {
      for (const text of ['', '{', '[]', 'null', '1', '"a"', '{}', '{"ref":{}}', '\u0000']) {
        const outcome = outcomeOf(() => forge.read(requestOf(draft, { text })));
        expect(['refused', 'ignored']).toContain(outcome);
      }
    }
  });

  test('a body in which anything was put in the place of anything else is read, ignored or refused', () => {
    const bodies = [dialect.push(told), dialect.pullRequest(toldPullRequest), dialect.other];
    fc.assert(
      fc.property(fc.constantFrom(...bodies), fc.nat(), fc.jsonValue(), (draft, place, value) => {
        const body = replaced(draft.body, place, value);
        expect(['events', 'ignored', 'refused']).toContain(
          outcomeOf(() => forge.read(requestOf(draft, { text: JSON.stringify(body) }))),
        );
        expect(['named', 'refused']).toContain(
          outcomeOf(() => {
            forge
              .repositories(requestOf(draft, { text: JSON.stringify(body) }))
              .forEach((address) => expect(typeof address).toBe('string'));
            return { kind: 'named' };
          }),
        );
      }),
      { numRuns: 500 },
    );
  });
});

function outcomeOf(work: () => { readonly kind: string }): string {
  try {
    return work().kind;
  } catch (error) {
    if (error instanceof ProviderError && error.type === 'InvalidInput') return 'refused';
    throw error;
  }
}

/** The same document with one of its values, counted through all of it, replaced. */
function replaced(document: unknown, place: number, value: unknown): unknown {
  const paths: (readonly (string | number)[])[] = [];
  const walk = (at: unknown, path: readonly (string | number)[]): void => {
    paths.push(path);
    if (Array.isArray(at)) at.forEach((item, index) => walk(item, [...path, index]));
    else if (typeof at === 'object' && at !== null)
      Object.entries(at).forEach(([key, item]) => walk(item, [...path, key]));
  };
  walk(document, []);
  const path = paths[place % paths.length] ?? [];
  const copy: unknown = structuredClone(document);
  if (path.length === 0) return value;
  let parent = copy as Record<string | number, unknown>;
  for (const key of path.slice(0, -1)) parent = parent[key] as Record<string | number, unknown>;
  parent[path.at(-1)!] = value;
  return copy;
}
