import type { Client } from './client.ts';
import { CliError } from './exit.ts';
import type { Screen } from './pages/screen.ts';
import type { Terminal } from './terminal.ts';

/** What every command is given. */
export interface CommandContext {
  readonly terminal: Terminal;
  /**
   * The API, looked for at the first call.
   *
   * @throws CliError `not-allowed` - there is no address or no token.
   */
  connect(): Promise<Client>;
  /** `--timeout`, ms: bounds the waiting, never the thing waited for. */
  readonly timeoutMs: number | undefined;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** What pages are drawn with at this moment. */
export function screenOf({ terminal }: CommandContext): Screen {
  return { paint: terminal.paint, nowMs: Date.now(), columns: terminal.columns };
}

/**
 * The project that a name without one means: the one that was configured, or the only one there is.
 *
 * @returns undefined where there are several; then the name must say it.
 */
export async function defaultProject(client: Client): Promise<string | undefined> {
  if (client.connection.project !== undefined) return client.connection.project;
  const projects = await client.listProjects();
  return projects.length === 1 ? projects[0]?.name : undefined;
}

/** Ends a command whose wait was cut short; what was waited for goes on. */
export function interrupted(what: string, goOn: string, abort?: string): CliError {
  return new CliError('interrupted', `Stopped looking; ${what} goes on.`, {
    next: [
      { command: goOn, when: 'to look again' },
      ...(abort === undefined ? [] : [{ command: abort, when: 'to stop it' }]),
    ],
  });
}
