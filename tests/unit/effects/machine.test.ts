import { expect, test } from '@jest/globals';
import { readMachine } from '../../../src/effects/machine.ts';

test('a machine says what it has, and leaves out a disk that is not there', async () => {
  const machine = await readMachine('/');
  expect(machine.cores).toBeGreaterThanOrEqual(1);
  expect(machine.memoryBytes).toBeGreaterThan(1e6);
  expect(machine.diskBytes).toBeGreaterThanOrEqual(0);
  expect(await readMachine('/no/such/folder')).not.toHaveProperty('diskBytes');
});
