import { resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Narrator, createNarrator } from '../../examples/demo/narrator.ts';
import { type Stage, setStage } from '../../examples/demo/stage.ts';
import * as story from '../../examples/demo/story.ts';

/** The story of the demo, act by act, on the same real parts. */
const stateFolder = resolve(import.meta.dirname, '../../.slipway/story');

/**
 * Away from those of a demo and of a person's own installation, and below those that the kernel gives to outgoing connections: one of these
 * would be in the way of a slot.
 */
const ports = {
  temporal: 19000,
  'temporal-ui': 19050,
  registry: 19100,
  store: 19150,
  'application-postgres': 19200,
  api: 19250,
  staging: 19300,
  'staging-blue': 19350,
  'staging-green': 19400,
  production: 19450,
  'production-blue': 19500,
  'production-green': 19550,
};

const actTimeoutMs = 300_000;

let narrator: Narrator;
let stage: Stage;
const findings = story.newFindings();
/** What was told, for the message of a failure. */
const told: string[] = [];

beforeAll(async () => {
  narrator = createNarrator({ write: (text) => told.push(text), live: false, colour: false });
  stage = await setStage({ narrator, stateFolder, preferredPorts: ports });
}, actTimeoutMs);

afterAll(async () => {
  await stage.strike();
}, 180_000);

describe('the life of a small service', () => {
  let before = 0;
  afterEach(() => {
    before = narrator.checks.length;
    told.length = 0;
  });

  test.each([
    ['forged deliveries lead to nothing', () => story.deliveriesAreGuarded(stage.scene)],
    ['a push to develop is on staging without approval', () => story.toStaging(stage.scene, findings)],
    ['the same commit on main is the first release, not built again', () => story.firstRelease(stage.scene, findings)],
    [
      'a good release is approved, switched without a failed request, watched',
      () => story.goodRelease(stage.scene, findings),
    ],
    ['a bad release goes back by itself, with its data', () => story.badReleaseGoesBack(stage.scene, findings)],
    ['a rejected release changes nothing', () => story.rejected(stage.scene, findings)],
    [
      'a worker killed in the middle is not noticed, and nobody deciding is an end',
      () => story.expiredWhileTheWorkerDies(stage.scene, findings),
    ],
  ] as const)(
    '%s',
    async (_, act) => {
      await act().catch((error: unknown) => {
        throw new Error(`${String(error)}\n${told.join('')}`, { cause: error });
      });
      const own = narrator.checks.slice(before);
      const wrong = own.filter(({ held }) => !held).map(({ what, seen }) => `${what}: ${seen}`);
      if (wrong.length > 0) throw new Error(`${wrong.join('\n')}\n${told.join('')}`);
      expect(own.length).toBeGreaterThan(0);
    },
    actTimeoutMs,
  );
});
