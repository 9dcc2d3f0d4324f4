import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { DeploymentRef } from '../../src/domain/deployment.ts';
import { connectDocker } from '../../src/local/docker.ts';
import { createCosignSigner } from '../../src/providers/signers/cosign.ts';
import type { ImageSigner, SignedImage } from '../../src/providers/signers/port.ts';
import type { DeploymentRecord } from '../../src/store/deployments.ts';
import { components } from '../support/components.ts';
import { type InstallationStory, quickDefinition, startInstallationStory } from '../support/installation-story.ts';
import { type TestKey, advisory, makeKey, toolPath, writeOsvDatabase } from '../support/supply-chain.ts';
import { until } from '../support/until.ts';

/** A whole installation with syft, osv-scanner and cosign as they are: from the push of a commit to the container, and to what must not become one. */
let story: InstallationStory;
let folder: string;
let signer: ImageSigner;
let own: TestKey;
let stranger: TestKey;
let registry: string;

const minutes = 60_000;
const vector = 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H';

beforeAll(async () => {
  const cosign = await toolPath('cosign');
  await toolPath('syft');
  await toolPath('osv-scanner');
  registry = (await components('registry')).registry.address;
  folder = mkdtempSync(join(tmpdir(), 'slipway-attested-'));
  own = makeKey(cosign, folder, 'own');
  stranger = makeKey(cosign, folder, 'stranger');
  signer = createCosignSigner(() => Promise.resolve(cosign));
  const planted = advisory({ id: 'TEST-2026-0001', name: 'left-paddle', fixed: '1.0.1', vector });
  writeOsvDatabase(join(folder, 'osv'), { npm: [planted] });
  story = await startInstallationStory({
    name: 'attested',
    files: {
      'slipway.yaml': quickDefinition(),
      'node_modules/left-paddle/package.json': '{ "name": "left-paddle", "version": "1.0.0", "license": "MIT" }\n',
    },
  });
  const secret = (name: string, text: string): { readonly file: string } => {
    const file = join(story.context.stateFolder, 'secrets', name);
    writeFileSync(file, text, { mode: 0o600 });
    return { file };
  };
  const signing = { key: secret('cosign-key', own.privateKey), password: secret('cosign-password', own.password) };
  await story.setProject((document) => {
    document.setIn(['images'], {
      sbom: 'required',
      scan: { scanner: 'osv-scanner', database: join(folder, 'osv'), mode: 'warn' },
      signing,
      trust: [own.publicKey],
    });
    document.setIn(['environments', 'production', 'images'], { requireSignature: true, attestation: 'required' });
    document.setIn(['environments', 'production', 'approval', 'timeout'], '5m');
    document.setIn(['environments', 'production', 'watch', 'duration'], '2s');
  });
}, 30 * minutes);

afterAll(async () => {
  await story.close();
  rmSync(folder, { recursive: true, force: true });
}, 3 * minutes);

function imageOf({ plan }: DeploymentRecord): SignedImage {
  const { repository, digest } = plan!.identity.release.images[0]!;
  return { registry: { address: registry, insecure: true }, repository, digest };
}

/** What somebody does who can write to the registry: the same words, by another key. */
async function attestAsStranger(image: SignedImage): Promise<void> {
  const [statement] = await signer.readAttestations(image, [own.publicKey], 'provenance');
  const predicateFile = join(folder, 'copied.json');
  writeFileSync(predicateFile, JSON.stringify(statement!.predicate));
  await signer.attest(image, stranger, { type: 'provenance', predicateFile, replace: true });
}

async function awaitsApproval(ref: DeploymentRef): Promise<DeploymentRecord> {
  return await until(
    async () => {
      const found = await story.operator.readDeployment(ref);
      if (found.outcome !== null) throw new Error(`it ended ${found.outcome}: ${String(found.reason)}`);
      return found.phase === 'awaiting-approval' ? found : undefined;
    },
    { timeoutMs: minutes, everyMs: 100, what: 'a plan that waits for approval' },
  );
}

async function containersOf(version: string): Promise<number> {
  const filters = { label: [`slipway.project=${story.project}`, `slipway.version=${version}`] };
  return (await connectDocker(story.dockerAddress).listContainers({ all: true, filters })).length;
}

test(
  'an image is listed, looked up, gated, attested, verified, approved, and runs',
  async () => {
    const run = await story.push({ branch: 'main', subject: 'feat: attested' });
    const ref = await story.deploymentOf(run);
    const planned = await awaitsApproval(ref);
    const { stages, images } = await story.operator.readRun(run);
    expect(stages.find(({ name }) => name === 'scan')).toMatchObject({ verdict: 'failed' });
    expect(images[0]).toMatchObject({
      evidence: {
        scan: { verdict: 'failed', lines: ['critical TEST-2026-0001 in left-paddle 1.0.0 (gone in 1.0.1)'] },
        gate: { gate: 'container', mode: 'warn', verdict: 'failed' },
        attested: ['signature', 'spdx', 'cyclonedx', 'scan', 'provenance'],
      },
    });
    const commit = planned.plan!.identity.release.commit.slice(0, 7);
    expect(planned.plan!.checks).toEqual(
      expect.arrayContaining([
        `image hello: signed by a trusted key, built by urn:slipway:builder from ${commit}`,
        expect.stringContaining('image hello: scan failed'),
      ]),
    );
    await story.approve(ref);
    const { outcome, reason, version } = await story.endOf(ref);
    expect({ outcome, reason }).toMatchObject({ outcome: 'succeeded' });
    expect(await story.answer('production')).toMatchObject({ version });
    expect(await containersOf(version)).toBe(1);
  },
  8 * minutes,
);

test(
  'an attestation that was replaced after the approval was asked for ends the deployment before anything has moved',
  async () => {
    const before = await story.answer('production');
    const run = await story.push({ branch: 'main', subject: 'feat: tampered', files: { 'src/more.js': '// more\n' } });
    const ref = await story.deploymentOf(run);
    const planned = await awaitsApproval(ref);
    await attestAsStranger(imageOf(planned));
    await story.approve(ref);
    const ended = await story.endOf(ref);
    expect(ended.outcome).toBe('failed');
    expect(ended.reason).toContain('verify the provenance of');
    expect(await containersOf(ended.version)).toBe(0);
    expect(await story.answer('production')).toMatchObject({ version: before.version });
    const place = { project: story.project, environment: 'production' };
    expect(await story.operator.readEnvironment(place)).toMatchObject({ live: { version: before.version } });
  },
  8 * minutes,
);

test(
  'the same release is refused by its plan from then on',
  async () => {
    const before = await story.answer('production');
    const { items } = await story.operator.listDeployments({ project: story.project, limit: 50 });
    const { version } = items.find(({ outcome }) => outcome !== 'succeeded')!;
    const ended = await story.endOf(
      await story.operator.deploy({ project: story.project, environment: 'production' }, { version }),
    );
    expect(ended).toMatchObject({
      outcome: 'failed',
      plan: null,
      reason: expect.stringContaining('verify the provenance of'),
    });
    expect(await containersOf(version)).toBe(0);
    expect(await story.answer('production')).toMatchObject({ version: before.version });
  },
  4 * minutes,
);
