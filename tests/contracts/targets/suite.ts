import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ReleaseImage } from '../../../src/domain/release.ts';
import type { SlotSpec, Target } from '../../../src/providers/targets/port.ts';

/** A target under test; its image serves its version on 8080, and ends with status 3 when `FAIL=start`. */
export interface TargetLab {
  readonly target: Target;
  readonly image: ReleaseImage;
  readonly ports: { readonly blue: number; readonly green: number };
  /** Makes releases of this version end at once. */
  breakVersion(version: string): Promise<Readonly<Record<string, string>>>;
  stop(): Promise<void>;
}

/** What every target keeps, the fake included. */
export function describeTarget(name: string, start: () => Promise<TargetLab>): void {
  describe(`target ${name}`, () => {
    let lab: TargetLab;
    const project = `contract-${process.pid}`;
    const blue = { project, environment: 'production', slot: 'blue' } as const;
    const green = { project, environment: 'production', slot: 'green' } as const;

    function spec(slot: 'blue' | 'green', version: string, env: Readonly<Record<string, string>> = {}): SlotSpec {
      return {
        project,
        environment: 'production',
        slot,
        release: { version, commit: 'c0ffee', images: [lab.image] },
        image: lab.image,
        deployment: 7,
        env,
        secretEnv: { TOKEN: 'not for labels' },
        hostPort: lab.ports[slot],
        containerPort: 8080,
        resources: { cpus: 0.5, memoryBytes: 128 * 1024 * 1024 },
        stopGraceMs: 2_000,
      };
    }

    beforeAll(async () => {
      lab = await start();
    }, 180_000);
    afterAll(async () => {
      for (const ref of [blue, green]) await lab.target.ensureSlotRemoved(ref, { graceMs: 0 });
      await lab.stop();
    });

    test('an environment where nothing was put is empty', async () => {
      expect(await lab.target.readSlots({ project })).toEqual([]);
      await lab.target.ensureSlotStopped(blue, { graceMs: 0 });
      await lab.target.ensureSlotRemoved(blue, { graceMs: 0 });
      expect(await lab.target.readLastLines(blue, 10)).toEqual([]);
      await expect(lab.target.awaitHealthy(blue, { timeoutMs: 100 })).rejects.toMatchObject({ type: 'ReleaseMissing' });
    });

    test('says what it runs', async () => {
      expect(await lab.target.readPlatform()).toMatch(/^linux\/(?:amd64|arm64|arm\/v7|ppc64le|riscv64|s390x)$/);
    });

    test('runs a release, and tells all of it from its own records', async () => {
      const placed = await lab.target.ensureSlot(spec('blue', '1.3.0'));
      expect(placed).toMatchObject({ changed: true, name: `${project}-production-blue-1.3.0` });
      await lab.target.awaitHealthy(blue, { timeoutMs: 60_000, path: '/health' });
      expect(await lab.target.readSlots({ project, environment: 'production' })).toMatchObject([
        {
          ...blue,
          release: { version: '1.3.0', commit: 'c0ffee', images: [lab.image] },
          deployment: 7,
          state: 'running',
          hostPort: lab.ports.blue,
          id: placed.id,
          restarts: 0,
        },
      ]);
    });

    test('tells the last lines that a release wrote, and no more of them than are asked for', async () => {
      expect((await lab.target.readLastLines(blue, 1)).length).toBe(1);
    });

    test('the same again changes nothing, also for another deployment', async () => {
      expect((await lab.target.ensureSlot({ ...spec('blue', '1.3.0'), deployment: 8 })).changed).toBe(false);
    });

    test('other settings or another secret make a new one', async () => {
      const before = await lab.target.ensureSlot(spec('blue', '1.3.0'));
      const changed = await lab.target.ensureSlot({ ...spec('blue', '1.3.0'), secretEnv: { TOKEN: 'another' } });
      expect(changed.changed).toBe(true);
      expect(changed.id).not.toBe(before.id);
      expect((await lab.target.ensureSlot(spec('blue', '1.3.0', { GREETING: 'hello' }))).changed).toBe(true);
    });

    test('the other slot is another place', async () => {
      await lab.target.ensureSlot(spec('green', '1.4.0'));
      await lab.target.awaitHealthy(green, { timeoutMs: 60_000, path: '/health' });
      const slots = await lab.target.readSlots({ project });
      expect(slots.map((state) => [state.slot, state.release.version, state.state])).toEqual([
        ['blue', '1.3.0', 'running'],
        ['green', '1.4.0', 'running'],
      ]);
    });

    test('reads its load as shares of its limits', async () => {
      const stats = await lab.target.readStats(green);
      expect(stats.cpuRatio).toBeGreaterThanOrEqual(0);
      expect(stats.memoryRatio).toBeGreaterThan(0);
      expect(stats.memoryRatio).toBeLessThan(1);
    });

    test('another release in a slot replaces the one there', async () => {
      expect((await lab.target.ensureSlot(spec('green', '1.5.0'))).changed).toBe(true);
      const slots = await lab.target.readSlots({ project });
      expect(slots.filter((state) => state.slot === 'green').map((state) => state.release.version)).toEqual(['1.5.0']);
    });

    test('a stopped slot keeps its release and starts again', async () => {
      await lab.target.ensureSlotStopped(green, { graceMs: 2_000 });
      expect(await lab.target.readSlots({ project })).toMatchObject([
        { slot: 'blue' },
        { slot: 'green', state: 'exited' },
      ]);
      await expect(lab.target.readStats(green)).rejects.toMatchObject({ type: 'ReleaseMissing' });
      await lab.target.ensureSlotStopped(green, { graceMs: 2_000 });
      expect((await lab.target.ensureSlot(spec('green', '1.5.0'))).changed).toBe(true);
      await lab.target.awaitHealthy(green, { timeoutMs: 60_000, path: '/health' });
    });

    test('a release that ends is unhealthy at once, with what it said', async () => {
      const env = await lab.breakVersion('1.6.0');
      await lab.target.ensureSlot(spec('green', '1.6.0', env));
      const startedAt = performance.now();
      await expect(lab.target.awaitHealthy(green, { timeoutMs: 20_000, path: '/health' })).rejects.toMatchObject({
        type: 'ContainerUnhealthy',
        retryable: false,
        details: { container: `${project}-production-green-1.6.0`, tries: expect.anything() },
      });
      expect(performance.now() - startedAt).toBeLessThan(5_000);
    });

    test('a port that is taken is told with who has it, and the slot is left empty', async () => {
      await expect(
        lab.target.ensureSlot({ ...spec('green', '1.7.0'), hostPort: lab.ports.blue }),
      ).rejects.toMatchObject({
        type: 'PortTaken',
        details: { port: lab.ports.blue, owner: `container ${project}-production-blue-1.3.0` },
      });
      expect((await lab.target.readSlots({ project })).map((state) => state.slot)).toEqual(['blue']);
    });

    test('removing empties the slot, and twice is as good as once', async () => {
      await lab.target.ensureSlotRemoved(blue, { graceMs: 0 });
      await lab.target.ensureSlotRemoved(blue, { graceMs: 0 });
      expect(await lab.target.readSlots({ project })).toEqual([]);
    });
  });
}
