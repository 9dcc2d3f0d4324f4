import { log, patched, setHandler } from '@temporalio/workflow';
import type { EnvironmentFacts } from '../activities/contracts.ts';
import { failure } from '../domain/failures.ts';
import type { LiveRelease } from '../domain/release.ts';
import { type EnvironmentCore, readFacts, scheduleRetirement, takeFacts, viewOf } from './environment-core.ts';
import { type Rollbacks, noWay } from './environment-rollbacks.ts';
import { accept, readFreeze, readRollback, readUnlock, readWord } from './inbound.ts';
import {
  type EnvironmentView,
  type RollbackMessage,
  type UnlockMessage,
  freezeUpdate,
  reconcileUpdate,
  retryUpdate,
  rollbackSignal,
  rollbackUpdate,
  thawUpdate,
  unlockSignal,
  unlockUpdate,
} from './messages.ts';
import { callAnyway } from './call.ts';
import { record } from './proxies/record.ts';
import { isoNow } from './progress.ts';

type Word = { readonly by: string; readonly reason: string };

/** What people tell an environment. */
export function listenToOperators(core: EnvironmentCore, rollbacks: Rollbacks): void {
  setHandler(
    rollbackSignal,
    async (raw) => {
      const message = readRollback(raw);
      if (message.ok) await rollbacks.accept(message.value).catch(noWay);
      else log.warn('a rollback was not taken', { by: message.by, problem: message.problem });
    },
    { description: 'Goes back at once: {"by": "…", "reason": "…", "to": "version, or none for the previous"}' },
  );
  setHandler(rollbackUpdate, (raw) => rollbacks.accept(accept(readRollback(raw))), {
    validator: (raw: RollbackMessage) => void accept(readRollback(raw)),
  });
  setHandler(
    unlockSignal,
    async (raw) => {
      const message = readUnlock(raw);
      if (message.ok && core.state.hold !== null) await unlock(core, message.value).catch(noWay);
    },
    { description: 'Ends a hold: {"by": "…", "reason": "…", "stateIs": "the version that is live, or none"}' },
  );
  setHandler(unlockUpdate, (raw) => unlock(core, accept(readUnlock(raw))), {
    validator: (raw: UnlockMessage) => {
      accept(readUnlock(raw));
      mustBeHeld(core);
    },
  });
  setHandler(reconcileUpdate, (raw) => reconcile(core, accept(readWord(raw))), {
    validator: (raw: Word) => {
      accept(readWord(raw));
      mustBeIdle(core);
    },
  });
  setHandler(
    retryUpdate,
    async (raw) => {
      await rollbacks.retry(accept(readWord(raw)));
      return viewOf(core);
    },
    {
      validator: (raw: Word) => {
        accept(readWord(raw));
        mustBeHeld(core);
        if (core.state.retryTo !== null) return;
        throw failure('Conflict', 'There is no rollback to try again: `reconcile`, or `unlock` with what is live.');
      },
    },
  );
  setHandler(freezeUpdate, (raw) => freeze(core, raw), { validator: (raw: unknown) => void accept(readFreeze(raw)) });
  setHandler(thawUpdate, () => {
    core.state.freeze = null;
    core.wake();
    return viewOf(core);
  });
}

function freeze(core: EnvironmentCore, raw: unknown): EnvironmentView {
  const { by, reason, until } = accept(readFreeze(raw));
  core.state.freeze = { by, reason, since: isoNow(), ...(until === undefined ? {} : { until }) };
  core.wake();
  return viewOf(core);
}

async function unlock(core: EnvironmentCore, message: UnlockMessage): Promise<EnvironmentView> {
  const { state } = core;
  const { by, reason, stateIs } = message;
  const facts = await readFacts(state).catch(() => undefined);
  mustBeIdle(core);
  const live = stateIs === 'none' ? null : findRelease(core, stateIs, facts);
  if (live === undefined) {
    const known = [state.live?.version, state.previous?.version, ...(facts?.slots.map((slot) => slot.version) ?? [])];
    const names = [...new Set(known.filter((version) => version !== undefined))].join(', ') || 'none';
    throw failure('Conflict', `${stateIs} runs in no slot of this environment; there are: ${names}.`);
  }
  const onRecord = patched(wordsOnRecord);
  if (onRecord) mustAgree(facts, stateIs);
  state.live = live;
  if (state.previous?.slot === live?.slot) state.previous = null;
  if (state.previous === null) state.retire = null;
  else scheduleRetirement(state, state.previous);
  log.info('unlocked', { by, reason, stateIs });
  if (onRecord) recordLive(core, 'unlock', message);
  return release(core);
}

/** Before, the store went on to show what was live before an operator had spoken. */
const wordsOnRecord = '2026-11-25-words-on-record';

/**
 * The router is the truth of where the traffic goes, and the next plan reads it: a word against it would be believed by this workflow
 * alone, which would then retire what serves.
 */
function mustAgree(facts: EnvironmentFacts | undefined, stateIs: string): void {
  const serving = facts?.live?.version;
  if (serving === undefined || serving === stateIs) return;
  const move = stateIs === 'none' ? '' : `, \`rollback --to-version ${stateIs}\` moves the traffic there`;
  throw failure('Conflict', `The traffic goes to ${serving}: \`reconcile\` takes that as the truth${move}.`);
}

function recordLive({ state, answers }: EnvironmentCore, how: 'unlock' | 'reconcile', { by, reason }: Word): void {
  const { project, environment, live } = state;
  const word = { project, environment, live, how, by, reason, at: isoNow() };
  answers.background(callAnyway(record.recordLive, `${by}: ${live?.version ?? 'nothing'} is live`, word));
}

function findRelease(
  { state }: EnvironmentCore,
  version: string,
  facts: EnvironmentFacts | undefined,
): LiveRelease | undefined {
  const known = [facts?.live, state.live, state.previous].find((one) => one?.version === version);
  if (known !== undefined && known !== null) return known;
  const slot = facts?.slots.find((one) => one.version === version);
  if (slot === undefined) return undefined;
  return { version, commit: '', images: [], slot: slot.slot, deployment: slot.deployment, since: isoNow() };
}

async function reconcile(core: EnvironmentCore, { by, reason }: Word): Promise<EnvironmentView> {
  const facts = await readFacts(core.state);
  mustBeIdle(core);
  takeFacts(core.state, facts);
  log.info('reconciled', { by, reason, live: facts.live?.version ?? 'none' });
  if (patched(wordsOnRecord)) recordLive(core, 'reconcile', { by, reason });
  return release(core);
}

function release(core: EnvironmentCore): EnvironmentView {
  core.state.hold = null;
  core.state.unfinished = null;
  core.state.retryTo = null;
  core.wake();
  return viewOf(core);
}

function mustBeHeld({ state }: EnvironmentCore): void {
  if (state.hold === null) throw failure('Conflict', 'The environment is not held.');
}

/** While something is being changed nobody can say what is true. */
function mustBeIdle({ current }: EnvironmentCore): void {
  if (current === null) return;
  throw failure('Conflict', `${current.workflowId} has the turn: wait for its end, or abort it.`);
}
