import type { HostStep } from '../../../src/definition/specs.ts';
import { createHostExecutor } from '../../../src/providers/executors/host.ts';
import { describeExecutor, plainStep } from './suite.ts';

describeExecutor('host', () =>
  Promise.resolve({
    executor: createHostExecutor(),
    step: (command, more) => ({ ...plainStep, executor: 'host', command, ...more }) as HostStep,
  }),
);
