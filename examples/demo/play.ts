import { join } from 'node:path';
import { isatty } from 'node:tty';
import { parseArgs } from 'node:util';
import { duration } from '../../src/cli/time.ts';
import { reasonOf } from '../../src/local/reason.ts';
import { createNarrator } from './narrator.ts';
import { shortened } from './project.ts';
import { closingReport } from './report.ts';
import type { Stage, StageOptions } from './stage.ts';
import { type Findings, type Scene, newFindings } from './story.ts';

const help = `npm run demo [-- --keep]

Plays the life of six releases of a small service on real parts of this machine, and ends with 0 only if every one of them
went as it had to; with 1 where something did not, which it names; with 2 for an option that it does not know.

  --keep          leave everything running at the end
  --state <dir>   where it keeps its state (default .slipway/demo)`;

/** What a demo is made of. A test plays other acts on the same stage, or these on a stage of its own. */
export interface DemoParts {
  readonly setStage: (options: StageOptions) => Promise<Stage>;
  /** One after the other; one that throws ends the story, one that finds something wrong does not. */
  readonly acts: readonly ((scene: Scene, findings: Findings) => Promise<void>)[];
  /** Lets everything go on without this process. @returns what to tell of it. @throws Error - it does not go on. */
  readonly handOver: (stage: Stage) => Promise<string>;
}

/**
 * Plays the demo, from its arguments to its exit status.
 *
 * @returns 0 only if the story was played to its end, something was looked at, all of it held, and what was to go on goes on.
 */
export async function playDemo(args: readonly string[], parts: DemoParts): Promise<number> {
  const options = readOptions(args);
  if (typeof options === 'number') return options;
  const { stdout, env } = process;
  // `stdout.isTTY` of a pipe is not false but missing, and for picocolors that is no answer: it would ask the environment.
  const watched = isatty(stdout.fd);
  const narrator = createNarrator({
    write: (text) => stdout.write(text),
    live: watched && env['TERM'] !== 'dumb' && env['CI'] === undefined,
    colour: watched && (env['NO_COLOR'] ?? '') === '',
    columns: stdout.columns || 100,
  });
  const beganMs = Date.now();
  narrator.act('Setting the stage: what is not there yet is found or started');
  const stage = await parts.setStage({ narrator, stateFolder: options.state }).catch((error: unknown) => {
    console.error(`\nThe stage could not be set: ${reasonOf(error)}`);
    return undefined;
  });
  if (stage === undefined) return 1;
  const interrupted = strikeWhenInterrupted(stage, (text) => narrator.say(text));
  narrator.say(`everything runs after ${duration(Date.now() - beganMs)}`);
  narrator.say(`API ${stage.system.url}, its documentation ${stage.system.url}/docs`);
  narrator.say(`Temporal UI ${stage.system.temporalUi ?? 'not there'}`);
  narrator.say('shortened for the demo, in its project.yaml; a project that says nothing gets what is in brackets:');
  for (const { setting, demo, usual } of shortened) narrator.say(`  ${setting}: ${demo} (${usual})`);

  const findings = newFindings();
  let broken = false;
  try {
    for (const act of parts.acts) await act(stage.scene, findings);
    if (narrator.checks.length === 0) throw new Error('nothing was looked at');
  } catch (error) {
    broken = true;
    narrator.check('the story could go on', false, reasonOf(error));
  }
  narrator.act('The end');
  console.log(closingReport(findings, narrator.checks, narrator.paint, Math.min(140, stdout.columns || 110)));
  console.log(`\n  it took ${duration(Date.now() - beganMs)}`);
  if (options.keep)
    console.log(`  API          ${stage.system.url}\n  Temporal UI  ${stage.system.temporalUi ?? 'not there'}`);
  if (broken) console.log(`  logs         ${join(stage.stateFolder, 'log')}`);
  interrupted.ignore();
  const left = await leave(stage, options.keep ? parts.handOver : undefined);
  return left && narrator.checks.every(({ held }) => held) ? 0 : 1;
}

interface DemoOptions {
  readonly keep: boolean;
  readonly state: string | undefined;
}

/** @returns an exit status where there is nothing to play. */
function readOptions(args: readonly string[]): DemoOptions | number {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { keep: { type: 'boolean' }, help: { type: 'boolean' }, state: { type: 'string' } },
    });
    if (values.help !== true) return { keep: values.keep === true, state: values.state };
    console.log(help);
    return 0;
  } catch (error) {
    console.error(`${reasonOf(error)}\n\n${help}`);
    return 2;
  }
}

/** @returns whether it was left as it was asked for. */
async function leave(stage: Stage, handOver: DemoParts['handOver'] | undefined): Promise<boolean> {
  try {
    if (handOver === undefined) await stage.strike();
    else console.log(`\n${await handOver(stage)}`);
    return true;
  } catch (error) {
    const what = handOver === undefined ? 'Not everything could be ended' : 'It does not go on';
    console.error(`\n${what}: ${reasonOf(error)}`);
    return false;
  }
}

const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Ctrl-C, SIGTERM and a terminal that is closed leave nothing behind either. */
function strikeWhenInterrupted(stage: Stage, say: (text: string) => void): { ignore(): void } {
  const strike = (signal: NodeJS.Signals): void => {
    say(`${signal}: ending what was started`);
    void stage.strike().finally(() => process.exit(130));
  };
  for (const signal of endings) process.once(signal, strike);
  // A terminal that is gone takes no more words.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  return { ignore: () => endings.forEach((signal) => process.off(signal, strike)) };
}
