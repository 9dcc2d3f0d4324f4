import { chmodSync, copyFileSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { LocalContext } from '../../../src/local/context.ts';
import { type DockerHandle, connectDocker } from '../../../src/local/docker.ts';
import {
  type ImageRecipe,
  ensureImage,
  ensureNodeBaseImage,
  ensureToolsImage,
  pullImage,
} from '../../../src/local/images.ts';
import { components } from '../../support/components.ts';
import { type ScratchInstallation, scratchInstallation } from '../../support/installation.ts';

let installation: ScratchInstallation;
let docker: DockerHandle;

beforeAll(async () => {
  docker = (await components('docker')).docker as DockerHandle;
  installation = scratchInstallation();
}, 120_000);

afterAll(async () => {
  await installation.remove();
});

async function runIn(image: string, command: readonly string[], user = ''): Promise<{ code: number; output: string }> {
  const output = new PassThrough();
  let text = '';
  output.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const options = { Tty: true, User: user, HostConfig: { AutoRemove: true } };
  const [{ StatusCode }] = (await connectDocker(docker.address).run(image, [...command], output, options)) as [
    { StatusCode: number },
  ];
  return { code: StatusCode, output: text.trim() };
}

describe('images made of programs of this machine', () => {
  test('the Node base runs Node, a shell and the usual small tools, also as nobody special', async () => {
    const { image } = await ensureNodeBaseImage(installation.context, docker);
    await expect(runIn(image, ['node', '--version'])).resolves.toEqual({ code: 0, output: process.version });
    await expect(runIn(image, ['sh', '-c', 'id -un && echo $HOME && ls / | grep -c tmp'], 'node')).resolves.toEqual({
      code: 0,
      output: 'node\r\n/home/node\r\n1',
    });
    const lookup = "require('node:dns').lookup('localhost', (error, address) => console.log(error?.code ?? address))";
    expect((await runIn(image, ['node', '-e', lookup])).output).toMatch(/^(127\.0\.0\.1|::1)$/);
  }, 120_000);

  test('the tools image has bash and git beside them', async () => {
    const { image } = await ensureToolsImage(installation.context, docker);
    expect((await runIn(image, ['git', '--version'])).output).toMatch(/^git version/);
    expect(await runIn(image, ['bash', '-c', '[[ 1 == 1 ]] && echo yes'])).toEqual({ code: 0, output: 'yes' });
  }, 120_000);

  test('are found by a second start', async () => {
    const first = await ensureNodeBaseImage(installation.context, docker);
    await expect(ensureNodeBaseImage(installation.context, docker)).resolves.toEqual({ ...first, how: 'found' });
  }, 120_000);

  test('have one id, whichever installation makes them and wherever its Node lies', async () => {
    const engine = connectDocker(docker.address);
    const recipe = (node: string) => async (): Promise<ImageRecipe> =>
      Promise.resolve({ tag: '1', programs: [{ from: node, to: '/usr/local/bin/node' }], env: {}, cmd: ['node'] });
    const make = async (context: LocalContext, node: string): Promise<string> => {
      const { image, how } = await ensureImage(context, docker, 'test-same', {}, recipe(node));
      expect(how).toBe('started');
      const { Id } = await engine.getImage(image).inspect();
      await engine.getImage(image).remove();
      return Id;
    };
    const copy = join(installation.context.stateFolder, 'another-node');
    copyFileSync(process.execPath, copy);
    utimesSync(copy, 1, 1);
    chmodSync(copy, 0o700);
    const other = scratchInstallation();
    try {
      const id = await make(installation.context, process.execPath);
      await expect(make(other.context, copy)).resolves.toBe(id);
    } finally {
      await other.remove();
    }
  }, 120_000);

  test('are found where another installation made them', async () => {
    const { image } = await ensureNodeBaseImage(installation.context, docker);
    const { Id } = await connectDocker(docker.address).getImage(image).inspect();
    const other = scratchInstallation();
    try {
      await expect(ensureNodeBaseImage(other.context, docker)).resolves.toMatchObject({ how: 'found', image });
    } finally {
      await other.remove();
    }
    expect((await connectDocker(docker.address).getImage(image).inspect()).Id).toBe(Id);
  }, 120_000);

  test('stand in for a public image that cannot be pulled, and it is said why', async () => {
    const { image } = await ensureNodeBaseImage(installation.context, docker, {
      publicImage: '127.0.0.1:1/nobody/nothing:1',
    });
    expect(image).toBe(`slipway/node-base:${process.versions.node}`);
    expect(installation.said.join('\n')).toContain('127.0.0.1:1/nobody/nothing:1 cannot be pulled');
  }, 120_000);

  test('a pull that leads nowhere is an error with the reason of the engine', async () => {
    await expect(pullImage(installation.context, docker, '127.0.0.1:1/nobody/nothing:1')).rejects.toThrow(
      'connection refused',
    );
  }, 180_000);
});
