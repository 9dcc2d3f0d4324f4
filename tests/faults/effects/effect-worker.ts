import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { describeFailure } from '../../../src/domain/failures.ts';
import { createFence, withFence } from '../../../src/effects/fence.ts';
import type { Lease } from '../../../src/effects/lease.ts';
import { runProcess } from '../../../src/effects/process.ts';

/** A worker that is there to be killed. One effect for every line on its standard input; two lines on its output for each. */
export interface EffectRequest {
  readonly round: string;
  readonly target: string;
  readonly attempt: number;
  readonly ledger: string;
  /** How long the effect goes on writing into its ledger. */
  readonly effectMs: number;
  /** Whether it also leaves a daemon in a session of its own, which goes on writing. */
  readonly daemon: boolean;
}

/** What the worker says: that it is about to ask for the fence, and how it went. */
export interface EffectNews {
  readonly round: string;
  readonly event: 'starting' | 'ended';
  readonly outcome?: string;
}

/** The variable by which the test finds every process of a round. */
export const roundVariable = 'SLIPWAY_FAULT_ROUND';

// Only builtins, for dozens of these run at once. A descriptor that nothing is ever written to is what it waits on.
const effect = [
  'exec 9<> <(:)',
  'now_ms() { now=$(( ${EPOCHREALTIME/./} / 1000 )); }',
  'now_ms; until_ms=$(( now + $2 ))',
  'write() { printf \'%s %s %s %s\\n\' "$1" "$2" "$EPOCHREALTIME" "$BASHPID" >> "$3"; }',
  'ticks() { now_ms; while (( now < until_ms )); do write "$1" "$4" "$3"; read -rt 0.05 -u 9 _; now_ms; done; }',
  'write "$1" begin "$3"',
  'if [[ $4 = daemon ]]; then',
  '  export -f write ticks now_ms; export until_ms',
  '  setsid bash -c \'exec 9<> <(:); ticks "$@"\' x "$1" "$2" "$3" daemon &',
  'fi',
  'ticks "$1" "$2" "$3" tick',
  'write "$1" end "$3"',
].join('\n');

function tell(news: EffectNews): void {
  process.stdout.write(`${JSON.stringify(news)}\n`);
}

/** Stands for calls to another program's API: each right after a check. */
async function changeDirectly(request: EffectRequest, lease: Lease, done: AbortSignal): Promise<void> {
  while (!done.aborted) {
    lease.check();
    appendFileSync(request.ledger, `${request.attempt} direct ${Date.now()} ${process.pid}\n`);
    await delay(200);
  }
}

async function run(connectionString: string, request: EffectRequest): Promise<string> {
  const fence = createFence({ connectionString });
  const { attempt, ledger, effectMs, daemon } = request;
  try {
    await withFence(fence, { target: request.target, deployment: 1, attempt }, async (lease) => {
      const done = new AbortController();
      const direct = changeDirectly(request, lease, done.signal);
      // It is awaited below; until then its failure is nobody's.
      direct.catch(() => undefined);
      try {
        await runProcess({
          command: [
            'bash',
            '-c',
            effect,
            'effect',
            String(attempt),
            String(effectMs),
            ledger,
            daemon ? 'daemon' : 'alone',
          ],
          env: { [roundVariable]: request.round },
          timeoutMs: 120_000,
        });
      } finally {
        done.abort();
      }
      await direct;
    });
    return 'done';
  } catch (error) {
    const { type, message } = describeFailure(error);
    return `${type}: ${message}`;
  } finally {
    await fence.close();
  }
}

const [connectionString] = process.argv.slice(2);
if (import.meta.main && connectionString !== undefined) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line) as EffectRequest;
    tell({ round: request.round, event: 'starting' });
    void run(connectionString, request).then((outcome) => tell({ round: request.round, event: 'ended', outcome }));
  }
}
