import { mkdirSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Bench, BenchResult, Figure } from './bench.ts';
import { machine } from './machine.ts';
import { history } from './history.ts';
import { idle } from './idle.ts';
import { logs } from './logs.ts';
import { parallel } from './parallel.ts';
import { release } from './release.ts';
import { steps } from './steps.ts';
import { switchTraffic } from './switch.ts';
import { webhook } from './webhook.ts';

/** In the order in which `all` runs them. */
const benches: Readonly<Record<string, Bench>> = {
  steps,
  webhook,
  release,
  switch: switchTraffic,
  logs,
  history,
  parallel,
  idle,
};

/** Named by the design, and not there yet. */
const notYet = ['approvals', 'recovery', 'pages', 'rehearse', 'kubernetes'];

const help = `npm run bench -- <name> [--json] [--n <number>]

${Object.entries(benches)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`)
  .join('\n')}
  ${'all'.padEnd(10)}all of them, in this order

  --json     one JSON object a bench, each the last thing it prints
  --n        how many of whatever the bench counts
  --state    folder of the benches' own installation (default .slipway/bench)`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { json: { type: 'boolean' }, n: { type: 'string' }, state: { type: 'string' }, help: { type: 'boolean' } },
  });
  const [name] = positionals;
  if (values.help === true || name === undefined) {
    console.log(help);
    return values.help === true ? 0 : 2;
  }
  if (name !== 'all' && benches[name] === undefined) {
    const known = notYet.includes(name) ? `The bench ${name} does not exist yet.` : `There is no bench ${name}.`;
    console.error(`${known} There are: ${Object.keys(benches).join(', ')}.`);
    return 2;
  }
  let worst = 0;
  for (const each of name === 'all' ? Object.keys(benches) : [name]) {
    const n = values.n === undefined ? undefined : Number(values.n);
    worst = Math.max(worst, await runOne(each, { json: values.json === true, n, state: values.state }));
  }
  return worst;
}

interface RunOptions {
  readonly json: boolean;
  readonly n: number | undefined;
  readonly state: string | undefined;
}

async function runOne(name: string, { json, n, state }: RunOptions): Promise<number> {
  const stateFolder = resolve(state ?? '.slipway/bench');
  const cleanUps: (() => Promise<void> | void)[] = [];
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const cleanUp = async (): Promise<void> => {
    for (const end of cleanUps.splice(0).reverse()) {
      try {
        await end();
      } catch (error) {
        say(`cleaning up: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  const interrupted = (signal: NodeJS.Signals): void => {
    say(`${signal}: ending what was started`);
    void cleanUp().finally(() => process.exit(130));
  };
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);
  say(`\n${name}: ${benches[name]?.summary ?? ''}`);
  mkdirSync(stateFolder, { recursive: true });
  try {
    const result = await benches[name]?.run({ n, stateFolder, say, onEnd: (end) => void cleanUps.push(end) });
    await cleanUp();
    if (result === undefined) return 2;
    if (json) console.log(JSON.stringify({ bench: name, ...withRatios(result), machine: machine() }));
    else console.log(table(name, result));
    return 0;
  } catch (error) {
    await cleanUp();
    say(`${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return 1;
  } finally {
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
    // What was measured is told; the next bench begins with nothing of this one.
    rmSync(resolve(stateFolder, 'scratch'), { recursive: true, force: true });
  }
}

function withRatios({ figures, ratios = {}, notes }: BenchResult): Record<string, unknown> {
  return { figures, ratios, ...(notes === undefined ? {} : { notes }) };
}

function table(name: string, { figures, ratios = {}, notes = [] }: BenchResult): string {
  const rows = [...flatten(figures), ...flatten(ratios)];
  const width = Math.max(0, ...rows.map(([label]) => label.length)) + 2;
  const lines = rows.map(([label, value]) => `  ${label.padEnd(width)}${value.padStart(14)}`);
  return ['', name, ...lines, ...notes.map((note) => `  (${note})`)].join('\n');
}

function flatten(figures: Readonly<Record<string, Figure>>, prefix = ''): (readonly [string, string])[] {
  return Object.entries(figures).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null
      ? flatten(value, `${prefix}${name}.`)
      : [[`${prefix}${name}`, value === null ? 'not here' : String(value)] as const],
  );
}
