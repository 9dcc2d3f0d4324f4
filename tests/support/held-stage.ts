import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { ComposeInstallation } from './compose-installation.ts';
import { until } from './until.ts';

const run = promisify(execFile);
/** What the daemon of the host step is known by among the processes of this machine: seconds, of a number that nobody else sleeps. */
const daemonSeconds = `3${String(process.pid).padStart(7, '0')}`;

/**
 * The beginning of a `slipway.yaml` with two steps, one in a container and one on the host, each of which says in its checkout who it is and
 * goes on when there is a file beside that: `go` after `held`, `go-on` after `namespace`. The one on the host leaves a daemon in a session of its own.
 */
export const heldStages = `version: 1

stages:
  - name: check
    timeout: 20m
    steps:
      - name: inside
        executor: container
        shell: |
          hostname > held
          until [ -e go ]; do sleep 0.1; done
      - name: beside
        executor: host
        shell: |
          setsid sleep ${daemonSeconds} </dev/null >/dev/null 2>&1 &
          readlink /proc/self/ns/pid > namespace
          until [ -e go-on ]; do sleep 0.1; done

`;

/** What a step has written into its checkout. */
export interface StepFile {
  readonly folder: string;
  readonly text: string;
}

/** What can be seen from outside of the steps of {@link heldStages}, attempt after attempt. */
export interface HeldStage {
  /** Those of this name that are there. */
  files(name: string): Promise<readonly StepFile[]>;
  /** Waits for one that says something else than those that were seen; a checkout of an earlier attempt may still be there. */
  file(name: string, seen?: readonly string[]): Promise<StepFile>;
  /** Ids of the containers of steps that run. */
  containers(): Promise<readonly string[]>;
  /** Waits until the container that wrote this file runs, and no other one of an earlier attempt. */
  runsAlone(held: StepFile): Promise<void>;
  /** Process ids of the daemon that the step on the host has started. */
  daemons(): readonly string[];
}

export function createHeldStage(
  { stateFolder, engine }: Pick<ComposeInstallation, 'stateFolder' | 'engine'>,
  project: string,
): HeldStage {
  const files = async (name: string): Promise<readonly StepFile[]> => {
    const { stdout } = await run('find', [join(stateFolder, 'work'), '-name', name, '-size', '+0']);
    return stdout
      .split('\n')
      .filter((path) => path !== '')
      .map((path) => ({ folder: dirname(path), text: readFileSync(path, 'utf8').trim() }));
  };
  const containers = async (): Promise<readonly string[]> => {
    const found = await engine.listContainers({
      filters: { label: [`slipway.project=${project}`, 'slipway.role=step'] },
    });
    return found.map(({ Id }) => Id);
  };
  return {
    files,
    containers,
    file: (name, seen = []) =>
      until(async () => (await files(name)).find(({ text }) => !seen.includes(text)), {
        timeoutMs: 180_000,
        everyMs: 200,
        what: `${name} of a step, other than ${seen.join(', ')}`,
      }),
    async runsAlone({ text }) {
      await until(
        async () => {
          const ids = await containers();
          // A container's name for itself is the beginning of its id.
          return ids.length === 1 && ids[0]!.startsWith(text);
        },
        { timeoutMs: 60_000, everyMs: 200, what: `the container ${text} to be the only one of the step` },
      );
    },
    daemons: () =>
      readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .filter((pid) => {
          try {
            return readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(`sleep\0${daemonSeconds}`);
          } catch {
            return false;
          }
        }),
  };
}
