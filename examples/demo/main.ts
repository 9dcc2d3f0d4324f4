import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { duration } from '../../src/cli/time.ts';
import { createNarrator } from './narrator.ts';
import { shortened } from './project.ts';
import { closingReport } from './report.ts';
import { type Stage, setStage } from './stage.ts';
import { newFindings } from './story.ts';
import * as story from './story.ts';

const help = `npm run demo [-- --keep]

Plays the life of six releases of a small service on real parts of this machine, and ends with 0 only if every one of them
went as it had to.

  --keep          leave everything running at the end
  --state <dir>   where it keeps its state (default .slipway/demo)`;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: { keep: { type: 'boolean' }, help: { type: 'boolean' }, state: { type: 'string' } },
  });
  if (values.help === true) {
    console.log(help);
    return 0;
  }
  const { stdout } = process;
  const { env } = process;
  const narrator = createNarrator({
    write: (text) => stdout.write(text),
    live: stdout.isTTY && env['TERM'] !== 'dumb' && env['CI'] === undefined,
    colour: stdout.isTTY && (env['NO_COLOR'] ?? '') === '',
    columns: stdout.columns || 100,
  });
  const beganMs = Date.now();
  narrator.act('Setting the stage: what is not there yet is found or started');
  const stage = await setStage({ narrator, stateFolder: values.state });
  const interrupted = strikeWhenInterrupted(stage, (text) => narrator.say(text));
  narrator.say(`everything runs after ${duration(Date.now() - beganMs)}`);
  narrator.say(`API ${stage.system.url}, its documentation ${stage.system.url}/docs`);
  narrator.say(`Temporal UI ${stage.system.temporalUi ?? 'not there'}`);
  narrator.say('shortened for the demo, in its project.yaml; a project that says nothing gets what is in brackets:');
  for (const { setting, demo, usual } of shortened) narrator.say(`  ${setting}: ${demo} (${usual})`);

  const findings = newFindings();
  let broken: unknown;
  try {
    await story.deliveriesAreGuarded(stage.scene);
    await story.toStaging(stage.scene, findings);
    await story.firstRelease(stage.scene, findings);
    await story.goodRelease(stage.scene, findings);
    await story.badReleaseGoesBack(stage.scene, findings);
    await story.rejected(stage.scene, findings);
    await story.expiredWhileTheWorkerDies(stage.scene, findings);
  } catch (error) {
    broken = error;
    narrator.check('the story could go on', false, error instanceof Error ? error.message : String(error));
  }
  narrator.act('The end');
  console.log(closingReport(findings, narrator.checks, narrator.paint, Math.min(140, stdout.columns || 110)));
  console.log(`\n  it took ${duration(Date.now() - beganMs)}`);
  console.log(`  API          ${stage.system.url}\n  Temporal UI  ${stage.system.temporalUi ?? 'not there'}`);
  if (broken !== undefined) console.log(`  logs         ${join(stage.stateFolder, 'log')}`);
  interrupted.ignore();
  if (values.keep === true) await keep(stage);
  else await stage.strike();
  return narrator.checks.every(({ held }) => held) ? 0 : 1;
}

/** Ctrl-C and SIGTERM leave nothing behind either. */
function strikeWhenInterrupted(stage: Stage, say: (text: string) => void): { ignore(): void } {
  const strike = (signal: NodeJS.Signals): void => {
    say(`${signal}: ending what was started`);
    void stage.strike().finally(() => process.exit(130));
  };
  process.once('SIGINT', strike);
  process.once('SIGTERM', strike);
  return {
    ignore: () => {
      process.off('SIGINT', strike);
      process.off('SIGTERM', strike);
    },
  };
}

/** Hands the installation over to `slipway up`, which goes on when this process ends. */
async function keep(stage: Stage): Promise<void> {
  const port = new URL(stage.system.url).port;
  await stage.system.stop();
  const log = openSync(join(stage.stateFolder, 'log/up.log'), 'a');
  const cli = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
  spawn(process.execPath, [cli, 'up', '--state', stage.stateFolder, '--port', port], {
    detached: true,
    stdio: ['ignore', log, log],
  }).unref();
  const deadline = Date.now() + 60_000;
  for (let ready = false; !ready && Date.now() < deadline;) {
    ready = await fetch(`${stage.system.url}/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (!ready) await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const options = `--api ${stage.system.url} --token-file ${join(stage.stateFolder, 'secrets/admin-token')}`;
  console.log(`\nEverything goes on running:
  ${stage.scene.addresses.staging}     staging
  ${stage.scene.addresses.production}     production
  npm run slipway -- ${options} status
  npm run slipway -- down --state ${stage.stateFolder} --everything     ends it`);
  if (stage.components.docker.how !== 'started') {
    console.log(
      `  docker rm -f $(docker ps -aq --filter label=slipway.project=${story.project})     removes the two releases too`,
    );
  }
}
