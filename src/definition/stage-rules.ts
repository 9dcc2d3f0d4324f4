/** What the schema cannot say of stages: what they need, what their matrix makes of them, and what their steps hand on. */
import type { Path } from './document.ts';
import { type Group, group, groupAt, groups, list, text, texts } from './lenient.ts';
import { type Combination, combinationsOf, fillIn, namesIn, stageNameOf } from './matrix.ts';
import { parameterVariable } from './parameters.ts';
import type { Finding } from './problems.ts';
import { ReportPath } from './kinds/report.ts';
import { Glob, ImageReference, mostCombinations, mostStages } from './stages.ts';
import { suggestion } from './suggest.ts';

type Rule = (document: unknown) => readonly Finding[];

export const stageRules: readonly Rule[] = [
  stagesDoOneThing,
  startsAreFilledIn,
  needsAreStages,
  needsAreNoCircle,
  matricesAreBounded,
  stageNamesStayUnique,
  imagesAreFilledIn,
  pathsAreFilledIn,
  reportsAreApart,
  partsAreNamedOnce,
  documentationIsAFolder,
  triesMayBeRepeated,
  outputsAreGivenOnce,
];

interface StagePlace {
  readonly path: Path;
  readonly stage: Group;
  readonly name: string;
  readonly combinations: readonly Combination[];
}

/** Every stage of a document with its combinations, as far as they can be read; one without values where it has no matrix. */
function stagesOf(document: unknown): readonly StagePlace[] {
  return groups(group(document)['stages']).map(([index, stage]) => ({
    path: ['stages', index],
    stage,
    name: text(stage['name']) ?? '',
    combinations: stage['matrix'] === undefined ? [{}] : readCombinations(group(stage['matrix'])),
  }));
}

/** Combinations of a matrix, as far as they can be read. */
export function readCombinations(matrix: Group): readonly Combination[] {
  const values = Object.entries(group(matrix['values'])).map(
    ([name, given]) => [name, list(given).flatMap(scalar)] as const,
  );
  return combinationsOf(
    {
      values: Object.fromEntries(values),
      include: groups(matrix['include']).map(([, one]) => combination(one)),
      exclude: groups(matrix['exclude']).map(([, one]) => combination(one)),
    },
    mostCombinations,
  );
}

function combination(given: Group): Combination {
  return Object.fromEntries(Object.entries(given).flatMap(([name, value]) => scalar(value).map((one) => [name, one])));
}

function scalar(value: unknown): readonly string[] {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? [String(value)] : [];
}

/** What only steps can make use of. */
const ofSteps = ['parallel', 'services', 'caches', 'artifacts', 'reports'] as const;

/** Defaults stand in the document as if somebody had written them; what is empty says nothing. */
function saysSomething(value: unknown): boolean {
  return value === true || list(value).length > 0 || Object.keys(group(value)).length > 0;
}

function stagesDoOneThing(document: unknown): readonly Finding[] {
  return stagesOf(document).flatMap(({ path, stage }): readonly Finding[] => {
    if (stage['starts'] === undefined) {
      if (saysSomething(stage['steps'])) return [];
      return [
        {
          path,
          message: 'has no steps',
          hint: 'Add `steps:`, or `starts:` for a run of another project.',
          lacks: [
            [...path, 'steps'],
            [...path, 'starts'],
          ],
        },
      ];
    }
    if (saysSomething(stage['steps'])) {
      const hint = 'Keep one of the two; a stage of its own can come after this one.';
      return [{ path: [...path, 'steps'], message: 'stands beside `starts`', hint, atKey: true }];
    }
    return ofSteps
      .filter((name) => saysSomething(stage[name]))
      .map((name) => ({
        path: [...path, name],
        message: 'has no effect on a stage that starts a run of another project',
        hint: 'Leave it out.',
        atKey: true,
      }));
  });
}

/** What every run knows of itself; beside these, its parameters and the values of the matrix. */
export const startVariables = [
  'SLIPWAY_PROJECT',
  'SLIPWAY_RUN',
  'SLIPWAY_STAGE',
  'SLIPWAY_COMMIT',
  'SLIPWAY_REF',
  'SLIPWAY_VERSION',
] as const;

