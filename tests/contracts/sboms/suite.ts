import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Sbom, SbomMaker } from '../../../src/providers/sboms/port.ts';

type Image = Parameters<SbomMaker['make']>[0]['image'];

/** A maker of bills of materials under test, and an image with the npm package `left-paddle` 1.0.0 in it. */
export interface SbomLab {
  readonly maker: SbomMaker;
  /** The same on a machine that does not have it yet. */
  readonly elsewhere: SbomMaker;
  readonly image: Image;
  stop?(): void;
}

/** What every maker of bills of materials keeps, the fake included. */
export function describeSbomMaker(name: string, start: () => Promise<SbomLab>): void {
  describe(`maker of bills of materials ${name}`, () => {
    let lab: SbomLab;
    let folder: string;

    beforeAll(async () => {
      lab = await start();
      folder = mkdtempSync(join(tmpdir(), 'slipway-sbom-'));
    }, 900_000);
    afterAll(() => {
      lab.stop?.();
      rmSync(folder, { recursive: true, force: true });
    });

    function make(to: string, image: Image = lab.image, signal = new AbortController().signal, version = '1.2.3') {
      const at = join(folder, to);
      mkdirSync(at);
      return lab.maker.make({ image, name: 'app', version, folder: at, signal });
    }

    test('lists an image in both forms, by its name and version, with what is in it', async () => {
      const sbom = await make('both');
      expect(sbom.packages).toBeGreaterThanOrEqual(1);
      expect(sbom.tool.version).toMatch(/^\d+\.\d+\.\d+/);
      for (const file of [sbom.spdx, sbom.cyclonedx]) expect(file.startsWith(join(folder, 'both'))).toBe(true);
      const spdx = JSON.parse(readFileSync(sbom.spdx, 'utf8')) as {
        readonly spdxVersion: string;
        readonly name: string;
        readonly packages: readonly { readonly name: string; readonly versionInfo: string }[];
      };
      expect([spdx.spdxVersion, spdx.name]).toEqual([expect.stringMatching(/^SPDX-2\./), 'app']);
      expect(spdx.packages).toContainEqual(expect.objectContaining({ name: 'left-paddle', versionInfo: '1.0.0' }));
      const cyclonedx = JSON.parse(readFileSync(sbom.cyclonedx, 'utf8')) as {
        readonly metadata: { readonly component: object };
        readonly components: readonly object[];
      };
      expect(cyclonedx.metadata.component).toMatchObject({ name: 'app', version: '1.2.3' });
      expect(cyclonedx.components).toContainEqual(expect.objectContaining({ purl: 'pkg:npm/left-paddle@1.0.0' }));
    });

    test('says its name, and whether it is here, without making anything', () => {
      expect(lab.maker.name).toMatch(/^[a-z]+$/);
      expect(lab.maker.isHere()).toBe(true);
      expect(lab.elsewhere.isHere()).toBe(false);
    });

    test('makes it again where it was made before, and says the same', async () => {
      const [first, second] = [await make('once'), await make('twice')];
      expect(second.packages).toBe(first.packages);
    });

    test('says how it makes lists, in one word and always the same', async () => {
      const { signal } = new AbortController();
      const method = await lab.maker.readMethod(signal);
      expect(method).toMatch(/^[a-z]+-\d+\.\d+\.\d+\S*$/);
      expect(await lab.maker.readMethod(signal)).toBe(method);
    });

    test('makes of a list of before the one that it would make now, without the image', async () => {
      const before = await make('before');
      const now = await make('now', lab.image, undefined, '2.0.0');
      const read = (path: string): Record<string, unknown> =>
        JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
      const identities = ({ spdx, cyclonedx }: Pick<Sbom, 'spdx' | 'cyclonedx'>) => [
        read(spdx)['documentNamespace'],
        read(cyclonedx)['serialNumber'],
      ];
      const known = [...identities(before), ...identities(now)];
      const renewed = await lab.elsewhere.renew({ list: before, name: 'app', version: '2.0.0' });
      expect(renewed).toEqual({ ...now, spdx: before.spdx, cyclonedx: before.cyclonedx });
      for (const form of ['spdx', 'cyclonedx'] as const) {
        expect(timeless(read(renewed[form]))).toEqual(timeless(read(now[form])));
      }
      // A document of its own.
      for (const identity of identities(renewed)) {
        expect(identity).toMatch(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
        expect(known).not.toContain(identity);
      }
    });

    test.each([
      ['of another name', (text: string) => text, 'other'],
      ['that is cut off', (text: string) => text.slice(0, -40), 'app'],
      ['that is none', () => '{"a":1}', 'app'],
    ])('makes nothing of a list %s', async (what, spoil, as) => {
      const before = await make(`spoilt-${what.replaceAll(' ', '-')}`);
      for (const file of ['spdx', 'cyclonedx'] as const) {
        const text = readFileSync(before[file], 'utf8');
        writeFileSync(before[file], spoil(text));
        const renewed = lab.maker.renew({ list: before, name: as, version: '2.0.0' });
        await expect(renewed).rejects.toMatchObject({ type: 'ScanErrored', retryable: false });
        writeFileSync(before[file], text);
      }
    });

    test.each([
      ['what is no image', 'this is no image'],
      ['an image that is cut off', undefined],
    ])('of %s is errored: nothing is known of it', async (_, text) => {
      const path = join(folder, `broken-${String(text === undefined)}`);
      writeFileSync(path, text ?? readFileSync(lab.image.path).subarray(0, 40));
      await expect(make(`of-${String(text === undefined)}`, { ...lab.image, path })).rejects.toMatchObject({
        type: 'ScanErrored',
        retryable: false,
        message: expect.stringContaining('what is in app could not be listed'),
      });
    });

    test('of a file that is not there is errored', async () => {
      const nowhere = make('of-nowhere', { ...lab.image, path: join(folder, 'nowhere') });
      await expect(nowhere).rejects.toMatchObject({ type: 'ScanErrored', retryable: false });
    });

    test('ends when it is called off', async () => {
      const off = make('off', lab.image, AbortSignal.abort(new Error('called off')));
      await expect(off).rejects.toThrow('called off');
    });
  });
}

/** Without what is another at every look: which document it is, and when it was made. */
function timeless({ creationInfo, metadata, ...rest }: Readonly<Record<string, unknown>>): object {
  return {
    ...rest,
    ...{ documentNamespace: undefined, serialNumber: undefined },
    creationInfo: { ...(creationInfo as object | undefined), created: undefined },
    metadata: { ...(metadata as object | undefined), timestamp: undefined },
  };
}
