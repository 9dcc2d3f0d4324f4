import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { DeploymentResult } from '../../../src/domain/deployment.ts';
import type { LiveRelease } from '../../../src/domain/release.ts';
import { appendAudit, listAudit } from '../../../src/store/audit.ts';
import { recordDecisionRow } from '../../../src/store/decisions.ts';
import {
  type NewDeployment,
  deploymentsToStart,
  listDeployments,
  markDeploymentStarted,
  openDeployment,
  readDeployment,
  recordPhase,
  turnsOf,
} from '../../../src/store/deployments.ts';
import { readEnvironment } from '../../../src/store/environments.ts';
import { readEvents } from '../../../src/store/events.ts';
import { type Fact, type KeyedFact, applyFacts } from '../../../src/store/facts.ts';
import { listIncidents, postMortemDue } from '../../../src/store/incidents.ts';
import { addSegment, closeLog, listLogs, logId, readLog, readSegments } from '../../../src/store/logs.ts';
import {
  claimNotice,
  countUndelivered,
  listNotices,
  readDueNotices,
  settleNotice,
} from '../../../src/store/notices.ts';
import { putProject } from '../../../src/store/projects.ts';
import { readLastProofMs, recordProof } from '../../../src/store/proofs.ts';
import { listReleases, readRelease, recordRelease } from '../../../src/store/releases.ts';
import { listSamples } from '../../../src/store/samples.ts';
import { createToken, findIdentity, generateToken, isToken, revokeToken } from '../../../src/store/tokens.ts';
import { type TestStore, temporaryStore } from '../../support/store.ts';

let store: TestStore;
beforeAll(async () => {
  store = await temporaryStore({ poolSize: 20 });
  await putProject(store.db, { name: 'hello', text: 'version: 1', hash: 'h', diff: '', by: 'ada' });
});
afterAll(async () => {
  await store.drop();
});

const at = '2025-03-01T10:00:00.000Z';
const later = '2025-03-01T10:00:05.000Z';

function asked(environment: string, request: string): NewDeployment {
  return {
    project: 'hello',
    environment,
    version: '1.0.0',
    requestedBy: 'ada',
    author: 'ada',
    priority: 'routine',
    requestedAt: at,
    kind: 'rollout',
    request,
    startedBy: 'api',
  };
}

function live(version: string, deployment: number): LiveRelease {
  return { version, commit: 'c', images: [], slot: 'blue', deployment, since: at };
}

function result(environment: string, number: number, over: Partial<DeploymentResult>): DeploymentResult {
  return { project: 'hello', environment, number, outcome: 'succeeded', reason: 'It serves.', steps: [], ...over };
}

