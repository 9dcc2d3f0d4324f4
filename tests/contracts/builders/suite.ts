import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { BuildProgress, BuildRequest, ImageBuilder } from '../../../src/providers/builders/port.ts';
import { createCutProxy } from '../../support/cut-proxy.ts';
import { until } from '../../support/until.ts';

/** A builder under test and what the suite must know of it. */
export interface BuilderLab {
  readonly builder: ImageBuilder;
  /** Name of an image with a shell, as a Dockerfile of this builder says it. */
  readonly base: string;
  /** Of every build: labels that are nobody else's, and what the builder wants besides. */
  readonly request: Pick<BuildRequest, 'labels' | 'network' | 'registry'>;
  /** Path of the socket that the builder speaks to. */
  readonly socket: string;
  /** The same builder, speaking to another socket. */
  through(socket: string): Promise<ImageBuilder>;
  stop(): Promise<void>;
}

/** What every builder of images keeps. What is in an image is looked at by its own build: some have nothing that could run it. */
export function describeBuilder(name: string, start: () => Promise<BuilderLab>): void {
  describe(`builder ${name}`, () => {
    let lab: BuilderLab;
    let folder: string;
    let output = '';
    let moved = 0;

    beforeAll(async () => {
      lab = await start();
      folder = mkdtempSync(join(tmpdir(), 'slipway-builder-'));
    }, 900_000);
    afterAll(async () => {
      rmSync(folder, { recursive: true, force: true });
      await lab.stop();
    });

    // Nothing of an earlier run of this suite is in the cache of the builder: what is cached says nothing.
    const from = `ARG BASE_IMAGE\nFROM \${BASE_IMAGE}\nENV ONCE=${crypto.randomUUID()}\n`;

    function request(
      key: string,
      dockerfile: string,
      files: Readonly<Record<string, string>> = {},
      more: Partial<BuildRequest> = {},
    ): BuildRequest {
      const context = join(folder, key);
      for (const [path, text] of Object.entries({ Dockerfile: dockerfile, ...files })) {
        mkdirSync(dirname(join(context, path)), { recursive: true });
        writeFileSync(join(context, path), text);
      }
      return {
        name: key,
        folder: context,
        dockerfile: 'Dockerfile',
        ignore: files['.dockerignore'] ?? '',
        platforms: [],
        modifiedAt: new Date('2026-01-02T03:04:05Z'),
        ...lab.request,
        args: { BASE_IMAGE: lab.base },
        labels: { ...lab.request.labels, 'slipway.build-key': key },
        ...more,
      };
    }

    function progress(signal = new AbortController().signal): BuildProgress {
      output = '';
      moved = 0;
      return { output: (text) => (output += text), moved: () => (moved += 1), signal };
    }

    test('makes an image of the context with its arguments, says what it does, and lists it by its labels', async () => {
      const dockerfile = `${from}ARG GREETING\nCOPY a.txt /a.txt\nRUN test "$(cat /a.txt)" = content && echo "$GREETING" | tr a-z A-Z\n`;
      const asked = request('plain', dockerfile, { 'a.txt': 'content\n' });
      const built = await lab.builder.build({ ...asked, args: { ...asked.args, GREETING: 'building' } }, progress());
      expect(built.id).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(built.sizeBytes).toBeGreaterThan(0);
      expect(built.labels).toMatchObject(asked.labels);
      expect(output).toContain('BUILDING');
      expect(moved).toBeGreaterThan(3);
      expect(await lab.builder.list(asked.labels)).toMatchObject([{ id: built.id }]);
      expect(await lab.builder.list({ ...asked.labels, 'slipway.build-key': 'another' })).toEqual([]);
      expect(await lab.builder.inspect(built.id)).toMatchObject({ id: built.id, labels: asked.labels });
      expect(await lab.builder.inspect(`sha256:${'0'.repeat(64)}`)).toBeUndefined();
    });

    test('of the same context takes the layers it made before, of another one it makes them anew', async () => {
      const ran = async (f: string): Promise<string | undefined> => {
        const command = "sed 's/^/made: /' /proc/sys/kernel/random/uuid";
        await lab.builder.build(request('same', `${from}COPY f /f\nRUN ${command}\n`, { f }), progress());
        return /made: ([0-9a-f-]{36})/.exec(output)?.[1];
      };
      expect(await ran('x')).toBeDefined();
      expect(await ran('x')).toBeUndefined();
      expect(await ran('y')).toBeDefined();
    });

    test('gives layers that tell how the image was made', async () => {
      const dockerfile = `${from}ENV MODE=fast\nRUN echo making > /made\nUSER 1000\n`;
      const { id } = await lab.builder.build(request('layers', dockerfile), progress());
      const layers = await lab.builder.readLayers(id);
      expect(layers).toMatchObject({ user: '1000', settings: expect.objectContaining({ MODE: 'fast' }) });
      expect(layers!.count).toBeGreaterThan(0);
      const [newest] = layers!.history;
      expect(Number.isNaN(Date.parse(newest!.createdAt!))).toBe(false);
      expect(layers!.history.some(({ instruction }) => instruction.includes('echo making'))).toBe(true);
      expect(await lab.builder.readLayers(`sha256:${'0'.repeat(64)}`)).toBeUndefined();
    });

    test('sends what .dockerignore lets through, links as links, and never follows one out of the context', async () => {
      const files = {
        '.dockerignore': 'secret\n*.log\n!keep.log\n',
        'secret/key': 'x',
        'a.log': 'x',
        'keep.log': 'x',
        'sub/file': 'x',
      };
      const list = '{ cd /all; find . | sort | tr "\\n" ";"; readlink link; }';
      const asked = request('ignored', `${from}COPY . /all\nRUN ${list} > /list && sed "s/^/sent: /" /list\n`, files);
      symlinkSync('/etc/passwd', join(asked.folder, 'link'));
      await lab.builder.build(asked, progress());
      expect(output).toContain('sent: .;./.dockerignore;./Dockerfile;./keep.log;./link;./sub;./sub/file;/etc/passwd');
    });

    test('puts its labels on the target it was asked for, whatever is in them', async () => {
      const labels = {
        ...lab.request.labels,
        'slipway.build-key': 'staged',
        'org.example.quoted': 'a "b" \\ \'c\' $HOME ${x} `d` # e',
        'org.example.empty': '',
        'org.example.letters': 'grüße → 世界',
      };
      const dockerfile = `ARG BASE_IMAGE\nFROM \${BASE_IMAGE} AS first\nLABEL org.example.empty=full org.example.own=stays\nRUN echo first > /stage\nFROM first\nRUN exit 9\n`;
      const built = await lab.builder.build(request('staged', dockerfile, {}, { target: 'first', labels }), progress());
      expect(built.labels).toMatchObject({ ...labels, 'org.example.own': 'stays' });
    });

    test.each([
      ['a command', `${from}RUN echo the reason is here && exit 7`, /code: 7/, 'the reason is here'],
      ['a file that is not there', `${from}COPY nowhere /x`, /COPY failed|not found/, undefined],
      ['a mistake', `${from}NONSENSE x`, /unknown instruction/i, undefined],
      ['a target that is not there', `${from}RUN true`, /nothing/, undefined],
    ])(
      'that fails for %s is BuildFailed with its own last lines, and leaves no image',
      async (what, text, says, line) => {
        const asked = request('failing', text, {}, what.includes('target') ? { target: 'nothing' } : {});
        const error: unknown = await lab.builder.build(asked, progress()).catch((reason: unknown) => reason);
        expect(error).toMatchObject({ type: 'BuildFailed', retryable: false, message: expect.stringMatching(says) });
        const { details } = error as { readonly details: { readonly lastLines: readonly string[] } };
        expect(details.lastLines.length).toBeLessThanOrEqual(20);
        if (line !== undefined) expect(details.lastLines).toContain(line);
        expect(await lab.builder.list(asked.labels)).toEqual([]);
      },
    );

    test('knows the image that a name stands for, and says of one that cannot be had that it cannot', async () => {
      const known = await lab.builder.resolve([lab.base], progress());
      expect(known[lab.base]).toMatch(/^sha256:[0-9a-f]{64}$/);
      const asked = lab.builder.resolve(['slipway.invalid/nobody/nothing:1'], progress());
      await expect(asked).rejects.toMatchObject({ type: expect.stringMatching(/BuildFailed|RegistryUnavailable/) });
    });

    test('ends within three seconds when it is called off, and leaves no image', async () => {
      const stop = new AbortController();
      const asked = request('stopped', `${from}RUN echo beg""un; sleep 61\n`);
      const building = lab.builder.build(asked, progress(stop.signal)).catch((error: unknown) => error);
      await until(() => output.includes('begun'));
      const began = performance.now();
      stop.abort(new Error('called off'));
      expect(await building).toMatchObject({ message: 'called off' });
      expect(performance.now() - began).toBeLessThan(3_000);
      expect(await lab.builder.list(asked.labels)).toEqual([]);
    });

    test('is interrupted where what builds goes away in the middle, unavailable while it is away, and works again', async () => {
      const proxy = await createCutProxy({ path: lab.socket }, join(folder, 'builder.sock'));
      try {
        const through = await lab.through(proxy.address);
        const asked = request('interrupted', `${from}RUN echo beg""un; sleep 2\n`);
        const building = through.build(asked, progress()).catch((error: unknown) => error);
        await until(() => output.includes('begun'));
        proxy.cut();
        expect(await building).toMatchObject({ type: 'BuildInterrupted', retryable: true });
        const away: unknown = await through.build(asked, progress()).catch((error: unknown) => error);
        expect(away).toMatchObject({ type: 'EngineUnavailable', retryable: true });
        proxy.mend();
        expect((await through.build(asked, progress())).id).toMatch(/^sha256:/);
      } finally {
        await proxy.close();
      }
    });

    test('writes an image to files for programs that know no engine', async () => {
      const { id } = await lab.builder.build(request('saved', `${from}RUN echo saved > /x\n`), progress());
      const to = mkdtempSync(join(folder, 'files-'));
      const saved = await lab.builder.save(id, to, progress());
      expect(saved).toHaveLength(1);
      const [{ path, form, platform }] = saved as [(typeof saved)[number]];
      expect(platform).toBeUndefined();
      expect(path.startsWith(to)).toBe(true);
      if (form === 'oci-dir') expect(readdirSync(path)).toEqual(expect.arrayContaining(['blobs', 'index.json']));
      else expect(statSync(path).size).toBeGreaterThan(1_000);
      await expect(lab.builder.save(`sha256:${'0'.repeat(64)}`, to, progress())).rejects.toMatchObject({
        type: 'EngineRefused',
        retryable: false,
      });
    });

    test('throws an image away, and one that is gone is no error', async () => {
      const labels = { ...lab.request.labels, 'slipway.build-key': 'thrown', 'slipway.image': 'thrown' };
      const made = async (text: string): Promise<string> =>
        (await lab.builder.build(request('thrown', `${from}RUN echo ${text} > /x\n`, {}, { labels }), progress())).id;
      const removed = await made('one');
      await lab.builder.remove(removed);
      await lab.builder.remove(removed);
      expect(await lab.builder.inspect(removed)).toBeUndefined();
      const id = await made('two');
      const [listed] = await lab.builder.list(labels);
      expect(listed).toMatchObject({ id, labels, createdAt: expect.stringMatching(/^\d{4}-/) });
      expect(await lab.builder.isUsed(listed!)).toBe(false);
      expect(await lab.builder.discard(listed!)).toBe(true);
      expect(await lab.builder.discard(listed!)).toBe(true);
      expect(await lab.builder.list(labels)).toEqual([]);
    });
  });
}