function startsAreFilledIn(document: unknown): readonly Finding[] {
  const declared = Object.keys(groupAt(document, 'parameters')).map(parameterVariable);
  return stagesOf(document).flatMap(({ path, stage, combinations }) => {
    const values = combinations.map((combination) => Object.keys(combination));
    return Object.entries(groupAt(stage, 'starts', 'parameters')).flatMap(([name, value]): readonly Finding[] => {
      const known = [...new Set([...values.flat(), ...startVariables, ...declared])];
      const missing = namesIn(text(value) ?? '').find(
        (one) =>
          !values.every((names) => names.includes(one)) &&
          ![...startVariables, ...declared].includes(one) &&
          // A repository that declares no parameters takes whatever is given.
          !(declared.length === 0 && one.startsWith('SLIPWAY_PARAMETER_')),
      );
      if (missing === undefined) return [];
      return [
        {
          path: [...path, 'starts', 'parameters', name],
          message: `has \`{${missing}}\`, which no run of it knows`,
          hint: suggestion(missing, known),
        },
      ];
    });
  });
}

function needsAreStages(document: unknown): readonly Finding[] {
  const stages = stagesOf(document);
  const names = stages.map(({ name }) => name).filter((name) => name !== '');
  return stages.flatMap(({ path, stage, name }) =>
    texts(stage['needs']).flatMap(([index, needed]): readonly Finding[] => {
      const place = [...path, 'needs', index];
      if (needed === name) return [{ path: place, message: 'is the stage itself', hint: 'Leave it out.' }];
      if (names.includes(needed)) return [];
      const others = names.filter((other) => other !== name);
      return [
        { path: place, message: `is \`${needed}\`, which is none of the stages`, hint: suggestion(needed, others) },
      ];
    }),
  );
}

function needsAreNoCircle(document: unknown): readonly Finding[] {
  const stages = stagesOf(document);
  const before = new Map(
    stages.map(({ name, stage }, index) => [
      name,
      stage['needs'] === undefined
        ? stages.slice(0, index).map((other) => other.name)
        : texts(stage['needs']).map(([, needed]) => needed),
    ]),
  );
  const done = new Set<string>();
  const way: string[] = [];

  /** The first circle that is found on the way; one is enough to be told of. */
  function circle(name: string): readonly string[] | undefined {
    if (done.has(name)) return undefined;
    const at = way.indexOf(name);
    if (at >= 0) return [...way.slice(at), name];
    way.push(name);
    for (const needed of before.get(name) ?? []) {
      // Needing itself is told of by its own rule.
      const found = needed === name ? undefined : circle(needed);
      if (found !== undefined) return found;
    }
    way.pop();
    done.add(name);
    return undefined;
  }

  for (const { name } of stages) {
    way.length = 0;
    const found = circle(name);
    if (found === undefined) continue;
    const place = stages.find((stage) => found.includes(stage.name) && stage.stage['needs'] !== undefined);
    return [
      {
        path: [...(place?.path ?? ['stages']), 'needs'],
        message: `leads in a circle: ${found.join(' → ')}`,
        hint: 'A stage without `needs` comes after every stage above it; give it `needs` of its own, or put it first.',
      },
    ];
  }
  return [];
}

function matricesAreBounded(document: unknown): readonly Finding[] {
  const stages = stagesOf(document);
  const each = stages.flatMap(({ path, stage, combinations }): readonly Finding[] => {
    if (stage['matrix'] === undefined) return [];
    const place = [...path, 'matrix'];
    if (combinations.length === 0) {
      return [{ path: place, message: 'makes no combination', hint: 'Give it `values`, or leave it out.' }];
    }
    if (combinations.length <= mostCombinations) return [];
    const message = `makes more than the ${mostCombinations} combinations that a matrix may have`;
    return [
      { path: place, message, hint: 'Leave some out with `exclude`, or name the ones you want under `include`.' },
    ];
  });
  const all = stages.reduce((sum, { combinations }) => sum + combinations.length, 0);
  if (each.length > 0 || all <= mostStages) return each;
  const message = `make ${all} with all their combinations, more than the ${mostStages} that a run may have`;
  return [{ path: ['stages'], message, hint: 'Leave out combinations with `exclude`.' }];
}

