import { expect, test } from '@jest/globals';
import { type Machine, machineWarnings } from '../../../src/domain/machine.ts';

const wanted = { cores: 4, memoryBytes: 8e9, diskBytes: 100e9 };

test('a machine that has exactly what is wanted is warned about for nothing', () => {
  expect(machineWarnings(wanted, wanted)).toEqual([]);
});

test.each<[string, Partial<Machine>, string]>([
  ['cores', { cores: 3 }, 'this worker has 3 cores, wanted 4: give it more, or set `machine.cores`'],
  ['cores, with one', { cores: 1 }, 'this worker has 1 core, wanted 4'],
  [
    'memory',
    { memoryBytes: 4e9 },
    'this worker has 4.0 GB of memory, wanted 8.0 GB: give it more, or set `machine.memory`',
  ],
  [
    'disk',
    { diskBytes: 5e9 },
    '5.0 GB are free on the disk of the workspaces, wanted 100.0 GB: make room, or set `machine.disk`',
  ],
])('too little of %s is told alone', (_, less, told) => {
  expect(machineWarnings(wanted, { ...wanted, ...less })).toEqual([expect.stringContaining(told)]);
});

test('a disk that could not be read is told, for it may be full', () => {
  const { cores, memoryBytes } = wanted;
  expect(machineWarnings(wanted, { cores, memoryBytes })).toEqual([
    expect.stringMatching(/^how much is free on the disk of the workspaces could not be read, wanted 100\.0 GB/),
  ]);
});

test('all that lacks is told at once', () => {
  expect(machineWarnings(wanted, { cores: 1, memoryBytes: 1e9, diskBytes: 0 })).toHaveLength(3);
});
