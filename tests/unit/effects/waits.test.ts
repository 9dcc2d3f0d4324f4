import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const module = join(import.meta.dirname, '../../../src/effects/waits.ts');

/** What a process of its own says, and how it ends: a failure that nobody hears of would end this one. */
function said(script: string): { readonly stdout: string; readonly status: number | null } {
  const { stdout, status } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', `import { unlessAborted, unlessOver } from ${JSON.stringify(module)}; ${script}`],
    { encoding: 'utf8' },
  );
  return { stdout: stdout.trim(), status };
}

const begin = `const { promise: work, reject } = Promise.withResolvers();`;
const fail = `reject(new Error('engine gone')); await new Promise(setImmediate); console.log('alive');`;
const heard = `.catch((error) => console.log(error.message));`;

test('work that fails after a wait that was over before it began does not end the process', () => {
  const wait = `await unlessAborted(work, AbortSignal.abort(new Error('aborted')))${heard}`;
  expect(said(`${begin} ${wait} ${fail}`)).toEqual({ stdout: 'aborted\nalive', status: 0 });
});

test('nor does work that fails after its moment or its signal came', () => {
  const late = `console.log(await unlessOver(work, { untilMs: Date.now() - 1 }));`;
  expect(said(`${begin} ${late} ${fail}`)).toEqual({ stdout: 'undefined\nalive', status: 0 });
  const stop = `const stop = new AbortController(); setImmediate(() => stop.abort(new Error('aborted')));`;
  const aborted = `${stop} await unlessOver(work, { signal: stop.signal })${heard}`;
  expect(said(`${begin} ${aborted} ${fail}`)).toEqual({ stdout: 'aborted\nalive', status: 0 });
});

test('a failure that comes in time is told', () => {
  const wait = `const told = unlessOver(work, { untilMs: Date.now() + 60_000 })${heard.slice(0, -1)};`;
  expect(said(`${begin} ${wait} ${fail} await told;`)).toEqual({ stdout: 'engine gone\nalive', status: 0 });
});
