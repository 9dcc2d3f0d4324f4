import type { FailureType } from '../../domain/failure-kinds.ts';
import { ProviderError } from '../../domain/failures.ts';

/** A lock as Terraform 1.x describes it (internal/states/statemgr/locker.go, `lockInfoTemplate`). */
export interface HeldLock {
  readonly id: string;
  readonly who: string;
  readonly operation: string;
  /** Undefined where it cannot be read. */
  readonly created: Date | undefined;
}

/** How the backends and the network say that they are away; looked for in errors only. */
const away =
  /connection refused|connection reset|no such host|i\/o timeout|TLS handshake timeout|context deadline exceeded|unexpected EOF|server misbehaving|network is unreachable|StatusCode: (?:429|5\d\d)|HTTP response code: 5\d\d|HTTP error: 5\d\d|unexpected HTTP response code 5\d\d|the database system is (?:starting up|shutting down)|too many clients/i;
const stale = /Saved plan is stale/;
const locked = /Error acquiring the state lock|Error locking state/;

/** What the tool has said when it ended with an error. */
export function readComplaint(said: string): { readonly type: FailureType; readonly lock?: HeldLock } {
  if (stale.test(said)) return { type: 'InfrastructureStale' };
  if (locked.test(said)) {
    const lock = readLock(said);
    // Without a holder it is the backend that could not be asked.
    return lock === undefined
      ? { type: away.test(oneLine(said)) ? 'InfrastructureUnavailable' : 'InfrastructureFailed' }
      : { type: 'InfrastructureLocked', lock };
  }
  return { type: away.test(oneLine(said)) ? 'InfrastructureUnavailable' : 'InfrastructureFailed' };
}

/** It breaks its sentences after 78 characters. */
function oneLine(said: string): string {
  return said.replace(/\s*\n[\s│]*/g, ' ');
}

function readLock(said: string): HeldLock | undefined {
  const field = (name: string): string | undefined =>
    new RegExp(`^[\\s│]*${name}:[ \\t]+(\\S.*)$`, 'm').exec(said)?.[1]?.trim();
  const id = field('ID');
  if (id === undefined) return undefined;
  // The HTTP backend tells the holder's id here and its own attempt below (internal/backend/remote-state/http/client.go, `Lock`).
  const holder = /already locked: ID=(\S+)/.exec(oneLine(said))?.[1];
  if (holder !== undefined && holder !== id) return { id: holder, who: '', operation: '', created: undefined };
  return { id, who: field('Who') ?? '', operation: field('Operation') ?? '', created: readTime(field('Created')) };
}

/** Go's `time.String()`: `2026-11-26 00:51:29.123456789 +0000 UTC`. */
function readTime(text: string | undefined): Date | undefined {
  const parts = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2})(\.\d{1,3})?\d* ([+-]\d{2})(\d{2})/.exec(text ?? '');
  if (parts === null) return undefined;
  const [, day = '', time = '', fraction = '', hours = '', minutes = ''] = parts;
  const date = new Date(`${day}T${time}${fraction}${hours}:${minutes}`);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** The first error that it gave, in one line and without the line of source it points at; the rest stands in the log. */
export function tellComplaint(said: string): string {
  const lines = said
    .split('\n')
    .map((line) => line.replace(/^[\s│╷╵]+/, '').trimEnd())
    .filter((line) => line !== '' && !/^(?:\d+: |├|on \S+ line \d+)/.test(line));
  const at = lines.findIndex((line) => line.startsWith('Error: '));
  const found = at === -1 ? lines.slice(-3) : lines.slice(at, at + 6);
  return (
    found
      .join(' ')
      .replace(/^Error: /, '')
      .slice(0, 1_000) || 'it gave no reason'
  );
}

/** @param tool - command of the tool, for what a person is told to type. */
export function lockedError(tool: string, lock: HeldLock, waitedMs: number, what: string): ProviderError {
  const { id, who, operation, created } = lock;
  const since = created === undefined ? '' : ` since ${created.toISOString()}`;
  return new ProviderError(
    'InfrastructureLocked',
    `could not ${what}: ${who === '' ? 'somebody' : who} holds the lock ${id}${since}${operation === '' ? '' : ` (${operation})`}, and did not let go within ${Math.round(waitedMs / 1_000)} s. When that work is known to be dead: \`${tool} force-unlock ${id}\` in the folder of the definition.`,
    { details: { lock: id, who, operation, ...(created === undefined ? {} : { created: created.toISOString() }) } },
  );
}
