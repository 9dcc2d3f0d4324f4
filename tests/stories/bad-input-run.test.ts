import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunName } from '../../src/cli/client.ts';
import type { RunRecord } from '../../src/store/runs.ts';
import { components } from '../support/components.ts';
import { type InstallationStory, quickDefinition, startInstallationStory } from '../support/installation-story.ts';

let story: InstallationStory;

/** Of a project whose repository cannot be reached. Ten tries with their pauses take a minute and a half, so it begins first and is looked at last. */
let cutOff: RunName;

beforeAll(async () => {
  story = await startInstallationStory({ name: 'bad-run', files: { 'slipway.yaml': quickDefinition() } });
  const { after, ref } = await story.repository.commit({ branch: 'feature/away', subject: 'feat: quick' });
  const project = `${story.project}-away`;
  await story.addProject(project, (document) => {
    document.setIn(['repository', 'url'], 'http://127.0.0.1:9/hello.git');
  });
  ({ run: cutOff } = await story.operator.startRun({ project, ref, commit: after }));
}, 300_000);

afterAll(async () => {
  await story.close();
}, 180_000);

const minutes = 60_000;

async function runOf(
  subject: string,
  files: Readonly<Record<string, string | null>>,
  branch = 'feature/bad',
): Promise<RunRecord> {
  return await story.endOfRun(await story.push({ branch, subject, files }));
}

/** All that the API tells a person about why it ended so. */
function tellsOf({ reason, stages }: RunRecord): string {
  const steps = stages.flatMap(({ name, steps: own }) =>
    own.map((step) => `${name}/${step.name}: ${step.detail ?? ''}`),
  );
  return [reason, ...steps].join('\n');
}

describe('what was pushed is wrong', () => {
  test(
    'a definition with ten mistakes: all ten are in the answer, each with its line',
    async () => {
      const good = await story.repository.read('slipway.yaml');
      const bad = `version: 1
stages:
  - name: Not A Name
    timeot: 2m
    steps:
      - run: [node, --check]
        timeout: soon
      - name: nothing-to-do
images:
  - name: hello
    dokerfile: Dockerfile
service:
  image: hello
  port: 99999
  health:
    path: health
    interval: -1s
probes:
  - name: version
    kind: telepathy
`;
      const run = await runOf('feat: ten mistakes', { 'slipway.yaml': bad });
      await story.repository.commit({ branch: 'feature/bad', subject: 'revert', files: { 'slipway.yaml': good } });

      expect(run.outcome).toBe('failed');
      expect(run.reason).toContain('The definition has 10 problems');
      expect(String(run.reason).match(/slipway\.yaml:\d+:\d+/g)).toHaveLength(10);
      for (const word of ['timeot', 'soon', 'has no command', 'dokerfile', 'telepathy', 'service.port']) {
        expect(run.reason).toContain(word);
      }
      expect(run.reason).toMatch(/Correct the places named in the definition and push again/);
    },
    2 * minutes,
  );

  test(
    'a commit that the repository does not have: it is named, with what to do',
    async () => {
      const commit = 'deadbeef'.repeat(5);
      const { run } = await story.operator.startRun({ project: story.project, ref: 'refs/heads/develop', commit });
      const record = await story.endOfRun(run);
      expect(record.outcome).toBe('failed');
      expect(record.reason).toContain(commit);
      expect(record.reason).toMatch(/Check that the commit was pushed/);
    },
    2 * minutes,
  );

  test(
    'a Dockerfile that fails: its own last lines are in the answer, and nothing is pushed',
    async () => {
      const dockerfile = `ARG BASE_IMAGE
FROM \${BASE_IMAGE}
RUN node -e "console.log('reading the price list'); console.error('no price for tea'); process.exit(7)"
`;
      const good = await story.repository.read('Dockerfile');
      const run = await runOf('feat: bad image', { Dockerfile: dockerfile }, 'develop');
      await story.repository.commit({ branch: 'develop', subject: 'revert', files: { Dockerfile: good } });

      expect(run.outcome).toBe('failed');
      expect(tellsOf(run)).toMatch(/reading the price list[^]*no price for tea/);
      expect(run.reason).toContain('no price for tea');
      expect(run.reason).toMatch(/correct the Dockerfile/);
      expect(run.deployments).toEqual([]);
      expect(run.stages.map(({ name }) => name)).not.toContain('push');
    },
    3 * minutes,
  );
});

