import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ProviderError } from '../../../src/domain/failures.ts';
import { underLease, uptimeMs, type Lease } from '../../../src/effects/lease.ts';
import { endProcessesUnder, processContainment, runProcess, runTool } from '../../../src/effects/process.ts';
import { createRedactor, mask } from '../../../src/effects/redact.ts';
import { until } from '../../support/until.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-process-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const bash = (script: string): readonly [string, ...string[]] => ['bash', '-c', script];

/** Processes of this machine that carry this in their environment. */
function marked(mark: string): number {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`MARK=${mark}`);
    } catch {
      return false;
    }
  }).length;
}

describe('how it ends', () => {
  test('a non-zero exit is a value', async () => {
    const result = await runProcess({ command: bash('echo out; echo err >&2; exit 3'), timeoutMs: 5_000 });
    expect(result).toMatchObject({ exitCode: 3, signal: null, tail: 'out\nerr\n', timedOut: false, stalled: false });
    expect(result.durationMs).toBeGreaterThan(0);
  });

  test('a signal is told as a shell tells it', async () => {
    const result = await runProcess({ command: bash('kill -SEGV $$'), timeoutMs: 5_000 });
    expect(result).toMatchObject({ exitCode: 139, signal: 'SIGSEGV' });
  });

  test('its time over, it may clean up', async () => {
    const script = 'trap "echo bye; exit 4" TERM; echo hello; while :; do sleep 0.01; done';
    const result = await runProcess({ command: bash(script), timeoutMs: 1_500 });
    expect(result).toMatchObject({ exitCode: 4, timedOut: true, stalled: false });
    expect(result.tail).toContain('bye');
  });

  test('what does not listen is killed after the grace', async () => {
    const script = 'trap "" TERM; while :; do sleep 0.01; done';
    const result = await runProcess({ command: bash(script), timeoutMs: 3_000, graceMs: 100 });
    expect(result).toMatchObject({ signal: 'SIGKILL', timedOut: true });
  });

  test('silence for too long is a stall, and every line puts it off', async () => {
    const script = 'for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; sleep 30';
    const result = await runProcess({ command: bash(script), timeoutMs: 20_000, stallAfterMs: 300 });
    expect(result).toMatchObject({ stalled: true, timedOut: false });
    expect(result.tail).toContain('4\n5\n');
  });

  test('what it leaves in the background ends with it', async () => {
    const mark = 'left-behind';
    const script = 'sleep 60 & (setsid sleep 60 &) ; echo done';
    const result = await runProcess({ command: bash(script), env: { MARK: mark }, timeoutMs: 5_000 });
    expect(result).toMatchObject({ exitCode: 0, tail: 'done\n' });
    expect(marked(mark)).toBe(0);
  });
});

describe('abort', () => {
  test('ends the whole tree within a second and throws the reason of the signal', async () => {
    const mark = 'aborted';
    const abort = new AbortController();
    const reason = new Error('somebody said stop');
    const running = runProcess({
      command: bash('trap "" TERM; (setsid sleep 60 &); sleep 60 & echo up; wait; wait'),
      env: { MARK: mark },
      timeoutMs: 60_000,
      signal: abort.signal,
      onLine: () => setTimeout(() => abort.abort(reason), 50),
    });
    const startedAt = performance.now();
    await expect(running).rejects.toBe(reason);
    expect(performance.now() - startedAt).toBeLessThan(2_500);
    expect(marked(mark)).toBe(0);
  });

  test('before the start, nothing is started', async () => {
    const file = join(folder, 'never');
    const reason = new Error('too late');
    const running = runProcess({ command: ['touch', file], timeoutMs: 5_000, signal: AbortSignal.abort(reason) });
    await expect(running).rejects.toBe(reason);
    expect(existsSync(file)).toBe(false);
  });

  test('while the pipes and the launcher are found out, nothing is started', async () => {
    const file = join(folder, 'never-either');
    const abort = new AbortController();
    const reason = new Error('at once');
    const running = runProcess({ command: ['touch', file], timeoutMs: 5_000, signal: abort.signal });
    abort.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(existsSync(file)).toBe(false);
  });

  test('at any moment of the start, it is either not begun or ended', async () => {
    const mark = 'aborted-early';
    for (let ms = 0; ms < 12; ms += 1) {
      const abort = new AbortController();
      const running = runProcess({
        command: ['sleep', '60'],
        env: { MARK: mark },
        timeoutMs: 60_000,
        signal: abort.signal,
      });
      setTimeout(() => abort.abort(new Error('stop')), ms);
      await expect(running).rejects.toThrow('stop');
      expect(marked(mark)).toBe(0);
    }
  });
});

