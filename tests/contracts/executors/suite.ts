import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { StepCommand, StepSpec } from '../../../src/definition/specs/stage.ts';
import { createRedactor } from '../../../src/effects/redact.ts';
import type { StageScope, StageSession, StepEnd, StepExecutor } from '../../../src/providers/executors/port.ts';
import { until } from '../../support/until.ts';

export interface ExecutorLab {
  readonly executor: StepExecutor;
  /** A step of this kind. */
  step(command: StepCommand, more?: Partial<StepSpec>): StepSpec;
  close?(): Promise<void>;
}

export const argv = (...words: string[]): StepCommand => ({ kind: 'argv', argv: words });
export const shell = (script: string): StepCommand => ({ kind: 'shell', script });

/** What holds wherever steps run. */
export function describeExecutor(name: string, open: () => Promise<ExecutorLab>): void {
  describe(`steps: ${name}`, () => {
    let lab: ExecutorLab;
    let root: string;
    let scope: StageScope;
    let session: StageSession;
    const abort = new AbortController();

    beforeAll(async () => {
      lab = await open();
    }, 120_000);
    afterAll(async () => lab.close?.());
    beforeEach(async () => {
      root = mkdtempSync(join(tmpdir(), 'slipway-steps-'));
      const [source, home, objects] = ['source', 'home', 'objects'].map((folder) => join(root, folder)) as [
        string,
        string,
        string,
      ];
      for (const folder of [source, home, objects]) mkdirSync(folder);
      scope = {
        project: 'hello',
        run: `test-${process.pid}`,
        number: 1,
        stage: 'test',
        attempt: 1,
        source,
        home,
        objects,
      };
      session = await lab.executor.open(scope, abort.signal);
    });
    afterEach(async () => {
      await session.close();
      rmSync(root, { recursive: true, force: true });
    });

    async function run(
      command: StepCommand,
      {
        more = {},
        env = {},
        secrets = [],
        signal = abort.signal,
        timeoutMs = 30_000,
        onOutput = () => undefined,
      }: {
        readonly more?: Partial<StepSpec>;
        readonly env?: Record<string, string>;
        readonly secrets?: readonly string[];
        readonly signal?: AbortSignal;
        readonly timeoutMs?: number;
        readonly onOutput?: (sofar: string) => void;
      } = {},
    ): Promise<StepEnd & { readonly output: string }> {
      let output = '';
      const end = await session.run({
        step: lab.step(command, more),
        env,
        timeoutMs,
        redactor: createRedactor(secrets),
        sink: (chunk) => {
          output += chunk.toString();
          onOutput(output);
        },
        say: () => undefined,
        signal,
      });
      return { ...end, output };
    }

    test('run in the checkout, and what they leave is the worker’s', async () => {
      writeFileSync(join(scope.source, 'a'), 'content\n');
      const end = await run(shell('cat a; pwd; echo made > b'));
      expect(end).toMatchObject({ exitCode: 0, timedOut: false, stalled: false });
      expect(end.output).toBe(`content\n${scope.source}\n`);
      expect(readFileSync(join(scope.source, 'b'), 'utf8')).toBe('made\n');
      rmSync(join(scope.source, 'b'));
    });

    test('run without a shell unless they ask for one', async () => {
      expect((await run(argv('echo', '$HOME', '*', ';', 'exit'))).output).toBe('$HOME * ; exit\n');
    });

    test('end with their status; a script at its first failing command', async () => {
      expect(await run(shell('exit 42'))).toMatchObject({ exitCode: 42 });
      const end = await run(shell('echo one; false; echo two'));
      expect(end).toMatchObject({ exitCode: 1, output: 'one\n', tail: 'one\n' });
    });

    test('see their own environment, HOME kept from step to step, and no input', async () => {
      expect((await run(shell('echo "$MINE"; echo kept > "$HOME/kept"; cat'), { env: { MINE: 'yes' } })).output).toBe(
        'yes\n',
      );
      expect((await run(shell('cat "$HOME/kept"; echo "[$MINE]"'))).output).toBe('kept\n[]\n');
    });

    test('say what they say on both streams, in order, without secrets', async () => {
      const end = await run(shell('echo "is $S"; sleep 0.1; echo error >&2; sleep 0.1; printf last'), {
        env: { S: 'hunter22' },
        secrets: ['hunter22'],
      });
      expect(end.output).toBe('is ***\nerror\nlast');
      expect(end.tail).toBe(end.output);
    });

    test('may say much: all of it arrives, and only the end is kept', async () => {
      const end = await run(
        shell('i=0; while [ $i -lt 20000 ]; do echo "line $i of many that are said"; i=$((i+1)); done'),
      );
      expect(end.output.split('\n')).toHaveLength(20_001);
      expect(end.output.endsWith('line 19999 of many that are said\n')).toBe(true);
      expect(end.tail.length).toBeLessThanOrEqual(16_384);
    });

    test.each([
      ['time is over', { timeoutMs: 300 }, {}, { timedOut: true, stalled: false }],
      ['silence lasts', {}, { stallAfterMs: 300 }, { timedOut: false, stalled: true }],
    ])('are ended when their %s, and the next one runs', async (_, options, more, expected) => {
      const began = performance.now();
      expect(await run(argv('sleep', '60'), { ...options, more })).toMatchObject(expected);
      expect(performance.now() - began).toBeLessThan(10_000);
      expect(await run(argv('true'))).toMatchObject({ exitCode: 0 });
    });

    test('are ended by an abort within 3 s, with all they started', async () => {
      const told = new AbortController();
      const running = run(shell('(while true; do echo x >> alive; sleep 0.1; done) & sleep 60'), {
        signal: told.signal,
      }).catch((error: unknown) => error);
      await until(() => existsSync(join(scope.source, 'alive')));
      const began = performance.now();
      told.abort(new Error('told to'));
      expect(await running).toMatchObject({ message: 'told to' });
      expect(performance.now() - began).toBeLessThan(3_000);
      const sizeOf = (): number => readFileSync(join(scope.source, 'alive')).length;
      const size = sizeOf();
      await expect(until(() => sizeOf() > size, { timeoutMs: 500 })).rejects.toThrow('waited');
    });

    test('are errored when their program is not there', async () => {
      await expect(run(argv('no-such-program'))).rejects.toMatchObject({ type: 'ToolMissing' });
      expect(await run(argv('true'))).toMatchObject({ exitCode: 0 });
    });

    test('are errored when there is no such folder in the checkout', async () => {
      await expect(run(argv('true'), { more: { workdir: 'nowhere' } })).rejects.toMatchObject({ type: 'StepFailed' });
    });
  });
}
