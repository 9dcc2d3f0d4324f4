/**
 * The probes that every release has, whatever the documents say: floors that the repository can make stricter and never looser. What would
 * loosen one is refused where a document is read; where one was stored before that, the figures of the floor hold.
 */
import { group, groupAt, groups, number, text } from './lenient.ts';
import type { Finding } from './problems.ts';
import type { ContainerProbeSpec, HttpProbeSpec, ProbeSpec } from './specs/probe.ts';

/** As the defaults of a probe are (`kinds/probe.ts`). */
const patience = { retries: 3, intervalMs: 2_000, timeoutMs: 5_000 } as const;

/** The figures in which more is looser, as they stand in a document. */
const figures = { retries: 'retries', interval: 'intervalMs', timeout: 'timeoutMs' } as const;
const shown = { retries: '3', interval: '2s', timeout: '5s' } as const;
const kinds: Readonly<Record<string, ProbeSpec['kind']>> = { container: 'container', health: 'http' };

/** What each release is asked: whether its container runs, and whether it answers at its health path. */
export function floorProbes(healthPath: string): readonly [ContainerProbeSpec, HttpProbeSpec] {
  return [
    { kind: 'container', name: 'container', through: 'both', ...patience },
    {
      kind: 'http',
      name: 'health',
      through: 'both',
      method: 'GET',
      path: healthPath,
      expectStatus: 200,
      ...patience,
    },
  ];
}

/**
 * A probe that the repository gives in the place of one that every release has: what of it is stricter, and the floor in all else. One of
 * another kind is no such probe, and the floor stays as it is.
 */
export function stricterProbe(floor: ContainerProbeSpec | HttpProbeSpec, own: ProbeSpec): ProbeSpec {
  if (own.kind !== floor.kind) return floor;
  const strict = {
    ...floor,
    retries: Math.min(floor.retries, own.retries),
    intervalMs: Math.min(floor.intervalMs, own.intervalMs),
    timeoutMs: Math.min(floor.timeoutMs, own.timeoutMs),
  };
  if (own.kind !== 'http') return strict;
  return {
    ...strict,
    ...(own.expectBody === undefined ? {} : { expectBody: own.expectBody }),
    ...(own.versionField === undefined ? {} : { versionField: own.versionField }),
  };
}

/** What of the repository's own `container` and `health` would be milder than those that every release has. */
export function probesAreNotLooser(document: unknown): readonly Finding[] {
  const healthPath = text(groupAt(document, 'service', 'health')['path']);
  return groups(group(document)['probes']).flatMap(([index, probe]) => {
    const name = text(probe['name']);
    const kind = text(probe['kind']);
    const floor = name === undefined || !Object.hasOwn(kinds, name) ? undefined : kinds[name];
    if (name === undefined || kind === undefined || floor === undefined) return [];
    if (kind !== floor) {
      return [
        {
          path: ['probes', index, 'kind'],
          message: `is \`${kind}\`, but the probe \`${name}\` that every release has is of kind \`${floor}\``,
          hint: 'Give your probe another name; the other one stays beside it.',
        },
      ];
    }
    const slack = Object.entries(figures).flatMap(([setting, figure]) => {
      const own = number(probe[setting]);
      if (own === undefined || own <= patience[figure]) return [];
      return looser(name, index, setting, `at most ${shown[setting as keyof typeof shown]}`);
    });
    if (floor !== 'http') return slack;
    const fixed = { path: healthPath, method: 'GET', expectStatus: 200, through: 'both' };
    const other = Object.entries(fixed).flatMap(([setting, must]) => {
      const own = probe[setting];
      return must === undefined || own === undefined || own === must ? [] : looser(name, index, setting, String(must));
    });
    return [...slack, ...other];
  });
}

function looser(name: string, index: number, setting: string, must: string): readonly Finding[] {
  return [
    {
      path: ['probes', index, setting],
      message: `makes the probe \`${name}\` milder, which every release must pass: ${setting} of it is ${must}`,
      hint: `Write \`${setting}: ${must.replace('at most ', '')}\`, or give your probe another name; the other one stays beside it. Only \`probes\` of the project can make it milder.`,
    },
  ];
}
