import { describe, expect, test } from '@jest/globals';
import {
  type AbandonedDeployment,
  type AbandonedRun,
  type ClosedWorkflow,
  endOfDeployment,
  endOfRun,
} from '../../../src/domain/abandoned.ts';
import type { DeploymentPhase } from '../../../src/domain/deployment.ts';

const terminated: ClosedWorkflow = {
  workflowId: 'run/hello/k',
  status: 'terminated',
  closedAt: '2026-11-25T10:00:00.000Z',
};

function deployment(over: Partial<AbandonedDeployment>): AbandonedDeployment {
  return {
    kind: 'deployment',
    project: 'hello',
    environment: 'production',
    number: 7,
    rollback: false,
    version: '1.2.0',
    phase: 'awaiting-approval',
    workflow: { ...terminated, workflowId: 'deployment/hello/production/7' },
    ...over,
  };
}

describe('a run that nobody ends', () => {
  const run: AbandonedRun = {
    kind: 'run',
    project: 'hello',
    key: 'k',
    number: 12,
    phase: 'checking',
    workflow: terminated,
  };

  test('is errored, says what happened to whom and what to type', () => {
    const { outcome, reason } = endOfRun(run);
    expect(outcome).toBe('errored');
    expect(reason).toContain('(run/hello/k) was terminated at 2026-11-25T10:00:00.000Z while it was checking');
    expect(reason).toContain('`slipway rerun hello#12`');
  });

  test('ends as its workflow says, where it does', () => {
    const returned = { outcome: 'failed', reason: 'check failed' } as const;
    expect(endOfRun({ ...run, returned })).toEqual(returned);
  });
});

describe('a deployment that nobody ends', () => {
  test('before it changed anything is errored, and asked for again with one command', () => {
    const { outcome, reason } = endOfDeployment(deployment({}));
    expect(outcome).toBe('errored');
    expect(reason).toContain('was terminated');
    expect(reason).toContain('`slipway deploy hello/production 1.2.0`');
  });

  test.each<DeploymentPhase>([
    'rolling-out',
    'migrating',
    'probing',
    'switching',
    'watching',
    'settling',
    'rolling-back',
  ])('while %s is held, for nobody knows what is live', (phase) => {
    const turn = { ...terminated, workflowId: 'rollout/hello/production/7' };
    const { outcome, reason } = endOfDeployment(deployment({ phase, turn }));
    expect(outcome).toBe('held');
    expect(reason).toContain('roll-out (rollout/hello/production/7) was terminated');
    expect(reason).toContain('`slipway reconcile hello/production --reason …`');
  });

  test.each<DeploymentPhase>(['planning', 'awaiting-approval', 'queued', 'preparing', 'backing-up'])(
    'while %s is not held',
    (phase) => {
      expect(endOfDeployment(deployment({ phase })).outcome).toBe('errored');
    },
  );

  test('that is a rollback is held once it had begun, for its first act is a change', () => {
    const rollback = { rollback: true, phase: 'planning' } as const;
    expect(endOfDeployment(deployment(rollback)).outcome).toBe('held');
    const never = { workflowId: 'rollback/hello/production/7', status: 'unknown' } as const;
    const { outcome, reason } = endOfDeployment(deployment({ ...rollback, workflow: never }));
    expect(outcome).toBe('errored');
    expect(reason).toContain('`slipway rollback hello/production --to-version 1.2.0 --reason …`');
  });
});