describe('what it is given', () => {
  test('only the listed environment, an empty HOME, and nothing to read', async () => {
    process.env['SLIPWAY_TEST_LEAK'] = 'leaked';
    const { tail } = await runProcess({
      command: bash('env; ls -A "$HOME"; cat; echo "$HOME"'),
      env: { LISTED: 'yes' },
      timeoutMs: 5_000,
    });
    delete process.env['SLIPWAY_TEST_LEAK'];
    expect(tail).toContain('LISTED=yes');
    expect(tail).not.toContain('leaked');
    const home = tail.trimEnd().split('\n').at(-1)!;
    expect(home).toContain('/home-');
    expect(existsSync(home)).toBe(false);
  });

  test('a HOME of somebody else is used and kept', async () => {
    const { tail } = await runProcess({
      command: bash('echo "$HOME"; echo x > "$HOME/kept"'),
      home: folder,
      timeoutMs: 5_000,
    });
    expect(tail).toBe(`${folder}\n`);
    expect(existsSync(join(folder, 'kept'))).toBe(true);
  });

  test('input, as text or as a stream', async () => {
    const text = await runTool({ command: ['cat'], input: 'hello', timeoutMs: 5_000 });
    expect(text.stdout).toBe('hello');
    const stream = await runTool({
      command: ['wc', '-c'],
      input: Readable.from([Buffer.alloc(300_000)]),
      timeoutMs: 5_000,
    });
    expect(stream.stdout.trim()).toBe('300000');
  });

  test('an input that breaks is not taken for its end', async () => {
    const broken = new Readable({
      read() {
        this.destroy(new Error('the blob is gone'));
      },
    });
    await expect(runProcess({ command: ['cat'], input: broken, timeoutMs: 5_000 })).rejects.toThrow('the blob is gone');
  });

  test('an argument is never read by a shell', async () => {
    const { stdout } = await runTool({ command: ['echo', '$(id); "`a`"', ''], timeoutMs: 5_000 });
    expect(stdout).toBe('$(id); "`a`" \n');
  });

  test.each([
    ['a program that is not there', { command: ['no-such-program'] as const }, 'ToolMissing'],
    ['a path that is not there', { command: ['./no-such-program'] as const }, 'ToolMissing'],
    ['a folder that is not there', { command: ['true'] as const, cwd: '/no/such/folder' }, 'WorkspaceLost'],
  ])('%s is told by its type', async (_what, request, type) => {
    await expect(runProcess({ ...request, timeoutMs: 5_000 })).rejects.toMatchObject({ name: 'ProviderError', type });
  });

  test('a PATH of its own leads its commands, not its launcher', async () => {
    writeFileSync(join(folder, 'only-here'), '#!/bin/sh\n/bin/echo found\n', { mode: 0o755 });
    const { stdout } = await runTool({ command: ['only-here'], env: { PATH: folder }, timeoutMs: 5_000 });
    expect(stdout).toBe('found\n');
  });
});

describe('output', () => {
  test('can be opened again by name, which a socket cannot', async () => {
    const { tail } = await runProcess({
      command: bash('echo a > /dev/stdout; echo b > /dev/stderr; echo c | tee /dev/stderr'),
      timeoutMs: 5_000,
    });
    expect(tail).toBe('a\nb\nc\nc\n');
  });

  test('stays in its order and is redacted before anybody sees it', async () => {
    const chunks: string[] = [];
    const lines: string[] = [];
    const { tail } = await runProcess({
      command: bash('printf "key: hunt"; sleep 0.05; printf "er2!\\n"; echo "hunter2! again" >&2; printf hunter'),
      redactor: createRedactor(['hunter2!']),
      sink: (chunk) => void chunks.push(chunk.toString()),
      onLine: (line) => void lines.push(line),
      timeoutMs: 5_000,
    });
    expect(tail).toBe(`key: ${mask}\n${mask} again\nhunter`);
    expect(chunks.join('')).toBe(tail);
    expect(lines).toEqual([`key: ${mask}`, `${mask} again`, 'hunter']);
  });

  test('a slow sink makes the process wait instead of filling the memory, and is no stall', async () => {
    let handing = 0;
    let bytes = 0;
    let most = 0;
    const result = await runProcess({
      command: ['head', '-c', '600000', '/dev/zero'],
      stallAfterMs: 200,
      timeoutMs: 20_000,
      sink: async (chunk) => {
        handing += 1;
        most = Math.max(most, handing);
        await delay(bytes === 0 ? 500 : 5);
        bytes += chunk.length;
        handing -= 1;
      },
    });
    expect(result).toMatchObject({ exitCode: 0, stalled: false });
    expect([bytes, most]).toEqual([600_000, 1]);
  });

  test('data and errors apart: the sink gets every byte, the tail what was said', async () => {
    const parts: Buffer[] = [];
    const { tail } = await runProcess({
      command: bash('head -c 200000 /dev/zero; echo "200000 zeros" >&2'),
      output: 'data',
      sink: (chunk) => void parts.push(Buffer.from(chunk)),
      timeoutMs: 5_000,
    });
    expect(Buffer.concat(parts).equals(Buffer.alloc(200_000))).toBe(true);
    expect(tail).toBe('200000 zeros\n');
  });

  test('a sink that fails ends the process and is what is thrown', async () => {
    const failing = runProcess({
      command: ['yes'],
      sink: () => Promise.reject(new Error('the disk is full')),
      timeoutMs: 20_000,
    });
    await expect(failing).rejects.toThrow('the disk is full');
  });

  test('a tool that says too much is cut and not stopped', async () => {
    const result = await runTool({
      command: bash('yes | head -c 500000; exit 2'),
      maxOutputBytes: 1_000,
      timeoutMs: 5_000,
    });
    expect(result).toMatchObject({ exitCode: 2, truncated: true });
    expect(result.stdout).toHaveLength(1_000);
  });
});

