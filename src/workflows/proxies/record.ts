/**
 * What Slipway knows: reads of Temporal and the store, what must be on record before anything goes on, and facts that may come later.
 */
import { proxyActivities } from '@temporalio/workflow';
import type * as contracts from '../../activities/contracts.ts';
import { taskQueues } from '../queues.ts';
import { heartbeatTimeout, shortMs } from './limits.ts';

/** Looks at Temporal and the store. Without a deadline: an environment gives no turn before it knows who has it. */
export const readOwn = proxyActivities<Pick<contracts.TurnActivities, 'readOpenTurns'>>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: shortMs,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 10_000 },
  cancellationType: 'TRY_CANCEL',
});

/** Follows another workflow to its end, for as long as it takes. Without a deadline: all that one waits for has deadlines. */
export const following = proxyActivities<Pick<contracts.TurnActivities, 'awaitTurnClosed'>>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: '7 days',
  heartbeatTimeout,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 10_000 },
  cancellationType: 'TRY_CANCEL',
});

/**
 * What must be known before anything goes on: tried until the store has it. Without a deadline, for what is not written down has not
 * happened; who can do without gives one (`openRollback`, `openIncident`, `requestTurn`).
 */
export const record = proxyActivities<
  contracts.RunFactActivities &
    contracts.RunTurnActivities &
    Pick<
      contracts.FactActivities,
      'recordDecision' | 'settleDeployment' | 'openRollback' | 'openIncident' | 'recordLive'
    > &
    Pick<contracts.TurnActivities, 'requestTurn'>
>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: shortMs,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 10_000 },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/**
 * Looks at proofs of decisions. It reads nothing but the key, so it takes as long as it takes to get a worker: a person waits for the answer,
 * and what nobody has looked at by then does not count. Judgement.
 */
export const proofs = proxyActivities<contracts.ProofActivities>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: shortMs,
  scheduleToCloseTimeout: 60_000,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 5_000 },
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
});

/** Facts for people's eyes, spooled: nobody waits for them, and nothing fails for them. */
export const note = proxyActivities<
  Pick<contracts.FactActivities, 'recordPhase' | 'recordStep' | 'recordFacts' | 'recordLostMachine'>
>({
  taskQueue: taskQueues.orchestration,
  startToCloseTimeout: shortMs,
  scheduleToCloseTimeout: 600_000,
  retry: { initialInterval: 250, backoffCoefficient: 2, maximumInterval: 30_000 },
  cancellationType: 'ABANDON',
});
