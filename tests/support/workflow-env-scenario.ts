import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { WorkflowUpdateFailedError } from '@temporalio/client';
import type { Activities } from '../../src/activities/contracts.ts';
import type { DeploymentInput, DeploymentResult } from '../../src/domain/deployment.ts';
import type { RunInput } from '../../src/domain/run.ts';
import {
  type DecisionMessage,
  type DeploymentView,
  type EnvironmentView,
  deploymentId,
  environmentId,
  provableDecision,
  rolloutId,
  runId,
} from '../../src/workflows/messages.ts';
import { type World, stayUntil } from './fake-activities.ts';
import { testProofs } from './proofs.ts';
import { until } from './until.ts';
import type { WorkflowEnv } from './workflow-env.ts';

/** The environment all scenarios play in. */
export const production = 'production';

/** One test's story, in the words of the house: given a world, when something is done, then somebody sees something. */
export interface Scenario {
  readonly world: World;
  readonly given: Given;
  readonly when: When;
  readonly then: Then;
}

export interface Given {
  /** A release serves already, in blue. */
  live(version?: string): void;
  /** The activity waits in its first call until the returned function is called. */
  gate(name: keyof Activities, which?: (input: never) => boolean): () => void;
}

export interface When {
  deploy(more?: Partial<DeploymentInput>): Promise<Deployment>;
  /** @returns the handle of a run. */
  push(more?: Partial<RunInput>): Promise<WorkflowHandle>;
  /** A signal to the environment. */
  tell(signal: string, message: object): Promise<void>;
  /** An update of the environment. */
  ask<T>(update: string, message: object): Promise<T>;
}

export interface Then {
  view(): Promise<EnvironmentView>;
  /** Waits until an activity has been called, however often. */
  called(name: keyof Activities, times?: number): Promise<void>;
  environmentIs(look: (view: EnvironmentView) => boolean, what: string): Promise<EnvironmentView>;
}

/** A deployment as somebody who waits for it sees it. */
export interface Deployment {
  readonly input: DeploymentInput;
  readonly handle: WorkflowHandle;
  readonly rollOut: WorkflowHandle;
  view(): Promise<DeploymentView>;
  until(phase: DeploymentView['phase']): Promise<DeploymentView>;
  /** Waits without moving the clock. */
  result(): Promise<DeploymentResult>;
  /** Waits and lets the clock run. */
  resultInTime(): Promise<DeploymentResult>;
  /** An update. @returns what the API would answer: how many have been counted, or the type of the refusal. */
  decide(verdict: 'approve' | 'reject', message: Partial<DecisionMessage> & { readonly by: string }): Promise<string>;
  abort(message?: object): Promise<void>;
}

export function createScenario(env: WorkflowEnv): Scenario {
  const world = env.world();
  const ours = (): WorkflowHandle => env.client.workflow.getHandle(environmentId(world.project, production));
  const view = (): Promise<EnvironmentView> => ours().query('environment');
  return {
    world,
    given: {
      live: (version = '0.9.0') => {
        const place = world.place(production);
        place.slots.set('blue', { version, deployment: 0 });
        place.traffic = 'blue';
      },
      gate: (name, which = () => true) => {
        let open = false;
        const natural = world.handlerOf(name);
        world.on(name, (async (input: never) => {
          if (which(input)) await stayUntil(() => open);
          return await (natural ?? ((own: never) => env.natural(name)(own, world)))(input, world);
        }) as never);
        return () => {
          open = true;
        };
      },
    },
    when: {
      deploy: async (more) => await deploy(env, world, more),
      push: async (more) => await push(env, world, more),
      tell: (signal, message) => ours().signal(signal, message),
      ask: <T>(update: string, message: object) => ours().executeUpdate<T, [object]>(update, { args: [message] }),
    },
    then: {
      view,
      called: async (name, times = 1) => {
        await until(() => world.called(name).length >= times, { what: `${name} to be called` });
      },
      environmentIs: (look, what) =>
        until(
          async () => {
            const seen = await view();
            return look(seen) ? seen : undefined;
          },
          { what },
        ),
    },
  };
}

async function deploy(env: WorkflowEnv, world: World, more: Partial<DeploymentInput> = {}): Promise<Deployment> {
  const input = world.open(production, more);
  const handle = await env.client.workflow.start('deployRelease', {
    workflowId: deploymentId(input),
    taskQueue: 'orchestration',
    args: [input],
  });
  const view = (): Promise<DeploymentView> => handle.query('deployment');
  return {
    input,
    handle,
    rollOut: env.client.workflow.getHandle(rolloutId(input)),
    view,
    until: (phase) =>
      until(
        async () => {
          const seen = await view();
          return seen.phase === phase ? seen : undefined;
        },
        { what: `deployment ${String(input.number)} to be ${phase}` },
      ),
    result: async () => (await handle.result()) as DeploymentResult,
    resultInTime: async () =>
      (await env.server.client.workflow.getHandle(handle.workflowId).result()) as DeploymentResult,
    decide: async (verdict, message) => {
      const plan = message.plan ?? (await view()).plan?.hash ?? '';
      const words = { groups: ['tech-lead', 'devops'], ...message, plan };
      // As the API does, by the clock of this server.
      const at = new Date(await env.server.currentTimeMs()).toISOString();
      const proof = testProofs.prove(provableDecision(handle.workflowId, verdict, words), at);
      try {
        const state = await handle.executeUpdate<{ counted: readonly unknown[] }, [DecisionMessage]>(verdict, {
          args: [{ proof, ...words }],
        });
        return `${String(state.counted.length)} counted`;
      } catch (error) {
        if (error instanceof WorkflowUpdateFailedError && error.cause instanceof ApplicationFailure) {
          return error.cause.type ?? 'unknown';
        }
        throw error;
      }
    },
    abort: (message = { by: 'ops', reason: 'changed our mind' }) => handle.signal('abort', message),
  };
}

async function push(env: WorkflowEnv, world: World, more: Partial<RunInput> = {}): Promise<WorkflowHandle> {
  const input: RunInput = {
    project: world.project,
    key: 'k1',
    event: { kind: 'push', ref: 'refs/heads/main', before: '0'.repeat(40), after: 'c'.repeat(40), author: 'ada' },
    acceptedAt: new Date().toISOString(),
    ...more,
  };
  return await env.client.workflow.start('runPipeline', {
    workflowId: runId(input.project, input.key),
    taskQueue: 'orchestration',
    args: [input],
  });
}
