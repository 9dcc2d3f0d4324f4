/** Rules of gates: within a document, and what the project fixes and the repository can only make stricter. */
import { type GateName, type GatePolicy, defaultGate, gateNames } from '../domain/gate.ts';
import { type Severity, rankOf } from '../domain/report.ts';
import { type Group, group, groupAt, list, number, text } from './lenient.ts';
import type { Path } from './document.ts';
import type { Finding } from './problems.ts';
import { environmentsOf } from './places.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** One setting that has a stricter side. */
interface Measure {
  readonly name: string;
  /** How strict a value is, the higher the stricter; undefined where it is none. */
  strictness(value: unknown): number | undefined;
  /** How strict it is where no document says anything. */
  byDefault(gate: GatePolicy): number;
}

const modes: Readonly<Record<string, number>> = { off: 0, warn: 1, block: 2 };
const negative = (value: unknown): number | undefined => {
  const given = number(value);
  return given === undefined ? undefined : -given;
};

const measures: readonly Measure[] = [
  { name: 'mode', strictness: (value) => modes[text(value) ?? ''], byDefault: ({ mode }) => modes[mode] ?? 0 },
  {
    name: 'severity',
    strictness: (value) => (typeof value === 'string' ? rankOf(value as Severity) : undefined),
    byDefault: ({ least }) => rankOf(least),
  },
  { name: 'min', strictness: number, byDefault: ({ coverage }) => coverage.min },
  { name: 'critical', strictness: number, byDefault: ({ coverage }) => coverage.critical },
  { name: 'score', strictness: number, byDefault: ({ score }) => score },
  { name: 'allowed', strictness: negative, byDefault: ({ allowed }) => -allowed },
  { name: 'imageAge', strictness: negative, byDefault: ({ imageAgeDays }) => -imageAgeDays * dayMs },
  { name: 'databaseAge', strictness: negative, byDefault: ({ databaseAgeDays }) => -databaseAgeDays * dayMs },
  { name: 'backupAge', strictness: negative, byDefault: ({ backupAgeHours }) => -backupAgeHours * hourMs },
  {
    name: 'baseline',
    strictness: (value) => (value === 'none' ? 1 : value === 'last-release' ? 0 : undefined),
    byDefault: ({ baseline }) => (baseline === 'none' ? 1 : 0),
  },
];

/** A setting is refused when it is looser than that of every environment; one that is stricter somewhere has its use there. */
export function gatesAreStricter(repository: unknown, project: unknown): readonly Finding[] {
  return gatesOf(repository).flatMap(({ gate, settings, path }) =>
    measures.flatMap((measure) => {
      const own = measure.strictness(settings[measure.name]);
      if (own === undefined || floorsOf(project, gate, measure).some((floor) => own >= floor)) return [];
      return [
        {
          path: [...path, measure.name],
          message: 'is looser than the project asks for anywhere',
          hint: `Leave it out, or make it stricter; the floor is set under \`gates.${gate}\` of the project.`,
        },
      ];
    }),
  );
}

/** That of the runs, and that of each environment. */
function floorsOf(project: unknown, gate: GateName, measure: Measure): readonly number[] {
  const fallback = measure.byDefault(defaultGate(gate));
  const ofProject = measure.strictness(groupAt(project, 'gates', gate)[measure.name]);
  const ofEnvironments = environmentsOf(project).map(
    ({ environment }) => measure.strictness(groupAt(environment, 'gates', gate)[measure.name]) ?? ofProject ?? fallback,
  );
  return [ofProject ?? fallback, ...ofEnvironments];
}

/** Whoever can push must not be able to put aside what stops the push. */
export function suppressionsAreAllowed(repository: unknown, project: unknown): readonly Finding[] {
  const { suppressions } = group(project);
  if (suppressions === 'repository' || suppressions === undefined) return [];
  return gatesOf(repository).flatMap(({ settings, path }) =>
    list(settings['suppressions']).length === 0
      ? []
      : [
          {
            path: [...path, 'suppressions'],
            message: 'is there, but the project keeps suppressions to itself',
            hint: 'Ask for them under `gates` of the project, or for `suppressions: repository` there.',
            atKey: true,
          },
        ],
  );
}

/** A floor above the minimum would make the minimum mean nothing. */
export function criticalIsBelowMinimum(document: unknown): readonly Finding[] {
  const places = [
    { path: [], within: group(document) },
    ...environmentsOf(document).map(({ path, environment }) => ({ path, within: environment })),
  ];
  return places.flatMap(({ path, within }) => {
    const { min, critical } = groupAt(within, 'gates', 'coverage');
    const least = number(min) ?? defaultGate('coverage').coverage.min;
    const floor = number(critical);
    if (floor === undefined || floor <= least) return [];
    return [
      {
        path: [...path, 'gates', 'coverage', 'critical'],
        message: 'is above the minimum, which would then never be what decides',
        hint: 'Make it at most `min`.',
      },
    ];
  });
}

function gatesOf(
  document: unknown,
): readonly { readonly gate: GateName; readonly settings: Group; readonly path: Path }[] {
  const gates = groupAt(document, 'gates');
  return gateNames
    .filter((gate) => gates[gate] !== undefined)
    .map((gate) => ({ gate, settings: group(gates[gate]), path: ['gates', gate] }));
}
