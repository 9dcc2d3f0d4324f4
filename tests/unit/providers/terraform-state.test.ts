import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTerraform } from '../../../src/providers/infrastructures/terraform.ts';
import type { ApplyRequest } from '../../../src/providers/infrastructures/port.ts';
import { applying, requestIn } from '../../support/infrastructure-suite.ts';
import { until } from '../../support/until.ts';

/** Terraform as it is called here, with a backend that takes no state: what it could not save it writes down when it is told to stop. */
const standIn = `#!/bin/sh
case "$1 $2" in
  'init '*) mkdir -p "$TF_DATA_DIR"; echo '{"backend":{"type":"http","config":{}}}' >"$TF_DATA_DIR/terraform.tfstate" ;;
  'state pull') exit 0 ;;
  'state push') echo push >>"$TRACES/pushes"; [ -e "$TRACES/back" ] && sleep 0.3 && echo done >>"$TRACES/pushes" && exit 0; [ -e "$TRACES/hangs" ] && exec sleep 60; exit 1 ;;
  'apply '*)
    trap 'echo "{\\"made\\":1}" >errored.tfstate; exit 1' TERM
    echo begun >"$TRACES/begun"
    [ -e "$TRACES/fails" ] && { echo '{"made":1}' >errored.tfstate; exit 1; }
    while :; do sleep 0.05; done ;;
esac
`;

let folder: string;
let traces: string;
let kept: string[];
let stop: AbortController;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-terraform-state-'));
  traces = await mkdtemp(join(tmpdir(), 'slipway-terraform-traces-'));
  await writeFile(join(traces, 'terraform'), standIn);
  await chmod(join(traces, 'terraform'), 0o755);
  kept = [];
  stop = new AbortController();
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
  await rm(traces, { recursive: true, force: true });
});

const leave = (name: string): Promise<void> => writeFile(join(traces, name), '');
const read = (name: string): Promise<string> => readFile(join(traces, name), 'utf8').catch(() => '');

/** @returns what applying ended with. */
async function apply(more: Partial<ApplyRequest> = {}): Promise<unknown> {
  const terraform = createTerraform({
    name: 'terraform',
    program: () => Promise.resolve(join(traces, 'terraform')),
    backend: { kind: 'http', config: {} },
  });
  const request = requestIn(folder, 'red', { env: { TRACES: traces }, signal: stop.signal, ...more });
  const keepState = (content: Buffer): Promise<string> => {
    kept.push(content.toString().trim());
    return Promise.resolve('the blob store');
  };
  const plan = { content: Buffer.from('a plan'), state: 'none' };
  return await terraform.apply(applying(request, plan, { keepState, ...more })).catch((error: unknown) => error);
}

const interrupted = { type: 'InfrastructureInterrupted', details: { state: 'the blob store' } };

test('a state that an aborted apply could not save is kept', async () => {
  const applied = apply();
  await until(async () => (await read('begun')) !== '');
  stop.abort(new Error('no longer wanted'));
  expect(await applied).toMatchObject(interrupted);
  expect(kept).toEqual(['{"made":1}']);
});

test('so is one that was just being brought to its backend when the apply was aborted', async () => {
  await leave('fails');
  await leave('hangs');
  const applied = apply();
  await until(async () => (await read('pushes')) !== '');
  stop.abort(new Error('no longer wanted'));
  expect(await applied).toMatchObject(interrupted);
  expect(kept).toEqual(['{"made":1}']);
});

test('what takes it not at once is asked again, abort or not', async () => {
  let asked = 0;
  const applied = apply({
    keepState: () => {
      asked += 1;
      return asked === 1 ? Promise.reject(new Error('no room')) : Promise.resolve('the blob store');
    },
  });
  await until(async () => (await read('begun')) !== '');
  stop.abort(new Error('no longer wanted'));
  expect(await applied).toMatchObject(interrupted);
  expect(asked).toBe(2);
});

test('one of an apply that ran out of time is brought all the same, in a time of its own', async () => {
  await leave('back');
  expect(await apply({ timeoutMs: 1_500 })).toMatchObject({ type: 'TimedOut' });
  expect(await read('pushes')).toBe('push\ndone\n');
  expect(kept).toEqual([]);
});