describe('what is around it is wrong', () => {
  test(
    'a registry that refuses: which one and with what is said',
    async () => {
      const refusing = createHttpServer((_request, response) => {
        response.writeHead(401, { 'content-type': 'application/json', 'www-authenticate': 'Basic realm="tea house"' });
        response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
      });
      await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve));
      const bound = refusing.address();
      const address = `127.0.0.1:${String(typeof bound === 'object' ? bound?.port : '')}`;
      try {
        await setRegistry(address);
        const run = await runOf('feat: refused', files('refused'), 'develop');
        expect(run.outcome).toBe('errored');
        expect(run.reason).toContain(address);
        expect(run.reason).toContain('with status 401: it asks for a name and password, and none are given');
        expect(run.reason).toMatch(/Check the credentials of the registry/);
        expect(run.deployments).toEqual([]);
      } finally {
        refusing.closeAllConnections();
        await new Promise((resolve) => refusing.close(resolve));
      }
    },
    3 * minutes,
  );

  test(
    'a registry that breaks in the middle of a push: it is pushed again, once, and what it holds is what was built',
    async () => {
      const { registry } = await components('registry');
      const [host = '', port = ''] = registry.address.split(':');
      let breaks = 3;
      const breaking = createServer((client) => {
        const upstream = connect(Number(port), host);
        let sent = 0;
        client.on('data', (chunk) => {
          sent += chunk.length;
          // A layer is under way: the head of a request alone is never that long.
          if (sent > 16_384 && breaks > 0) {
            breaks -= 1;
            client.destroy();
            upstream.destroy();
            return;
          }
          upstream.write(chunk);
        });
        upstream.on('data', (chunk) => client.write(chunk));
        for (const socket of [client, upstream]) {
          socket.on('error', () => undefined);
          socket.on('close', () => {
            client.destroy();
            upstream.destroy();
          });
        }
      });
      await new Promise<void>((resolve) => breaking.listen(0, '127.0.0.1', resolve));
      const bound = breaking.address();
      try {
        await setRegistry(`127.0.0.1:${String(typeof bound === 'object' ? bound?.port : '')}`);
        const run = await runOf('feat: broken off', files('broken off'), 'develop');
        expect(breaks).toBe(0);
        expect(run).toMatchObject({ outcome: 'succeeded' });
        expect(run.images).toHaveLength(1);
        const [image] = run.images;
        const path = image?.repository.replace(/^[^/]+\//, '') ?? '';
        const held = await fetch(`http://${registry.address}/v2/${path}/manifests/${image?.digest ?? ''}`, {
          method: 'HEAD',
          headers: { accept: 'application/vnd.docker.distribution.manifest.v2+json' },
        });
        expect(held.status).toBe(200);
        expect(held.headers.get('docker-content-digest')).toBe(image?.digest);
        await story.endOf(await story.deploymentOf(run));
      } finally {
        await setRegistry(registry.address);
        await new Promise((resolve) => {
          breaking.close(resolve);
        });
      }
    },
    4 * minutes,
  );

  test(
    'a repository that cannot be reached: its address is said, and the next run after it is back goes through',
    async () => {
      const away = await story.endOfRun(cutOff);
      expect(away.outcome).toBe('errored');
      expect(away.reason).toContain('http://127.0.0.1:9/hello.git');
      expect(away.reason).toMatch(/Check the address of the repository/);

      await story.addProject(cutOff.project, () => undefined);
      const { run } = await story.operator.rerun(away, 'start');
      await expect(story.endOfRun(run)).resolves.toMatchObject({ outcome: 'succeeded' });
    },
    6 * minutes,
  );
});

async function setRegistry(address: string): Promise<void> {
  await story.setProject((document) => {
    document.setIn(['registry', 'address'], address);
  });
}

/** A change that makes a layer of its own, so that there is something to push; no check, for they have passed before. */
function files(name: string): Readonly<Record<string, string>> {
  const noise = Array.from({ length: 4_000 }, () => crypto.randomUUID()).join('\n');
  return { 'src/noise.txt': `${name}\n${noise}\n` };
}
