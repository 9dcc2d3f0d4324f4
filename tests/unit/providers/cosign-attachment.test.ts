import { createHash } from 'node:crypto';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { provenanceType } from '../../../src/domain/provenance.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { type Lease, underLease } from '../../../src/effects/lease.ts';
import { forgetAttestations, listAttestations } from '../../../src/providers/signers/cosign-attachment.ts';
import type { SignedImage } from '../../../src/providers/signers/port.ts';

/** What cosign keeps beside an image, in a registry that writes down what it is asked; the real ones are in tests/supply-chain. */
let server: Server;
let image: SignedImage;
let asked: string[];
let blobs: Map<string, Buffer>;
let attached: Buffer | undefined;

const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const spdxType = 'https://spdx.dev/Document';

beforeEach(async () => {
  asked = [];
  blobs = new Map();
  attached = undefined;
  server = createServer((request, response) => {
    void (async () => {
      const { pathname, searchParams } = new URL(request.url ?? '', 'http://registry');
      const [, kind, name = ''] = /^\/v2\/shop\/app\/(blobs|manifests)\/(.*)$/.exec(pathname) ?? [];
      asked.push(`${request.method ?? ''} ${kind ?? ''}`);
      const body = await buffer(request);
      if (request.method === 'POST') {
        response.writeHead(202, { location: '/v2/shop/app/blobs/uploads/1' }).end();
      } else if (request.method === 'PUT') {
        if (kind === 'blobs') blobs.set(searchParams.get('digest') ?? '', body);
        else attached = body;
        response.writeHead(201).end();
      } else {
        const found = kind === 'blobs' ? blobs.get(name) : attached;
        if (found === undefined) return void response.writeHead(404).end();
        response.writeHead(200, { 'content-type': manifestType, 'docker-content-digest': digestOf(found) });
        response.end(request.method === 'HEAD' ? undefined : found);
      }
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  image = {
    registry: { address, insecure: true },
    repository: `${address}/shop/app`,
    digest: `sha256:${'a'.repeat(64)}`,
  };
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function stored(content: object): { readonly digest: string; readonly size: number } {
  const bytes = Buffer.from(JSON.stringify(content));
  blobs.set(digestOf(bytes), bytes);
  return { digest: digestOf(bytes), size: bytes.length };
}

/** Puts statements beside the image. @param annotation - what cosign writes beside each: an older one the name that it was called by. */
function attach(types: readonly string[], annotation = (type: string): string => type): void {
  const layers = types.map((predicateType, index) => {
    const payload = Buffer.from(JSON.stringify({ predicateType, predicate: index })).toString('base64');
    return { ...stored({ payload }), annotations: { predicateType: annotation(predicateType) } };
  });
  const diffs = layers.map(({ digest }) => digest);
  const config = stored({ rootfs: { type: 'layers', diff_ids: diffs } });
  attached = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: manifestType, config, layers }));
}

const three = [provenanceType, spdxType, provenanceType];
const allOf = (isNeeded: boolean) => ({ type: 'provenance', atLeast: 2, isNeeded: () => isNeeded }) as const;

describe('what is beside an image', () => {
  test('is known without reading any of it, however large it is', async () => {
    expect(await listAttestations(image)).toEqual(new Set());
    attach([...three, 'of something else']);
    asked = [];
    expect(await listAttestations(image)).toEqual(new Set(['provenance', 'spdx']));
    expect(asked).toEqual(['GET manifests']);
  });

  test('is known where an older cosign 2 has written it', async () => {
    attach([spdxType], () => 'spdxjson');
    expect(await listAttestations(image)).toEqual(new Set(['spdx']));
  });
});

describe('forgetting statements', () => {
  test('says that it gets on, also where all of them stay', async () => {
    attach(three);
    let moved = 0;
    expect(await forgetAttestations(image, allOf(true), { moved: () => (moved += 1) })).toBe(2);
    // Three statements and the configuration.
    expect(moved).toBeGreaterThanOrEqual(4);
    expect(asked).not.toContain('PUT manifests');
  });

  test('writes nothing once somebody else has the image', async () => {
    attach(three);
    const before = attached;
    const gone = new ProviderError('FenceUnavailable', 'the lease ran out');
    const lease = {
      check() {
        // It was ours until everything was ready.
        if (asked.includes('PUT blobs')) throw gone;
      },
    } as Lease;
    await expect(underLease(lease, () => forgetAttestations(image, allOf(false)))).rejects.toBe(gone);
    expect(asked).not.toContain('PUT manifests');
    expect(attached).toBe(before);
    expect(await forgetAttestations(image, allOf(false))).toBe(0);
    expect(JSON.parse(String(attached))).toMatchObject({ layers: [{ annotations: { predicateType: spdxType } }] });
  });
});