function stageNamesStayUnique(document: unknown): readonly Finding[] {
  const holders = new Map<string, string>();
  const matrices = stagesOf(document).flatMap(({ stage, name }) => (stage['matrix'] === undefined ? [] : [name]));
  return stagesOf(document).flatMap(({ path, stage, name, combinations }): readonly Finding[] => {
    const hasMatrix = stage['matrix'] !== undefined;
    for (const values of combinations) {
      const whole = hasMatrix ? stageNameOf(name, values) : name;
      const holder = holders.get(whole);
      // Whoever needs one by its name would get the other.
      const other = matrices.find((base) => base === whole && base !== name);
      if (other !== undefined) {
        return [
          {
            path: [...path, hasMatrix ? 'matrix' : 'name'],
            message: `makes a stage \`${whole}\`, which is the name of a matrix`,
            hint: 'Give one of them another name.',
          },
        ];
      }
      // Two stages of one name are told of by the rule for all names.
      if (holder !== undefined && (hasMatrix || holder !== name)) {
        return [
          {
            path: hasMatrix ? [...path, 'matrix'] : [...path, 'name'],
            message: `makes a second stage \`${whole}\`${holder === name ? '' : `, as ${holder} does`}`,
            hint: 'Names are made of the values in small letters and digits; make these differ.',
          },
        ];
      }
      holders.set(whole, name);
    }
    return [];
  });
}

function imagesAreFilledIn(document: unknown): readonly Finding[] {
  return stagesOf(document).flatMap((place) =>
    groups(place.stage['steps']).flatMap(([index, step]): readonly Finding[] => {
      const image = text(step['image']);
      if (image === undefined) return [];
      return filledIn(place, [...place.path, 'steps', index, 'image'], image, (filled) =>
        ImageReference.safeParse(filled).success ? undefined : 'is no name of an image',
      );
    }),
  );
}

/** Paths of reports and artifacts: a value may be part of a name there, and never make a pattern of it. */
function pathsAreFilledIn(document: unknown): readonly Finding[] {
  return stagesOf(document).flatMap((place) => {
    const within =
      (schema: { safeParse(path: string): { readonly success: boolean } }, written: string) => (filled: string) => {
        if (!schema.safeParse(filled).success) return 'is no path in the repository';
        const joker = /[*?[\]{}]/g;
        return (filled.match(joker)?.length ?? 0) > (fillIn(written, blank(written)).match(joker)?.length ?? 0)
          ? 'matches more than the file of its own combination'
          : undefined;
      };
    const artifacts = groups(place.stage['artifacts']).flatMap(([index, artifact]) =>
      texts(artifact['paths']).map(([at, path]) => ({ at: ['artifacts', index, 'paths', at], path, schema: Glob })),
    );
    const reports = reportPathsOf(place.stage).map((one) => ({ ...one, schema: ReportPath }));
    return [...reports, ...artifacts].flatMap(({ at, path, schema }) =>
      filledIn(place, [...place.path, ...at], path, within(schema, path)),
    );
  });
}

/** What stands in braces, each as nothing. */
function blank(written: string): Combination {
  return Object.fromEntries(namesIn(written).map((name) => [name, '']));
}

/**
 * What is wrong with a text into which values of a matrix are put, in the first combination in which something is.
 *
 * @param judge - what is wrong with it filled in; undefined: nothing.
 */
function filledIn(
  { stage, combinations }: StagePlace,
  path: Path,
  written: string,
  judge: (filled: string) => string | undefined,
): readonly Finding[] {
  const names = namesIn(written);
  if (names.length === 0) return [];
  for (const values of combinations) {
    const missing = names.find((name) => values[name] === undefined);
    if (missing !== undefined) {
      const where = stage['matrix'] === undefined ? '; the stage has none' : ' in every combination';
      return [
        {
          path,
          message: `has \`{${missing}}\`, which is no value of the matrix${where}`,
          hint: suggestion(missing, Object.keys(values)),
        },
      ];
    }
    const filled = fillIn(written, values);
    const wrong = judge(filled);
    if (wrong === undefined) continue;
    const hint = 'Change the value of the matrix that stands in it.';
    return [{ path, message: `would be \`${filled}\`, which ${wrong}`, hint }];
  }
  return [];
}

