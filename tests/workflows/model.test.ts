import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fc, seed } from '../support/property.ts';
import { Stage, order } from '../support/model.ts';
import { type WorkflowEnv, createWorkflowEnv } from '../support/workflow-env.ts';

/** Orders in all; `npm run test:all` plays 1,000. `SLIPWAY_MODEL_RUNS=10000` is the longest that was asked for: three hours on two cores. */
const orders = Number(process.env['SLIPWAY_MODEL_RUNS'] ?? '150');
/** So many go on at once; most of an order's time is waiting. */
const lanes = Math.min(20, orders);

let env: WorkflowEnv;

beforeAll(async () => {
  env = await createWorkflowEnv({ server: 'real' });
}, 180_000);

afterAll(() => env.close(), 180_000);

describe('an environment under any order of request, decision, abort, rollback, termination and restart', () => {
  test(
    `never has two open turns, gives every deployment one outcome, and leaves nothing waiting (${String(orders)} orders, seed ${String(seed)})`,
    async () => {
      const stage = new Stage(env);
      const property = fc.asyncProperty(order, async (given) => {
        expect(await stage.play(given)).toEqual([]);
      });
      const numRuns = Math.ceil(orders / lanes);
      await Promise.all(
        Array.from({ length: lanes }, (_, lane) =>
          fc.assert(property, { numRuns, seed: seed + lane, endOnFailure: true }),
        ),
      );
    },
    Math.max(180_000, orders * 3_000),
  );
});
