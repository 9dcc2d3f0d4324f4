import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCosignSigner } from '../../src/providers/signers/cosign.ts';
import type { SignedImage } from '../../src/providers/signers/port.ts';
import { describeSigner } from '../contracts/signers/suite.ts';
import { components } from '../support/components.ts';
import { makeKey, toolPath } from '../support/supply-chain.ts';

describeSigner('cosign', async () => {
  const program = await toolPath('cosign');
  const { registry } = await components('registry');
  const folder = mkdtempSync(join(tmpdir(), 'slipway-cosign-'));
  const place = `slipway-signers-${process.pid}/app`;
  return {
    signer: createCosignSigner(() => Promise.resolve(program)),
    own: makeKey(program, folder, 'own'),
    stranger: makeKey(program, folder, 'stranger'),
    newImage: () => pushImage(registry.address, place),
    away: () => ({
      registry: { address: '127.0.0.1:9', insecure: true },
      repository: `127.0.0.1:9/${place}`,
      digest: `sha256:${'a'.repeat(64)}`,
    }),
    stop: () => rmSync(folder, { recursive: true, force: true }),
  };
});

/** The smallest image that there is, unlike any other. */
async function pushImage(address: string, place: string): Promise<SignedImage> {
  const base = `http://${address}/v2/${place}`;
  const upload = async (content: Buffer): Promise<{ readonly digest: string; readonly size: number }> => {
    const digest = digestOf(content);
    const begun = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
    const to = new URL(begun.headers.get('location') ?? '', base);
    to.searchParams.set('digest', digest);
    const { status } = await fetch(to, { method: 'PUT', body: new Uint8Array(content) });
    if (status !== 201) throw new Error(`the registry answered ${status} to a blob`);
    return { digest, size: content.length };
  };
  const layer = randomBytes(64);
  const config = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [digestOf(layer)] } };
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        ...(await upload(Buffer.from(JSON.stringify(config)))),
      },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...(await upload(layer)) }],
    }),
  );
  const digest = digestOf(manifest);
  const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
  const put = await fetch(`${base}/manifests/${digest}`, { method: 'PUT', headers, body: new Uint8Array(manifest) });
  if (put.status !== 201) throw new Error(`the registry answered ${put.status} to the manifest`);
  return { registry: { address, insecure: true }, repository: `${address}/${place}`, digest };
}

function digestOf(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}
