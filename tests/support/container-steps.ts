import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerStep } from '../../src/definition/specs/stage.ts';
import { createRedactor } from '../../src/effects/redact.ts';
import { createContainerExecutor } from '../../src/providers/executors/container.ts';
import type { StageSession, StepEnd, StepRun } from '../../src/providers/executors/port.ts';
import { plainStep } from './plain-step.ts';

const step: ContainerStep = {
  ...plainStep,
  executor: 'container',
  image: 'tools:1',
  network: 'none',
  resources: {},
  command: { kind: 'argv', argv: ['true'] },
};

/** Opens the place of a stage at an engine, with folders of its own. */
export async function openContainerSession(
  folder: string,
  address: string,
  signal: AbortSignal,
): Promise<StageSession<ContainerStep>> {
  const [source, home, objects] = ['source', 'home', 'objects'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  for (const each of [source, home, objects]) mkdirSync(each);
  const executor = await createContainerExecutor({ address, owner: 'test' });
  return await executor.open(
    { project: 'hello', run: 'r', number: 1, stage: 'test', attempt: 1, source, home, objects },
    signal,
  );
}

/** Runs a step in a container of `tools:1` that says nothing to anybody. */
export function runContainerStep(
  session: StageSession<ContainerStep>,
  how: Pick<StepRun, 'signal'> & Partial<Pick<StepRun, 'timeoutMs' | 'untilMs'>>,
): Promise<StepEnd> {
  return session.run({
    step,
    env: {},
    timeoutMs: step.timeoutMs,
    redactor: createRedactor([]),
    sink: () => undefined,
    say: () => undefined,
    ...how,
  });
}
