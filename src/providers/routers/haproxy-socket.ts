import { connect } from 'node:net';

/** A worker of the router, from the master's own list. */
export interface RouterWorker {
  readonly pid: number;
  /** True for a worker that only finishes the sessions it had before a reload. */
  readonly old: boolean;
}

/** What the master says of itself and its workers. */
export interface RouterProcesses {
  readonly reloads: number;
  readonly failedReloads: number;
  readonly workers: readonly RouterWorker[];
}

/** One row of `show stat`. */
export interface StatRow {
  readonly proxy: string;
  readonly name: string;
  readonly currentSessions: number;
  readonly status: string;
  readonly weight: number;
  readonly backup: boolean;
}

/**
 * Sends one command to a socket of HAProxy and reads the answer to its end.
 *
 * @param options.keepOpen - leaves the closing to the other side: a `reload` whose sender hangs up may be dropped. Default false.
 * @throws Error with `code` (`ENOENT`, `ECONNREFUSED`, …) when nobody listens, `ETIMEDOUT` when the answer takes longer than `timeoutMs`.
 */
export function ask(
  socketPath: string,
  command: string,
  { timeoutMs = 1_000, keepOpen = false }: { readonly timeoutMs?: number; readonly keepOpen?: boolean } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ path: socketPath, allowHalfOpen: true }, () => {
      // The write side is closed after the command: the master's socket would otherwise wait for the next one for ever.
      if (keepOpen) socket.write(`${command}\n`);
      else socket.end(`${command}\n`);
    });
    const timer = setTimeout(() => {
      socket.destroy(
        Object.assign(new Error(`no answer from ${socketPath} within ${timeoutMs} ms`), { code: 'ETIMEDOUT' }),
      );
    }, timeoutMs);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks).toString('utf8'));
    });
  });
}

/**
 * Reads the answer to the master's `show proc`.
 *
 * @throws Error when it does not name the master: one that is starting itself anew hangs up without a word, which is not "no workers".
 */
export function parseProcesses(answer: string): RouterProcesses {
  let [reloads, failedReloads, old, named] = [0, 0, false, false];
  const workers: RouterWorker[] = [];
  for (const line of answer.split('\n')) {
    if (line.startsWith('# old workers')) old = true;
    else if (line.startsWith('# programs')) break;
    const row = /^(\d+)\s+(master|worker)\s+(\d+)(?:\s+\[failed: (\d+)\])?/.exec(line);
    if (row === null) continue;
    if (row[2] === 'master') [reloads, failedReloads, named] = [Number(row[3]), Number(row[4] ?? 0), true];
    else workers.push({ pid: Number(row[1]), old });
  }
  if (!named) throw new Error('the master of the router does not say which processes it has');
  return { reloads, failedReloads, workers };
}

/** Reads the answer to `show stat`; columns are found by their names, for every version adds some. */
export function parseStats(answer: string): StatRow[] {
  const lines = answer.split('\n').filter((line) => line.trim() !== '');
  const header = lines.shift()?.replace(/^# /, '').split(',') ?? [];
  return lines.map((line) => {
    const cells = line.split(',');
    const cell = (name: string): string => cells[header.indexOf(name)] ?? '';
    return {
      proxy: cell('pxname'),
      name: cell('svname'),
      currentSessions: Number(cell('scur')),
      status: cell('status'),
      weight: Number(cell('weight')),
      backup: cell('bck') === '1',
    };
  });
}