describe('opening', () => {
  test('numbers of an environment have no gaps, and the same request is the same deployment', async () => {
    const opened = await Promise.all(
      Array.from({ length: 100 }, (_, index) => openDeployment(store.db, asked('busy', `request-${index % 20}`))),
    );
    expect(opened.filter((each) => each.created)).toHaveLength(20);
    const numbers = new Set(opened.map((each) => each.input.number));
    expect([...numbers].sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
  });

  test('what a person asked for is found until Temporal has it', async () => {
    const { input } = await openDeployment(store.db, asked('by-hand', 'r'));
    const waiting = async () =>
      (await deploymentsToStart(store.db, { olderThanMs: 0, limit: 1000 })).filter(
        (each) => each.environment === 'by-hand',
      );
    expect(await waiting()).toEqual([input]);
    await markDeploymentStarted(store.db, input);
    expect(await waiting()).toEqual([]);
  });
});

describe('a deployment', () => {
  test('an older phase and any phase after the outcome change nothing', async () => {
    const { input } = await openDeployment(store.db, asked('phases', 'r'));
    const soon = new Date(Date.now() + 1000).toISOString();
    expect(await recordPhase(store.db, input, { phase: 'watching', at: soon })).toBe(true);
    expect(await recordPhase(store.db, input, { phase: 'probing', at: new Date().toISOString() })).toBe(false);
    await applyFacts(store.db, [
      { key: 'phases-1', fact: { kind: 'settled', result: result('phases', 1, {}), version: '1.0.0', at: soon } },
    ]);
    const late = new Date(Date.now() + 60_000).toISOString();
    expect(await recordPhase(store.db, input, { phase: 'watching', at: late })).toBe(false);
    expect(await readDeployment(store.db, input)).toMatchObject({ phase: 'closed', outcome: 'succeeded' });
  });

  test('its end says what is live, what was before, and whether the environment is held', async () => {
    const name = 'ends';
    for (const number of [1, 2, 3]) await openDeployment(store.db, asked(name, `r${number}`));
    const settle = async (number: number, over: Partial<DeploymentResult>) =>
      applyFacts(store.db, [
        { key: `ends-${number}`, fact: { kind: 'settled', result: result(name, number, over), version: '1.0.0', at } },
      ]);
    await settle(1, { live: live('1', 1) });
    await settle(2, { live: live('2', 2) });
    expect(await readEnvironment(store.db, 'hello', name)).toMatchObject({
      live: { version: '2' },
      previous: { version: '1' },
      hold: null,
    });
    await settle(3, {
      outcome: 'held',
      reason: 'A person must decide on the data.',
      live: live('2', 2),
      rollback: { trigger: 'errors', steps: [], totalMs: 1234.5, servingAfterMs: 99.6 },
    });
    expect(await readEnvironment(store.db, 'hello', name)).toMatchObject({
      live: { version: '2' },
      previous: { version: '1' },
      hold: { outcome: 'held', number: 3, since: at },
    });
    const turns = await turnsOf(store.db, 'hello', name, 2);
    expect(turns.map((turn) => turn.input.number)).toEqual([3, 2]);
    const page = await listDeployments(store.db, { environment: name, outcome: 'held' }, {});
    expect(page.items.map((each) => each.number)).toEqual([3]);
  });

  describe('what was live before', () => {
    /**
     * Ends one after the other: `2` is a roll-out to 2, `back 1` a rollback by hand to 1, `2 taken back to 1` a roll-out that undid itself,
     * `2 lost` one that ended without a word, `said 2` an operator who says what is live.
     */
    async function story(environment: string, ends: readonly string[]): Promise<(string | null)[]> {
      const before: (string | null)[] = [];
      for (const [index, end] of ends.entries()) {
        const words = end.split(' ');
        const kind = words[0] === 'back' ? 'rollback' : 'rollout';
        const version = words.at(-1) ?? '';
        const number = index + 1;
        const now = new Date(startMs + number * 1_000).toISOString();
        const fact =
          words[0] === 'said'
            ? said(environment, version, now)
            : await ended(environment, end, version, kind, number, now);
        await applyFacts(store.db, [{ key: `${environment}-${number}`, fact }]);
        before.push((await readEnvironment(store.db, 'hello', environment))?.previous?.version ?? null);
      }
      return before;
    }

    const startMs = Date.now();

    function said(environment: string, version: string, now: string): Fact {
      const found = version === 'nothing' ? null : live(version, 0);
      const word = { project: 'hello', environment, how: 'unlock', by: 'ops', reason: 'I looked' } as const;
      return { kind: 'live', ...word, live: found, at: now };
    }

    async function ended(
      environment: string,
      end: string,
      version: string,
      kind: 'rollout' | 'rollback',
      number: number,
      now: string,
    ): Promise<Fact> {
      const { input } = await openDeployment(store.db, { ...asked(environment, `r${number}`), kind });
      const outcome = end.endsWith('lost') ? 'errored' : end.includes('back') ? 'rolled-back' : 'succeeded';
      const known = outcome === 'errored' ? {} : { live: live(version, input.number) };
      return { kind: 'settled', result: result(environment, input.number, { outcome, ...known }), version, at: now };
    }

    test.each([
      ['plain', ['1', '2', '3'], [null, '1', '2']],
      ['taken-back', ['1', '2', '3 taken back to 2', '4'], [null, '1', '1', '2']],
      // What was left by a rollback is nothing to go back to.
      ['by-hand-back', ['1', '2', 'back 1'], [null, '1', null]],
      ['twice-back', ['1', '2', '3', 'back 2', 'back 1'], [null, '1', '2', '1', null]],
      ['on-after-back', ['1', '2', '3', 'back 2', '4', 'back 2'], [null, '1', '2', '1', '2', '1']],
      ['far-back', ['1', '2', '3', '4', 'back 2'], [null, '1', '2', '3', '1']],
      ['old-again', ['1', '2', '3', '2', 'back 3'], [null, '1', '2', '3', '2']],
      ['unknown-back', ['1', '2', 'back 0.9'], [null, '1', null]],
      // What an operator has found to be live is a part of the row like any other.
      ['said-on', ['1', '2 lost', 'said 2', '3', 'back 2'], [null, null, '1', '2', '1']],
      ['said-back', ['1', '2', '3', 'said 2', '4'], [null, '1', '2', '1', '2']],
      ['said-same', ['1', '2', 'said 2'], [null, '1', '1']],
      ['said-nothing', ['1', '2', 'said nothing', '3'], [null, '1', null, null]],
    ])('%s: %j', async (environment, ends, before) => {
      expect(await story(`before-${environment}`, ends)).toEqual(before);
    });
  });

  test('an operator’s word says what is live and ends the hold, but not after the end of a later deployment', async () => {
    const name = 'words';
    await recordRelease(store.db, {
      project: 'hello',
      version: '9.9.9',
      build: 99,
      commit: 'd'.repeat(40),
      images: [],
      definition: 'x',
      migrations: [],
      author: 'ada',
    });
    await openDeployment(store.db, asked(name, 'r1'));
    const day = new Date(Date.now() + 60_000);
    const moment = (seconds: number): string => new Date(day.getTime() + seconds * 1_000).toISOString();
    const word = (version: string, seconds: number): KeyedFact => ({
      key: `live/${name}/${seconds}`,
      fact: {
        kind: 'live',
        project: 'hello',
        environment: name,
        how: 'unlock',
        by: 'ops',
        reason: 'I looked',
        live: { ...live(version, 1), commit: '' },
        at: moment(seconds),
      },
    });
    const held = result(name, 1, { outcome: 'held', reason: 'A person must look.', live: live('1', 1) });
    await applyFacts(store.db, [
      { key: `${name}-1`, fact: { kind: 'settled', result: held, version: '1', at: moment(0) } },
    ]);
    await applyFacts(store.db, [word('9.9.9', 1)]);
    expect(await readEnvironment(store.db, 'hello', name)).toMatchObject({
      // Of a slot that is known by its version alone, the release on record says the rest.
      live: { version: '9.9.9', commit: 'd'.repeat(40) },
      previous: { version: '1' },
      hold: null,
    });
    await openDeployment(store.db, asked(name, 'r2'));
    const next = result(name, 2, { live: live('2', 2) });
    await applyFacts(store.db, [
      { key: `${name}-2`, fact: { kind: 'settled', result: next, version: '2', at: moment(5) } },
      word('1', 3),
    ]);
    expect(await readEnvironment(store.db, 'hello', name)).toMatchObject({ live: { version: '2' } });
  });

  test('a rollback that works ends the hold', async () => {
    const name = 'retried';
    await openDeployment(store.db, asked(name, 'r1'));
    await openDeployment(store.db, { ...asked(name, 'r2'), kind: 'rollback' });
    const failed = result(name, 1, { outcome: 'rollback-failed', live: live('1', 1) });
    const worked = result(name, 2, { outcome: 'rolled-back', live: live('1', 1) });
    await applyFacts(store.db, [{ key: `${name}-1`, fact: { kind: 'settled', result: failed, version: '2', at } }]);
    expect((await readEnvironment(store.db, 'hello', name))?.hold).toMatchObject({ outcome: 'rollback-failed' });
    await applyFacts(store.db, [
      { key: `${name}-2`, fact: { kind: 'settled', result: worked, version: '1', at: later } },
    ]);
    expect((await readEnvironment(store.db, 'hello', name))?.hold).toBeNull();
  });

  test('a decision is never changed, and the same one is kept once', async () => {
    const { input } = await openDeployment(store.db, asked('decided', 'r'));
    const decision = {
      by: 'grace',
      verdict: 'approve' as const,
      counted: true,
      why: null,
      plan: 'abc',
      comment: 'fine',
      proven: true,
      at,
    };
    await recordDecisionRow(store.db, input, decision);
    await recordDecisionRow(store.db, input, decision);
    expect((await readDeployment(store.db, input))?.decisions).toEqual([decision]);
    await expect(store.db.deleteFrom('decisions').execute()).rejects.toThrow('never changed');
  });
});

describe('facts', () => {
  test('arrive in any order and any number of times, and count once', async () => {
    const { input } = await openDeployment(store.db, asked('facts', 'r'));
    const facts: KeyedFact[] = [
      {
        key: 'f-1',
        fact: {
          kind: 'deployment-step',
          deployment: input,
          key: 'backup',
          step: { name: 'backup', verdict: 'passed', startedAt: at, durationMs: 10 },
        },
      },
      {
        key: 'f-2',
        fact: {
          kind: 'deployment-step',
          deployment: input,
          key: 'switch',
          step: { name: 'switch', verdict: 'failed', startedAt: later, durationMs: 5.4, detail: 'no' },
        },
      },
      {
        key: 'f-3',
        fact: { kind: 'sample', deployment: input, sample: { at, figures: { errorRatio: 0.1, p95Ms: null } } },
      },
      { key: 'f-4', fact: { kind: 'incident', deployment: input, trigger: 'errors', summary: 'too many', at } },
    ];
    await applyFacts(store.db, facts);
    await Promise.all([applyFacts(store.db, facts.toReversed()), applyFacts(store.db, facts)]);
    expect((await readDeployment(store.db, input))?.steps).toEqual([
      { key: 'backup', name: 'backup', verdict: 'passed', startedAt: at, durationMs: 10 },
      { key: 'switch', name: 'switch', verdict: 'failed', startedAt: later, durationMs: 5, detail: 'no' },
    ]);
    expect(await listSamples(store.db, input)).toEqual([{ at, figures: { errorRatio: 0.1, p95Ms: null } }]);
    const incidents = (await listIncidents(store.db, { project: 'hello' })).filter(
      (each) => each.environment === 'facts',
    );
    expect(incidents).toMatchObject([{ id: 'incident/hello/facts/1', closedAt: null }]);
    const events = await readEvents(store.db, 0, { environment: 'facts' });
    expect(events.map((event) => event.kind)).toEqual(['deployment', 'deployment', 'deployment', 'incident']);
  });

  test('one that the tables refuse does not keep the others', async () => {
    const { input } = await openDeployment(store.db, asked('poison', 'r'));
    const refused = await applyFacts(store.db, [
      { key: 'p-1', fact: { kind: 'sample', deployment: input, sample: { at: 'no instant', figures: {} } } },
      { key: 'p-2', fact: { kind: 'sample', deployment: input, sample: { at, figures: { requests: 1 } } } },
    ]);
    expect(refused.map((each) => each.key)).toEqual(['p-1']);
    expect(await listSamples(store.db, input)).toHaveLength(1);
  });

  test('a log can be read while it is written, and what comes late no longer changes it', async () => {
    const owner = { project: 'hello', run: 1, stage: 'tests', step: 'unit', attempt: 1 };
    const segment = (sequence: number, offsetBytes: number) => ({
      sequence,
      blob: 'b',
      offsetBytes,
      sizeBytes: 100,
      at,
    });
    await addSegment(store.db, owner, segment(0, 0));
    await addSegment(store.db, owner, segment(1, 100));
    await addSegment(store.db, owner, segment(1, 100));
    const log = logId(owner);
    expect(log).toBe('run/hello/1/tests/unit/1');
    expect(await readLog(store.db, log)).toMatchObject({ sizeBytes: 200, closedAt: null, blob: 'b' });
    await closeLog(store.db, owner, { at: later, sizeBytes: 200, blob: 'b' });
    await addSegment(store.db, owner, segment(2, 200));
    expect(await listLogs(store.db, { project: 'hello', run: 1 })).toMatchObject([
      { log, sizeBytes: 200, closedAt: later, blob: 'b' },
    ]);
    expect((await readSegments(store.db, log)).map((each) => each.offsetBytes)).toEqual([0, 100, 200]);
  });

  test('a log that a dead worker left open is ended by the next attempt, and by the outcome', async () => {
    const { input } = await openDeployment(store.db, asked('logged', 'r'));
    const of = { project: input.project, environment: input.environment, number: input.number };
    const owner = (stage: string, attempt: number) => ({ ...of, stage, step: 'database-3', attempt });
    const fact = (stage: string, attempt: number): Promise<unknown> =>
      applyFacts(store.db, [
        { key: `${stage}-${attempt}-${input.number}`, fact: { kind: 'log-opened', owner: owner(stage, attempt), at } },
      ]);
    await fact('backup', 1);
    await fact('migrate', 1);
    await fact('migrate', 2);
    const openOnes = async (): Promise<unknown[]> =>
      (await listLogs(store.db, of))
        .filter(({ closedAt }) => closedAt === null)
        .map(({ stage, attempt }) => [stage, attempt]);
    expect(await openOnes()).toEqual([
      ['backup', 1],
      ['migrate', 2],
    ]);
    const failed = result('logged', input.number, { outcome: 'failed' });
    await applyFacts(store.db, [
      { key: 'logged-settled', fact: { kind: 'settled', result: failed, version: '1.0.0', at: later } },
    ]);
    expect(await openOnes()).toEqual([]);
    // Its end was still on its way: it has the last word.
    await closeLog(store.db, owner('migrate', 2), { at: later, sizeBytes: 7, blob: 'b' });
    expect(await listLogs(store.db, of)).toContainEqual(expect.objectContaining({ attempt: 2, sizeBytes: 7 }));
  });

  test('how long the last proof took is known to whoever asks, in whatever order they arrive', async () => {
    const { project, environment } = (await openDeployment(store.db, asked('proved', 'r'))).input;
    const proof = (when: string, durationMs: number) => ({ project, environment, at: when, durationMs });
    expect(await readLastProofMs(store.db, project, environment)).toBe(0);
    await recordProof(store.db, proof(later, 900.4));
    await recordProof(store.db, proof(at, 100));
    expect(await readLastProofMs(store.db, project, environment)).toBe(900);
  });

  test('readers of events never lose one, however many write at once', async () => {
    const environments = Array.from({ length: 20 }, (_, index) => `many-${index}`);
    const seen: number[] = [];
    let after = (await readEvents(store.db, 0, {}, 100_000)).at(-1)?.id ?? 0;
    const writer = { writing: true };
    const reading = (async () => {
      for (let last = false; !last;) {
        last = !writer.writing;
        const events = await readEvents(store.db, after);
        seen.push(...events.map((event) => event.id));
        after = events.at(-1)?.id ?? after;
      }
    })();
    const before = after;
    await Promise.all(
      environments.map(async (environment) => {
        for (let index = 0; index < 10; index += 1) await openDeployment(store.db, asked(environment, `r${index}`));
      }),
    );
    writer.writing = false;
    await reading;
    const all = (await readEvents(store.db, before, {}, 100_000)).map((event) => event.id);
    expect(all).toHaveLength(200);
    expect(seen).toEqual(all);
  });
});

describe('releases', () => {
  const release = {
    project: 'hello',
    version: '2.1.0',
    build: 7,
    commit: 'c'.repeat(40),
    images: [{ name: 'web', repository: 'r/web', digest: 'sha256:1' }],
    definition: 'd',
    migrations: [],
    author: 'ada',
  };

  test('are written once, found with and without the v, and never changed', async () => {
    await recordRelease(store.db, release);
    await recordRelease(store.db, release);
    expect(await readRelease(store.db, 'hello', 'v2.1.0')).toMatchObject(release);
    const listed = (await listReleases(store.db, 'hello', {})).items.filter(({ version }) => version === '2.1.0');
    expect(listed).toHaveLength(1);
    await expect(recordRelease(store.db, { ...release, commit: 'e'.repeat(40) })).rejects.toMatchObject({
      type: 'Conflict',
    });
    await expect(store.db.updateTable('releases').set({ author: 'eve' }).execute()).rejects.toThrow('never changed');
  });
});

describe('audit', () => {
  test('is read from the newest, and nothing in it is ever changed or removed', async () => {
    await appendAudit(store.db, {
      actor: 'ada',
      action: 'project.put',
      object: 'project/hello',
      detail: { revision: 2 },
    });
    await appendAudit(store.db, {
      actor: 'grace',
      action: 'deployment.approve',
      object: 'deployment/hello/production/1',
    });
    expect((await listAudit(store.db, {}, { limit: 1 })).items).toMatchObject([{ actor: 'grace', detail: {} }]);
    expect((await listAudit(store.db, { object: 'project/hello' }, {})).items).toMatchObject([
      { detail: { revision: 2 } },
    ]);
    await expect(store.db.updateTable('audit').set({ actor: 'eve' }).execute()).rejects.toThrow('never changed');
    await expect(store.db.deleteFrom('audit').execute()).rejects.toThrow('never changed');
  });
});

describe('tokens', () => {
  test('only their hash is kept, and a revoked or expired one is nobody', async () => {
    const { id, token } = await createToken(store.db, {
      name: 'ada',
      role: 'approver',
      groups: ['tech-lead'],
      createdBy: 'root',
    });
    expect(await findIdentity(store.db, token)).toEqual({ id, name: 'ada', role: 'approver', groups: ['tech-lead'] });
    const stored = JSON.stringify(await store.db.selectFrom('tokens').selectAll().execute());
    expect(stored).not.toContain(token.slice(4, 40));
    expect(await findIdentity(store.db, generateToken())).toBeUndefined();
    expect(isToken(`${token.slice(0, -1)}${token.endsWith('a') ? 'b' : 'a'}`)).toBe(false);
    const old = await createToken(store.db, {
      name: 'old',
      role: 'admin',
      groups: [],
      createdBy: 'root',
      expiresAt: at,
    });
    expect(Date.parse(at)).toBeLessThan(Date.now());
    expect(await findIdentity(store.db, old.token)).toBeUndefined();
    expect(await revokeToken(store.db, id)).toBe(true);
    expect(await findIdentity(store.db, token)).toBeUndefined();
  });
});

describe('notices', () => {
  test('one sender at a time; sent is sent, failed may be tried again, a dead sender is succeeded', async () => {
    const claim = {
      key: 'k',
      channel: 'slack',
      event: 'held',
      level: 'critical' as const,
      project: 'hello',
      title: 't',
    };
    const claims = await Promise.all(Array.from({ length: 8 }, () => claimNotice(store.db, claim)));
    expect(claims.filter(Boolean)).toHaveLength(1);
    await settleNotice(store.db, 'k', 'slack', { error: 'it answered 500' });
    expect(await claimNotice(store.db, claim)).toBe(true);
    await store.db
      .updateTable('notices')
      .set({ at: new Date(Date.now() - 20_000).toISOString() })
      .execute();
    expect(await claimNotice(store.db, claim)).toBe(true);
    await settleNotice(store.db, 'k', 'slack');
    expect(await claimNotice(store.db, claim)).toBe(false);
  });

  test('what was not delivered is due again, each time later, for an hour; and is shown', async () => {
    const base = { event: 'held', level: 'critical', project: 'untold', title: 't' } as const;
    const message = { ...base, lines: ['l'] };
    const claim = { ...base, key: 'k2', channel: 'slack', message };
    const pauses: number[] = [];
    const ofUntold = async () => (await listNotices(store.db, { project: 'untold', undelivered: true }))[0];
    for (let round = 0; round < 9; round += 1) {
      expect(await claimNotice(store.db, claim)).toBe(true);
      expect(await settleNotice(store.db, 'k2', 'slack', { error: 'it answered 503' })).toBe(true);
      const row = await ofUntold();
      pauses.push(Math.round((Date.parse(row?.retryAt ?? '') - Date.parse(row?.at ?? '')) / 1_000));
    }
    expect(pauses).toEqual([10, 20, 40, 80, 160, 320, 600, 600, 600]);
    expect(await readDueNotices(store.db, 10)).toEqual([]);
    const due = { retryAt: new Date(Date.now() - 1_000).toISOString() };
    await store.db.updateTable('notices').set(due).where('key', '=', 'k2').execute();
    expect(await readDueNotices(store.db, 10)).toEqual([{ key: 'k2', channel: 'slack', message }]);
    const old = { createdAt: new Date(Date.now() - 3_700_000).toISOString() };
    await store.db.updateTable('notices').set(old).where('key', '=', 'k2').execute();
    await settleNotice(store.db, 'k2', 'slack', { error: 'it answered 503' });
    expect(await ofUntold()).toMatchObject({ state: 'failed', retryAt: null, tries: 9, error: 'it answered 503' });
    expect(await countUndelivered(store.db)).toBeGreaterThan(0);
    expect(await settleNotice(store.db, 'k3', 'slack', { error: 'nobody claimed it' })).toBe(false);
  });

  test('the message of a sender that died is sent by another', async () => {
    const base = { event: 'held', level: 'critical', project: 'untold', title: 't' } as const;
    await claimNotice(store.db, { ...base, key: 'k4', channel: 'slack', message: { ...base, lines: [] } });
    const dueKeys = async () => (await readDueNotices(store.db, 10)).map(({ key }) => key);
    expect(await dueKeys()).not.toContain('k4');
    await store.db
      .updateTable('notices')
      .set({ at: new Date(Date.now() - 20_000).toISOString() })
      .where('key', '=', 'k4')
      .execute();
    expect(await dueKeys()).toContain('k4');
    await settleNotice(store.db, 'k4', 'slack');
    expect(await dueKeys()).not.toContain('k4');
  });
});

test('a post-mortem is due in two business days', () => {
  expect(postMortemDue('2026-11-05T12:00:00.000Z')).toBe('2026-11-09T12:00:00.000Z'); // Thursday to Monday
  expect(postMortemDue('2026-11-07T12:00:00.000Z')).toBe('2026-11-10T12:00:00.000Z'); // Saturday to Tuesday
});
