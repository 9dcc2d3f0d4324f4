import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type EngineList, listEngines } from '../../../src/local/engines.ts';

let folder: string;
let proc: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-engines-'));
  proc = join(folder, 'proc');
  shown('self', []);
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Namespaces {
  /** Undefined: not for us to see. */
  readonly net?: string | undefined;
  readonly mnt?: string | undefined;
  /** What the process sees as `/`. */
  readonly root?: string;
}

/** A process as the kernel shows it: namespaces are links that lead nowhere. */
function shown(pid: string, words: readonly string[], { net, mnt, root }: Namespaces = { net: '1', mnt: '1' }): void {
  mkdirSync(join(proc, pid, 'ns'), { recursive: true });
  writeFileSync(join(proc, pid, 'cmdline'), `${words.join('\0')}\0`);
  if (net !== undefined) symlinkSync(`net:[${net}]`, join(proc, pid, 'ns/net'));
  if (mnt !== undefined) symlinkSync(`mnt:[${mnt}]`, join(proc, pid, 'ns/mnt'));
  if (root !== undefined) symlinkSync(root, join(proc, pid, 'root'));
}

/** A file stands for a socket: nothing is asked here. */
function socket(name: string): string {
  const path = join(folder, name);
  writeFileSync(path, '');
  return path;
}

const look = (...usual: readonly string[]): EngineList => listEngines({ usual, own: join(folder, 'own.sock'), proc });

test('one of our network and our files is a candidate, however its socket is written', () => {
  const [one, two, three, four] = [socket('1.sock'), socket('2.sock'), socket('3.sock'), socket('4.sock')];
  shown('11', ['/usr/bin/dockerd', '--host', `unix://${one}`]);
  shown('12', ['dockerd', '-H', 'tcp://127.0.0.1:2375', '-H', `unix://${two}`]);
  shown('13', ['dockerd', `--host=unix://${three}`]);
  shown('14', ['dockerd', `-Hunix://${four}`]);
  shown('15', ['grep', 'dockerd', `unix://${socket('5.sock')}`]);
  shown('16', ['dockerd', '-H', 'tcp://127.0.0.1:2376']);
  expect(look()).toEqual({ candidates: [one, two, three, four].map((path) => `unix://${path}`), passedOver: [] });
});

test('one of another network is passed over, at a usual place too', () => {
  const [usual, other] = [socket('docker.sock'), socket('other.sock')];
  shown('11', ['dockerd', '--host', `unix://${usual}`], { net: '2', mnt: '1' });
  shown('12', ['dockerd', '--host', `unix://${other}`], { net: '3', mnt: '1' });
  expect(look(usual)).toEqual({
    candidates: [],
    passedOver: [
      { engine: `unix://${usual}`, why: 'its network is another one than ours (process 11)' },
      { engine: `unix://${other}`, why: 'its network is another one than ours (process 12)' },
    ],
  });
});

test('one whose process cannot be looked at is a candidate, and so is a usual socket without a process', () => {
  const [usual, unseen] = [socket('docker.sock'), socket('unseen.sock')];
  shown('11', ['dockerd', '--host', `unix://${unseen}`], { net: undefined, mnt: undefined });
  expect(look(usual, join(folder, 'missing.sock'))).toEqual({
    candidates: [`unix://${usual}`, `unix://${unseen}`],
    passedOver: [],
  });
  rmSync(proc, { recursive: true });
  expect(look(usual)).toEqual({ candidates: [`unix://${usual}`], passedOver: [] });
});

test('one in a container has the path of the machine’s engine, and not its socket', () => {
  const usual = socket('docker.sock');
  const root = join(folder, 'container');
  mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, usual), '');
  shown('11', ['dockerd', '--host', `unix://${usual}`]);
  shown('12', ['dockerd', '--host', `unix://${usual}`], { net: '1', mnt: '2', root });
  const why = 'its socket is not in the files that are seen from here';
  expect(look(usual)).toEqual({
    candidates: [`unix://${usual}`],
    passedOver: [{ engine: `unix://${usual} of process 12`, why }],
  });
  rmSync(usual);
  expect(look(usual).candidates).toEqual([]);
  expect(look(usual).passedOver.map(({ engine }) => engine)).toEqual([
    `unix://${usual} of process 11`,
    `unix://${usual} of process 12`,
  ]);
});

test('a folder that a container shares with us holds the same socket', () => {
  const shared = socket('docker.sock');
  shown('11', ['dockerd', '--host', `unix://${shared}`], { net: '1', mnt: '2', root: '/' });
  shown('12', ['dockerd', '--host', `unix://${shared}`], { net: '2', mnt: '3', root: '/' });
  expect(look()).toEqual({ candidates: [`unix://${shared}`], passedOver: [] });
});

test('one set apart by a bridge of its own is left alone, unless it listens where everybody looks', () => {
  const [usual, apart] = [socket('docker.sock'), socket('apart.sock')];
  shown('11', ['dockerd', '--bridge=br0', '--host', `unix://${usual}`]);
  shown('12', ['dockerd', '-b', 'br1', '--host', `unix://${apart}`]);
  expect(look(usual)).toEqual({
    candidates: [`unix://${usual}`],
    passedOver: [{ engine: `unix://${apart}`, why: 'it was given a bridge of its own' }],
  });
});

test('our own is no found one, and two paths to one socket are one engine', () => {
  const [usual, own] = [socket('docker.sock'), socket('own.sock')];
  const again = join(folder, 'again.sock');
  symlinkSync(usual, again);
  shown('11', ['dockerd', '--host', `unix://${own}`]);
  shown('12', ['dockerd', '--host', `unix://${again}`]);
  expect(look(usual)).toEqual({ candidates: [`unix://${usual}`], passedOver: [] });
});
