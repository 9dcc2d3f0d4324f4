import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { crc32 } from 'node:zlib';
import type { SupplyChain } from '../../src/activities/image-work.ts';
import { ProviderError } from '../../src/domain/failures.ts';
import { createLocalContext } from '../../src/local/context.ts';
import { installGoProgram } from '../../src/local/packages.ts';
import { type SupplyChainTool, ensureSupplyChainTool } from '../../src/local/supply-chain.ts';
import { sbomMakers } from '../../src/providers/sboms/index.ts';
import { scanners } from '../../src/providers/scanners/index.ts';
import { signers } from '../../src/providers/signers/index.ts';
import { testStateFolder } from './components.ts';

/** A worker that has none of the programs; whatever asks for one is told so. */
export function emptySupplyChain(blobs: Map<string, Buffer> = new Map()): SupplyChain {
  return supplyChainOf(
    (tool) => () => Promise.reject(new ProviderError('ToolMissing', `there is no ${tool} here`)),
    false,
    blobs,
  );
}

/** The real programs, found or built; building takes minutes, once a machine. */
export async function realSupplyChain(blobs: Map<string, Buffer> = new Map()): Promise<SupplyChain> {
  const paths = new Map<SupplyChainTool, string>();
  for (const tool of ['cosign', 'syft', 'osv-scanner'] as const) paths.set(tool, await toolPath(tool));
  return supplyChainOf(
    (tool) => () => {
      const path = paths.get(tool);
      return path === undefined
        ? Promise.reject(new ProviderError('ToolMissing', `there is no ${tool} here`))
        : Promise.resolve(path);
    },
    true,
    blobs,
  );
}

export async function toolPath(tool: SupplyChainTool): Promise<string> {
  const context = createLocalContext({
    stateFolder: testStateFolder,
    onProgress: ({ component, message }) => process.stderr.write(`${component}: ${message}\n`),
  });
  return await ensureSupplyChainTool(context, tool);
}

/** What trivy's authors make its database with, of the same month as the trivy that is built here. */
export async function trivyDatabaseMaker(): Promise<string> {
  const context = createLocalContext({
    stateFolder: testStateFolder,
    onProgress: ({ component, message }) => process.stderr.write(`${component}: ${message}\n`),
  });
  const module = 'github.com/aquasecurity/trivy-db/cmd/trivy-db@v0.0.0-20260813095258-0e0340a01b57';
  const built = join(context.cacheFolder, 'bin/trivy-db');
  return existsSync(built)
    ? built
    : await installGoProgram(context, 'trivy-db', module, { env: { CGO_ENABLED: '0' }, hint: 'a minute, once' });
}

