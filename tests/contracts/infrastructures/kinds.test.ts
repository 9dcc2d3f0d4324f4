import { afterAll, describe, expect, test } from '@jest/globals';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createExecInfrastructure, type ExecCommands } from '../../../src/providers/infrastructures/exec.ts';
import { createFakeInfrastructure } from '../../support/fakes/infrastructure.ts';
import { applying, infrastructureSuite, requestIn } from '../../support/infrastructure-suite.ts';

const made: string[] = [];
afterAll(async () => {
  await Promise.all(made.map((folder) => rm(folder, { recursive: true, force: true })));
});
async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-infrastructure-'));
  made.push(folder);
  return folder;
}

/** Change sets as CloudFormation has them: made of one state of the stack, and executed only on that. */
const script = `
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
const [, , verb, stack] = process.argv;
const now = existsSync(stack) ? JSON.parse(readFileSync(stack, 'utf8')) : { id: 'none' };
const env = process.env;
if (verb === 'state') {
  console.log(now.id);
} else if (verb === 'plan') {
  const { colour, password } = JSON.parse(readFileSync(env.SLIPWAY_VARIABLES, 'utf8'));
  if (colour === 'slow') await new Promise((end) => setTimeout(end, 60_000));
  console.error('plans ' + colour + ' with ' + password + ' and ' + env.TOKEN_OF_SOMETHING);
  if (colour === 'refused') { console.error('there is no such colour, ' + password); process.exit(1); }
  const action = now.colour === undefined ? 'create' : 'update';
  writeFileSync(env.SLIPWAY_CHANGES, JSON.stringify(now.colour === colour ? [] : [{ address: 'Stack/Thing', action }]));
  if (now.colour !== colour) { mkdirSync(stack + '.sets', { recursive: true }); writeFileSync(stack + '.sets/' + env.SLIPWAY_DEPLOYMENT, ''); }
  writeFileSync(env.SLIPWAY_PLAN, JSON.stringify({ on: now.id, colour, nonce: process.hrtime.bigint().toString() }));
} else if (verb === 'apply') {
  const { on, colour } = JSON.parse(readFileSync(env.SLIPWAY_PLAN, 'utf8'));
  if (on !== now.id) process.exit(3);
  console.error('executes the change set');
  rmSync(stack + '.sets/' + env.SLIPWAY_DEPLOYMENT, { force: true });
  writeFileSync(stack, JSON.stringify({ id: String(Number(now.id === 'none' ? 0 : now.id) + 1), colour }));
} else if (verb === 'discard') {
  rmSync(stack + '.sets/' + env.SLIPWAY_DEPLOYMENT, { force: true });
}
`;

async function openExec(commands: Partial<ExecCommands> = {}) {
  const stack = join(await newFolder(), 'stack.json');
  const program = join(await newFolder(), 'stack.mjs');
  await writeFile(program, script);
  const command = (verb: string): [string, ...string[]] => [process.execPath, program, verb, stack];
  return {
    infrastructure: createExecInfrastructure({
      plan: command('plan'),
      apply: command('apply'),
      state: command('state'),
      discard: command('discard'),
      ...commands,
    }),
    folder: newFolder,
    left: () => readdir(`${stack}.sets`).catch(() => []),
    colour: async () => {
      const text = await readFile(stack, 'utf8').catch(() => '{}');
      return (JSON.parse(text) as { readonly colour?: string }).colour;
    },
  };
}

infrastructureSuite('declared commands', () => openExec());
infrastructureSuite('the fake', () => {
  const infrastructure = createFakeInfrastructure();
  const [colour, left] = [
    () => Promise.resolve(infrastructure.colour()),
    () => Promise.resolve([...infrastructure.left].sort()),
  ];
  return Promise.resolve({ infrastructure, folder: newFolder, colour, left });
});

describe('declared commands', () => {
  test.each([
    ['no plan', 'echo [] > $SLIPWAY_CHANGES', 'it wrote no $SLIPWAY_PLAN'],
    ['no changes', 'echo x > $SLIPWAY_PLAN', 'it wrote no $SLIPWAY_CHANGES'],
    ['changes that are no JSON', 'echo x > $SLIPWAY_PLAN; echo x > $SLIPWAY_CHANGES', 'is no JSON'],
    [
      'an action that nobody knows',
      `echo x > $SLIPWAY_PLAN; echo '[{"address":"a","action":"explode"}]' > $SLIPWAY_CHANGES`,
      '0.action',
    ],
  ])('that write %s are no plan', async (_what, line, why) => {
    const { infrastructure, folder } = await openExec({ plan: ['/bin/sh', '-c', line] });
    const planning = infrastructure.plan(requestIn(await folder(), 'red'));
    await expect(planning).rejects.toMatchObject({
      type: 'InfrastructureFailed',
      message: expect.stringContaining(why) as unknown,
    });
  });

  test('that leave nothing elsewhere need none that removes it', async () => {
    const { infrastructure } = await openExec({ discard: undefined });
    expect(infrastructure.discard).toBeUndefined();
  });

  test('are ended when their time is over, and what refuses to be applied says its last line', async () => {
    const slow = await openExec({ apply: ['/bin/sleep', '60'] });
    const plan = await slow.infrastructure.plan(requestIn(await slow.folder(), 'red'));
    const request = requestIn(await slow.folder(), 'red', { timeoutMs: 300 });
    await expect(slow.infrastructure.apply(applying(request, plan))).rejects.toMatchObject({ type: 'TimedOut' });
    const bad = await openExec({ apply: ['/bin/sh', '-c', 'echo the quota is full >&2; exit 9'] });
    const next = await bad.infrastructure.plan(requestIn(await bad.folder(), 'red'));
    await expect(bad.infrastructure.apply(applying(requestIn(await bad.folder(), 'red'), next))).rejects.toMatchObject({
      type: 'InfrastructureFailed',
      message: expect.stringContaining('the quota is full (exit code 9)') as unknown,
    });
    expect(await bad.colour()).toBeUndefined();
  });
});