/** Paths of the reports of a stage and of its steps, each with its place in the stage. */
function reportPathsOf(stage: Group): readonly { readonly at: Path; readonly path: string }[] {
  const own = (holder: Group, before: Path): readonly { readonly at: Path; readonly path: string }[] =>
    groups(holder['reports']).flatMap(([index, report]) => {
      const path = text(report['path']);
      return path === undefined ? [] : [{ at: [...before, 'reports', index, 'path'], path }];
    });
  return [...groups(stage['steps']).flatMap(([index, step]) => own(step, ['steps', index])), ...own(stage, [])];
}

/** Combinations that run at once work in one checkout: a lost report of one of them must not be made up for by that of another. */
function reportsAreApart(document: unknown): readonly Finding[] {
  return stagesOf(document).flatMap(({ path, stage, combinations }) => {
    if (combinations.length < 2 || combinations.length > mostCombinations) return [];
    if (group(stage['matrix'])['maxParallel'] === 1) return [];
    return reportPathsOf(stage).flatMap(({ at, path: written }): readonly Finding[] => {
      const filled = combinations.map((values) => fillIn(written, values));
      const twice = filled.find((one, index) => filled.indexOf(one) !== index);
      if (twice === undefined) return [];
      const names = [...new Set(combinations.flatMap(Object.keys))].map((name) => `\`{${name}}\``);
      return [
        {
          path: [...path, ...at],
          message: `is \`${twice}\` in more than one combination, which run at once in one checkout`,
          hint: `Let each write a file of its own, with ${names.join(' and ')} in its name, or set \`maxParallel: 1\`.`,
        },
      ];
    });
  });
}

function partsAreNamedOnce(document: unknown): readonly Finding[] {
  return stagesOf(document).flatMap(({ path, stage }) =>
    ['caches', 'artifacts'].flatMap((section) => {
      const seen = new Set<string>();
      return groups(stage[section]).flatMap(([index, part]): readonly Finding[] => {
        const name = text(part['name']);
        if (name === undefined || !seen.has(name)) {
          if (name !== undefined) seen.add(name);
          return [];
        }
        const place = [...path, section, index, 'name'];
        return [{ path: place, message: `is \`${name}\` a second time`, hint: 'Give each its own name.' }];
      });
    }),
  );
}

function documentationIsAFolder(document: unknown): readonly Finding[] {
  return stagesOf(document).flatMap(({ path, stage }) =>
    groups(stage['artifacts']).flatMap(([index, artifact]): readonly Finding[] => {
      if (artifact['kind'] !== 'documentation') return [];
      const paths = texts(artifact['paths']);
      const wrong = paths.find(([at, one]) => at !== 0 || /[*?[\]]|^\.?\/*$/.test(one));
      if (wrong === undefined) return [];
      return [
        {
          path: [...path, 'artifacts', index, 'paths', wrong[0]],
          message: `is \`${wrong[1]}\`, but documentation is one folder below the root of the repository`,
          hint: 'Name the folder that its `index.html` lies in, without a pattern.',
        },
      ];
    }),
  );
}

function triesMayBeRepeated(document: unknown): readonly Finding[] {
  return stagesOf(document).flatMap(({ path, stage }) =>
    groups(stage['steps']).flatMap(([index, step]): readonly Finding[] => {
      if (step['retry'] === undefined || step['once'] !== true) return [];
      const place = [...path, 'steps', index, 'retry'];
      return [{ path: place, message: 'stands beside `once`', hint: 'Keep one of the two.', atKey: true }];
    }),
  );
}

function outputsAreGivenOnce(document: unknown): readonly Finding[] {
  const givers = new Map<string, string>();
  return stagesOf(document).flatMap(({ path, stage, name }) =>
    groups(stage['steps']).flatMap(([index, step]) => {
      const own = `${name}/${text(step['name']) ?? index}`;
      return texts(step['outputs']).flatMap(([at, output]): readonly Finding[] => {
        const giver = givers.get(output);
        if (giver === undefined) {
          givers.set(output, own);
          return [];
        }
        const place = [...path, 'steps', index, 'outputs', at];
        const message = `is \`${output}\`, which ${giver === own ? 'stands there already' : `${giver} hands on already`}`;
        return [{ path: place, message, hint: 'Give each value its own name: later steps know it by that only.' }];
      });
    }),
  );
}