/** A database of trivy in which the npm package `left-paddle` below 1.0.1 has a critical advisory. It asks `go` for the names of its packages. */
export function writeTrivyDatabase(maker: string, folder: string, at: Date): void {
  const work = mkdtempSync(join(tmpdir(), 'slipway-trivy-db-'));
  const [sources, out] = [join(work, 'sources'), join(work, 'out')];
  const place = join(sources, 'ghsa/advisories/github-reviewed/2026/11/GHSA-test-test-test');
  for (const each of [place, join(sources, 'cocoapods-specs/Specs'), out, join(folder, 'db')]) {
    mkdirSync(each, { recursive: true });
  }
  const named = { ecosystem: 'npm', name: 'left-paddle' };
  const entry = {
    ...{ schema_version: '1.4.0', id: 'GHSA-test-test-test', aliases: ['CVE-2026-0001'], summary: 's', details: 'd' },
    ...{ modified: '2026-11-01T00:00:00Z', published: '2026-11-01T00:00:00Z', references: [] },
    severity: [{ type: 'CVSS_V3', score: 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H' }],
    affected: [{ package: named, ranges: [{ type: 'ECOSYSTEM', events: [{ introduced: '0' }, { fixed: '1.0.1' }] }] }],
    database_specific: { severity: 'CRITICAL', github_reviewed: true },
  };
  writeFileSync(join(place, 'GHSA-test-test-test.json'), JSON.stringify(entry));
  const args = ['build', '--cache-dir', sources, '--output-dir', out, '--only-update', 'ghsa'];
  execFileSync(maker, args, { stdio: 'ignore', env: { ...process.env, GOTOOLCHAIN: 'local' } });
  const metadata = JSON.parse(readFileSync(join(out, 'metadata.json'), 'utf8')) as object;
  writeFileSync(join(folder, 'db/metadata.json'), JSON.stringify({ ...metadata, UpdatedAt: at.toISOString() }));
  copyFileSync(join(out, 'trivy.db'), join(folder, 'db/trivy.db'));
  rmSync(work, { recursive: true, force: true });
}

function supplyChainOf(
  find: (tool: SupplyChainTool) => () => Promise<string>,
  isHere: boolean,
  blobs: Map<string, Buffer>,
): SupplyChain {
  return {
    sboms: sbomMakers.syft.create(find('syft'), () => isHere),
    scanners: { 'osv-scanner': scanners['osv-scanner'](find('osv-scanner')), trivy: scanners.trivy(find('trivy')) },
    signer: signers.cosign.create(find('cosign')),
    blobs: {
      async put(key, content) {
        const bytes = Buffer.isBuffer(content) ? content : await buffer(content);
        blobs.set(key, bytes);
        return { key, sizeBytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
      },
      read(key) {
        const bytes = blobs.get(key);
        if (bytes === undefined) return Promise.reject(new ProviderError('NotFound', `there is no ${key}`));
        return Promise.resolve(Readable.from([bytes]));
      },
    },
    version: '0.0.0-test',
  };
}

export interface TestKey {
  readonly privateKey: string;
  readonly publicKey: string;
  readonly password: string;
}

/** A key pair as a person makes one. */
export function makeKey(cosign: string, folder: string, name: string): TestKey {
  const password = `pa55-${name}`;
  execFileSync(cosign, ['generate-key-pair', '--output-key-prefix', join(folder, name)], {
    env: { ...process.env, COSIGN_PASSWORD: password, HOME: folder },
    stdio: 'ignore',
  });
  const read = (end: string): string => readFileSync(join(folder, `${name}.${end}`), 'utf8');
  return { privateKey: read('key'), publicKey: read('pub'), password };
}

/** An advisory in the form of https://ossf.github.io/osv-schema, about a package that exists nowhere. */
export function advisory(options: {
  readonly id: string;
  readonly name: string;
  readonly fixed: string;
  readonly ecosystem?: string;
  readonly vector?: string;
}): object {
  const { id, name, fixed, ecosystem = 'npm', vector } = options;
  return {
    schema_version: '1.6.0',
    id,
    modified: '2026-11-01T00:00:00Z',
    published: '2026-11-01T00:00:00Z',
    aliases: [id.replace('TEST', 'CVE')],
    summary: `${name} leaks`,
    ...(vector === undefined ? {} : { severity: [{ type: 'CVSS_V3', score: vector }] }),
    affected: [
      {
        package: { ecosystem, name },
        ranges: [{ type: 'SEMVER', events: [{ introduced: '0' }, { fixed }] }],
      },
    ],
  };
}

/** Makes a database for osv-scanner: one archive an ecosystem, as of the given time. */
export function writeOsvDatabase(
  folder: string,
  parts: Readonly<Record<string, readonly object[]>>,
  at = new Date(),
): void {
  for (const [ecosystem, advisories] of Object.entries(parts)) {
    const file = join(folder, 'osv-scanner', ecosystem, 'all.zip');
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, zip(advisories.map((each, index) => [`${index}.json`, Buffer.from(JSON.stringify(each))])));
    utimesSync(file, at, at);
  }
}

/** The smallest ZIP there is: stored, without compression. */
function zip(files: readonly (readonly [string, Buffer])[]): Buffer {
  const bodies: Buffer[] = [];
  const entries: Buffer[] = [];
  let offset = 0;
  for (const [name, data] of files) {
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt32LE(crc32(data), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(name.length, 22);
    const body = Buffer.concat([Buffer.from('PK\u0003\u0004', 'latin1'), common, Buffer.from(name), data]);
    const central = Buffer.alloc(14);
    central.writeUInt32LE(offset, 10);
    entries.push(
      Buffer.concat([Buffer.from('PK\u0001\u0002\u0014\u0000', 'latin1'), common, central, Buffer.from(name)]),
    );
    bodies.push(body);
    offset += body.length;
  }
  const directory = Buffer.concat(entries);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(files.length, 4);
  end.writeUInt16LE(files.length, 6);
  end.writeUInt32LE(directory.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...bodies, directory, Buffer.from('PK\u0005\u0006', 'latin1'), end]);
}