describe('under a lease', () => {
  function leaseUntil(expiresAtMs: () => number): Lease & { lose(): void; renew(): void } {
    const lost = new AbortController();
    const listeners = new Set<() => void>();
    const lose = (): void => lost.abort(new ProviderError('FenceUnavailable', 'the lease ran out'));
    return {
      target: 'test/target',
      token: `token-${Math.random()}`,
      fenced: true,
      signal: lost.signal,
      check() {
        if (uptimeMs() >= expiresAtMs()) lose();
        if (lost.signal.aborted) throw lost.signal.reason;
      },
      expiresAtMs,
      onRenewed(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      lose,
      renew: () => listeners.forEach((listener) => listener()),
    };
  }

  test('runs as ever while the lease is renewed', async () => {
    let end = uptimeMs() + 1_000;
    const lease = leaseUntil(() => end);
    const renewing = setInterval(() => {
      end = uptimeMs() + 1_000;
      lease.renew();
    }, 100);
    const result = await runProcess({ command: bash('echo a; sleep 1.6; echo b; exit 7'), lease, timeoutMs: 5_000 });
    clearInterval(renewing);
    expect(result).toMatchObject({ exitCode: 7, tail: 'a\nb\n' });
  });

  test('is ended by its own watch when nobody renews, though the worker does nothing', async () => {
    const end = uptimeMs() + 1_500;
    const lease = leaseUntil(() => end);
    const file = join(folder, 'ticks');
    const script = `(setsid bash -c 'while :; do echo x >> ${file}; sleep 0.02; done' &); while :; do echo x >> ${file}; sleep 0.02; done`;
    await expect(runProcess({ command: bash(script), lease, timeoutMs: 20_000 })).rejects.toMatchObject({
      type: 'FenceUnavailable',
    });
    expect(uptimeMs() - end).toBeLessThan(1_000);
    const size = readFileSync(file).length;
    await delay(150);
    expect(readFileSync(file)).toHaveLength(size);
  });

  test('is killed at once when the lease is lost', async () => {
    const lease = leaseUntil(() => uptimeMs() + 60_000);
    setTimeout(() => lease.lose(), 150);
    const startedAt = performance.now();
    const running = underLease(lease, () =>
      runProcess({ command: bash('trap "" TERM; sleep 30 & wait; wait'), timeoutMs: 60_000 }),
    );
    await expect(running).rejects.toMatchObject({ type: 'FenceUnavailable' });
    expect(performance.now() - startedAt).toBeLessThan(3_000);
  });

  test('does not start when the lease is over', async () => {
    const file = join(folder, 'not-started');
    const lease = leaseUntil(() => uptimeMs() - 1);
    await expect(runProcess({ command: ['touch', file], lease, timeoutMs: 5_000 })).rejects.toMatchObject({
      type: 'FenceUnavailable',
    });
    expect(existsSync(file)).toBe(false);
  });

  test('may clean up when its time is over, too', async () => {
    const lease = leaseUntil(() => uptimeMs() + 60_000);
    const script = 'trap "echo bye; exit 4" TERM; echo hello; while :; do sleep 0.01; done';
    const result = await runProcess({ command: bash(script), lease, timeoutMs: 3_000 });
    expect(result).toMatchObject({ exitCode: 4, timedOut: true });
  });

  test('ends by the signal it is sent, as any other', async () => {
    const lease = leaseUntil(() => uptimeMs() + 60_000);
    const result = await runProcess({ command: ['sleep', '30'], lease, timeoutMs: 1_500 });
    expect(result).toMatchObject({ exitCode: 143, signal: 'SIGTERM', timedOut: true });
    expect(result.durationMs).toBeLessThan(15_000);
  });

  test('what runs under a lease can be found and ended by its token', async () => {
    const lease = leaseUntil(() => uptimeMs() + 60_000);
    const lines: string[] = [];
    const running = runProcess({
      command: bash('echo up; sleep 60'),
      lease,
      timeoutMs: 60_000,
      onLine: (line) => void lines.push(line),
    });
    await until(() => lines.length > 0);
    expect(await endProcessesUnder(lease.token)).toBeGreaterThan(0);
    expect(await running).toMatchObject({ signal: 'SIGKILL' });
    expect(await endProcessesUnder(lease.token)).toBe(0);
  });
});

test('this machine says what it can do', async () => {
  expect((await processContainment()).sentence).toMatch(/^[A-Z].*\.$/);
});
