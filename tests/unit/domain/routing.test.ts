import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { matchesPath, matchesRef } from '../../../src/domain/glob.ts';
import { foreignRoute, isForeign, routeEvent } from '../../../src/domain/routing.ts';
import type { Route } from '../../../src/domain/routing.ts';
import type { SourceEvent } from '../../../src/domain/run.ts';

const commit = 'a3f4b2c'.padEnd(40, '0');
const deleted = '0'.repeat(40);

function route(on: Route['on'], ref: string, environments: readonly string[] = []): Route {
  return { on, ref, environments, buildImages: environments.length > 0 ? 'push' : 'none', priority: 'routine' };
}

const routes: readonly Route[] = [
  route('tag', 'v*.*.*', ['production']),
  route('push', 'main', ['production']),
  route('push', 'develop', ['staging']),
  route('push', 'feature/**'),
  route('pull-request', '**'),
];

describe('where an event leads', () => {
  test.each<[SourceEvent['kind'], string, number | string]>([
    ['push', 'refs/heads/main', 1],
    ['push', 'refs/heads/develop', 2],
    ['push', 'refs/heads/feature/login', 3],
    ['push', 'refs/heads/feature/team/login', 3],
    ['push', 'refs/heads/Main', 'no-route'],
    ['push', 'refs/heads/main2', 'no-route'],
    ['push', 'refs/heads/feature', 'no-route'],
    ['tag', 'refs/tags/v1.2.0', 0],
    ['tag', 'refs/tags/v1.2.0-rc.1', 0],
    ['tag', 'refs/tags/1.2.0', 'no-route'],
    ['tag', 'refs/tags/main', 'no-route'],
    ['pull-request', 'refs/pull/7/head', 4],
    ['manual', 'refs/heads/main', 1],
    ['manual', 'refs/tags/v2.0.0', 0],
    ['manual', 'refs/heads/other', 'no-route'],
    ['push', 'main', 'unknown-ref'],
    ['push', 'refs/heads/', 'unknown-ref'],
    ['push', 'refs/tags/main', 'unknown-ref'],
    ['push', 'refs/notes/commits', 'unknown-ref'],
    ['manual', 'refs/notes/commits', 'unknown-ref'],
  ])('%s of %s: %s', (kind, ref, expected) => {
    const decision = routeEvent({ kind, ref, after: commit }, routes);
    if (typeof expected === 'number')
      expect(decision).toMatchObject({ kind: 'run', index: expected, route: routes[expected] });
    else expect(decision).toMatchObject({ kind: 'ignored', reason: expected });
  });

  test('nowhere when the branch or tag was deleted', () => {
    expect(routeEvent({ kind: 'push', ref: 'refs/heads/main', after: deleted }, routes)).toMatchObject({
      reason: 'deleted',
    });
  });

  test('a route by hand comes first only where it stands first', () => {
    const byHand = route('manual', 'main');
    const event = { kind: 'manual', ref: 'refs/heads/main', after: commit } as const;
    expect(routeEvent(event, [byHand, ...routes])).toMatchObject({ index: 0 });
    expect(routeEvent(event, [...routes, byHand])).toMatchObject({ index: 1 });
    for (const kind of ['push', 'schedule'] as const) {
      expect(routeEvent({ ...event, kind }, [byHand, ...routes])).toMatchObject({ index: 2 });
    }
  });

  describe('with parameters', () => {
    const byHand = { kind: 'manual', ref: 'refs/heads/main', after: commit } as const;
    const to = (environment: string): Route => ({
      ...route('push', 'main', [environment]),
      parameters: { DEPLOY_ENV: [environment] },
    });
    const table = [to('staging'), to('production')];
    const decide = (values: Readonly<Record<string, string>>, complete = true, rows: readonly Route[] = table) =>
      routeEvent(byHand, rows, undefined, { values, complete });

    test('is the first route that is for all of them', () => {
      expect(decide({ DEPLOY_ENV: 'staging' })).toMatchObject({ kind: 'run', index: 0 });
      expect(decide({ DEPLOY_ENV: 'production' })).toMatchObject({ kind: 'run', index: 1 });
      const both = { ...to('staging'), parameters: { DEPLOY_ENV: ['staging'], RUN_TESTS: ['true', '1'] } };
      expect(decide({ DEPLOY_ENV: 'staging', RUN_TESTS: '1' }, true, [both])).toMatchObject({ index: 0 });
      expect(decide({ DEPLOY_ENV: 'staging', RUN_TESTS: 'no' }, true, [both])).toMatchObject({
        reason: 'no-parameter',
      });
      expect(decide({ DEPLOY_ENV: 'qa' }, true, [...table, route('push', 'main')])).toMatchObject({ index: 2 });
    });

    test('is none where no route is for them, and says which they are', () => {
      const why = (name: string): string => `No route for main is for these parameters: DEPLOY_ENV ${name}.`;
      expect(decide({ DEPLOY_ENV: 'qa' })).toEqual({ kind: 'ignored', reason: 'no-parameter', why: why('`qa`') });
      expect(decide({})).toMatchObject({ reason: 'no-parameter', why: why('not given') });
      expect(decide({ toString: 'x' }, true, [{ ...to('a'), parameters: { constructor: ['x'] } }])).toMatchObject({
        reason: 'no-parameter',
      });
    });

    test('may be one of them as long as it is not known what is taken for those that are not given', () => {
      expect(decide({}, false)).toMatchObject({ kind: 'run' });
      expect(routeEvent(byHand, table)).toMatchObject({ kind: 'run' });
      expect(decide({ DEPLOY_ENV: 'production' }, false)).toMatchObject({ index: 1 });
      expect(decide({ DEPLOY_ENV: 'qa' }, false)).toMatchObject({ reason: 'no-parameter' });
    });
  });

  test('is always the first route that matches', () => {
    const refs = fc.stringMatching(/^[ab/]{1,6}$/);
    const patterns = fc.stringMatching(/^[ab/*?]{1,5}$/);
    fc.assert(
      fc.property(fc.array(patterns, { maxLength: 6 }), refs, (table, ref) => {
        const rows = table.map((pattern) => route('push', pattern));
        const decision = routeEvent({ kind: 'push', ref: `refs/heads/${ref}`, after: commit }, rows);
        const first = table.findIndex((pattern) => matchesRef(pattern, ref));
        if (first < 0) expect(decision.kind).toBe('ignored');
        else expect(decision).toMatchObject({ kind: 'run', index: first, ref });
      }),
    );
  });
});

describe('patterns', () => {
  test.each([
    ['release/{1,2}.x', 'release/2.x', true],
    ['release/{1,2}.x', 'release/3.x', false],
    ['{main,develop}', 'develop', true],
    ['v?.0', 'v1.0', true],
    ['v?.0', 'v/.0', false],
    ['*', 'a/b', false],
    ['**', 'a/b', true],
    ['a/**/b', 'a/x/y/b', true],
    ['a.c', 'abc', false],
    ['{a', '{a', true],
    ['', '', true],
  ])('%j and %j: %s', (pattern, ref, expected) => {
    expect(matchesRef(pattern, ref)).toBe(expected);
  });

  test('mean what the same regular expression means', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[ab/*?]{0,8}$/), fc.stringMatching(/^[ab/]{0,10}$/), (pattern, ref) => {
        const expression = pattern
          .replaceAll('**', '\u0000')
          .replaceAll('*', '[^/]*')
          .replaceAll('?', '[^/]')
          .replaceAll('\u0000', '.*');
        expect(matchesRef(pattern, ref)).toBe(new RegExp(`^${expression}$`).test(ref));
      }),
      { numRuns: 5_000 },
    );
  });

  test('end soon, however many stars they have', () => {
    const started = performance.now();
    expect(matchesRef('**a'.repeat(60), 'a'.repeat(200) + 'b')).toBe(false);
    expect(matchesRef('*a'.repeat(90), 'a'.repeat(200) + 'b')).toBe(false);
    expect(performance.now() - started).toBeLessThan(500);
  });
});

describe('what changed', () => {
  const path = fc.stringMatching(/^[ab](?:\/[abc.]{1,3}){0,3}$/);
  const pattern = fc.stringMatching(/^(?:\*\*\/)?[ab*?](?:\/(?:[abc]|\*{1,2})){0,3}$/);
  const filters = fc.record(
    {
      paths: fc.array(pattern, { minLength: 1, maxLength: 3 }),
      ignorePaths: fc.array(pattern, { minLength: 1, maxLength: 3 }),
    },
    { requiredKeys: [] },
  );
  const table = fc.array(fc.tuple(fc.constantFrom('main', '**', 'x'), filters), { maxLength: 6 });
  const event = { kind: 'push', ref: 'refs/heads/main', after: commit } as const;

  test.each([
    ['docs/**', 'docs/a/b.md', true],
    ['docs/**', 'docs', false],
    ['**/*.md', 'README.md', true],
    ['**/*.md', 'a/b/c.md', true],
    ['**/*.md', 'a.mdx', false],
    ['services/{api,web}/**', 'services/web/x', true],
    ['a/**/b', 'a/b', true],
    ['*.md', 'a/b.md', false],
  ])('%j and %j: %s', (glob, name, expected) => {
    expect(matchesPath(glob, name)).toBe(expected);
  });

  test('leads to the first route that any of it concerns, and unknown to the first of all', () => {
    fc.assert(
      fc.property(table, fc.array(path, { maxLength: 4 }), (rows, changed) => {
        const all = rows.map(([ref, filter]) => ({ ...route('push', ref), ...filter }));
        const fits = all.map(({ ref }) => ref !== 'x');
        const concerns = (index: number): boolean => {
          const { paths, ignorePaths } = all[index] as Route;
          if (paths === undefined && ignorePaths === undefined) return true;
          return changed.some(
            (one) =>
              (paths ?? ['**']).some((glob) => matchesPath(glob, one)) &&
              !(ignorePaths ?? []).some((glob) => matchesPath(glob, one)),
          );
        };
        const first = all.findIndex((_, index) => fits[index] === true && concerns(index));
        const decision = routeEvent(event, all, changed);
        expect(decision.kind === 'run' ? decision.index : -1).toBe(first);
        if (decision.kind === 'ignored') expect(decision.reason).toBe(fits.includes(true) ? 'no-path' : 'no-route');
        const unknown = routeEvent(event, all);
        expect(unknown.kind === 'run' ? unknown.index : -1).toBe(fits.indexOf(true));
      }),
      { numRuns: 1_000 },
    );
  });

  test('is not asked of a tag and of a run by hand', () => {
    const only = [
      { ...route('push', '**'), paths: ['a'] },
      { ...route('tag', '**'), paths: ['a'] },
    ];
    expect(routeEvent({ ...event, kind: 'manual' }, only, ['b'])).toMatchObject({ kind: 'run' });
    expect(routeEvent({ ...event, kind: 'tag', ref: 'refs/tags/x' }, only, ['b'])).toMatchObject({ kind: 'run' });
  });

  test('a pull request goes by the branch that it goes into, where that is told', () => {
    const only = [{ ...route('pull-request', '**'), into: '{main,develop}' }];
    const request = { kind: 'pull-request', ref: 'refs/pull/1/head', after: commit } as const;
    expect(routeEvent({ ...request, into: 'main' }, only)).toMatchObject({ kind: 'run' });
    expect(routeEvent({ ...request, into: 'release/1' }, only)).toMatchObject({ kind: 'ignored', reason: 'no-route' });
    expect(routeEvent(request, only)).toMatchObject({ kind: 'run' });
  });
});

describe('code that may be anybody’s', () => {
  test.each<[Pick<SourceEvent, 'kind' | 'ref' | 'fork'>, boolean]>([
    [{ kind: 'pull-request', ref: 'refs/pull/7/head', fork: true }, true],
    [{ kind: 'pull-request', ref: 'refs/pull/7/head', fork: false }, false],
    [{ kind: 'pull-request', ref: 'refs/pull/7/head' }, true],
    [{ kind: 'manual', ref: 'refs/pull/7/head' }, true],
    [{ kind: 'push', ref: 'refs/heads/main', fork: true }, true],
    [{ kind: 'push', ref: 'refs/heads/main' }, false],
    [{ kind: 'manual', ref: 'refs/heads/pull/7' }, false],
    [{ kind: 'tag', ref: 'refs/tags/v1.0.0' }, false],
    [{ kind: 'schedule', ref: 'refs/heads/main' }, false],
  ])('%j: %s', (what, expected) => {
    expect(isForeign(what)).toBe(expected);
  });

  test.each([
    ['push', 'build'],
    ['build', 'build'],
    ['validate', 'validate'],
    ['none', 'none'],
  ] as const)('goes nowhere, and of images that are to be %s is left %s', (buildImages, left) => {
    const whole = { ...route('pull-request', '**', ['review']), buildImages, imageGroups: ['services'] };
    expect(foreignRoute(whole)).toEqual({ ...whole, environments: [], buildImages: left });
  });
});
