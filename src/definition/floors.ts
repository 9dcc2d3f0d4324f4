/**
 * Rules between the two documents: what the project fixes, the repository can make stricter and never looser. A setting that would loosen
 * something is refused instead of passed over, so that nobody believes in it.
 */
import { buildsAreOffered } from './build-floors.ts';
import { gatesAreStricter, suppressionsAreAllowed } from './gate-floors.ts';
import { routesBuildTheService } from './image-rules.ts';
import { group, groupAt, groups, list, number, text, texts } from './lenient.ts';
import { packagesHaveIndexes } from './package-rules.ts';
import { Parameter, complaintOf } from './parameters.ts';
import type { Finding } from './problems.ts';
import { environmentsOf, stepsOf } from './places.ts';
import { suggestion } from './suggest.ts';

/** What of each document does not fit the other one. */
export interface PairFindings {
  readonly repository: readonly Finding[];
  readonly project: readonly Finding[];
}

/** Looks at both documents together; either may be wrong in other places. */
export function checkPair(repository: unknown, project: unknown): PairFindings {
  return {
    repository: [
      ...startsAreElsewhere(repository, project),
      ...stepsRunWhereAllowed(repository, project),
      ...stepsHaveImages(repository, project),
      ...stepSecretsExist(repository, project),
      ...stepsStayInTheirLimits(repository, project),
      ...buildsAreOffered(repository, project),
      ...packagesHaveIndexes(repository, project),
      ...probesStay(repository, project),
      ...migrationsAreAllowed(repository, project),
      ...watchIsStricter(repository, project),
      ...somethingIsDeployed(repository, project),
      ...gatesAreStricter(repository, project),
      ...suppressionsAreAllowed(repository, project),
    ],
    project: [
      ...migrationsHaveDatabases(repository, project),
      ...routesBuildTheService(repository, project),
      ...routesAskForParameters(repository, project),
    ],
  };
}

function startsAreElsewhere(repository: unknown, project: unknown): readonly Finding[] {
  const own = text(group(project)['project']);
  return groups(group(repository)['stages']).flatMap(([index, stage]) =>
    own !== undefined && groupAt(stage, 'starts')['project'] === own
      ? [
          {
            path: ['stages', index, 'starts', 'project'],
            message: `is \`${own}\`, the project itself: it would go in a circle`,
            hint: 'Make it a stage of its own, or name another project.',
          },
        ]
      : [],
  );
}

function stepsRunWhereAllowed(repository: unknown, project: unknown): readonly Finding[] {
  if (groupAt(project, 'steps')['executor'] !== 'container') return [];
  return stepsOf(repository).flatMap(({ path, step }) =>
    step['executor'] === 'host'
      ? [
          {
            path: [...path, 'executor'],
            message: 'is `host`, but the project lets steps run in containers only',
            hint: 'Name an `image` instead, or ask for `steps.executor: host` in the project.',
          },
        ]
      : [],
  );
}

function stepsHaveImages(repository: unknown, project: unknown): readonly Finding[] {
  const { executor, image } = groupAt(project, 'steps');
  const fallback = group(repository)['image'] ?? image;
  if (fallback !== undefined || executor === undefined) return [];
  return stepsOf(repository).flatMap(({ path, step }) => {
    const inContainer = executor === 'container' || step['executor'] === 'container';
    if (!inContainer || step['image'] !== undefined) return [];
    return [
      {
        path,
        message: 'runs in a container, and no image is named for it',
        hint: 'Add `image` here, at the top of the document for all steps, or under `steps` of the project.',
      },
    ];
  });
}

function stepSecretsExist(repository: unknown, project: unknown): readonly Finding[] {
  const known = Object.keys(groupAt(project, 'steps', 'secrets'));
  return stepsOf(repository).flatMap(({ path, step }) =>
    texts(step['secrets']).flatMap(([index, name]) =>
      known.includes(name)
        ? []
        : [
            {
              path: [...path, 'secrets', index],
              message: `is \`${name}\`, which the project does not offer to steps`,
              hint: known.length === 0 ? 'Ask for it under `steps.secrets` of the project.' : suggestion(name, known),
            },
          ],
    ),
  );
}

function stepsStayInTheirLimits(repository: unknown, project: unknown): readonly Finding[] {
  const steps = groupAt(project, 'steps');
  const limits = group(steps['resources']);
  return stepsOf(repository).flatMap(({ path, step }) => {
    const more = ['cpus', 'memory'].flatMap((name) => {
      const limit = number(limits[name]);
      const own = number(groupAt(step, 'resources')[name]);
      if (limit === undefined || own === undefined || own <= limit) return [];
      return [
        {
          path: [...path, 'resources', name],
          message: `is more than the project gives to a step`,
          hint: 'Make it smaller, or ask for more under `steps.resources` of the project.',
        },
      ];
    });
    if (steps['network'] !== 'none' || step['network'] !== 'bridge') return more;
    return [
      ...more,
      {
        path: [...path, 'network'],
        message: 'is `bridge`, but the steps of the project have no network',
        hint: 'Leave it out, or ask for `steps.network: bridge` in the project.',
      },
    ];
  });
}

function probesStay(repository: unknown, project: unknown): readonly Finding[] {
  const fixed = new Set(groups(group(project)['probes']).flatMap(([, probe]) => text(probe['name']) ?? []));
  return groups(group(repository)['probes']).flatMap(([index, probe]) => {
    const name = text(probe['name']);
    if (name === undefined || !fixed.has(name)) return [];
    return [
      {
        path: ['probes', index, 'name'],
        message: `is \`${name}\`, a probe that the project fixes`,
        hint: 'Give yours another name; both will be asked.',
      },
    ];
  });
}

function migrationsAreAllowed(repository: unknown, project: unknown): readonly Finding[] {
  const forbidden = groupAt(project, 'migrations')['runner'] === 'none';
  if (!forbidden || group(repository)['migrations'] === undefined) return [];
  return [
    {
      path: ['migrations'],
      message: 'is there, but the project allows no migrations',
      hint: 'Remove it, or ask for `migrations.runner: sql` in the project.',
      atKey: true,
    },
  ];
}

function migrationsHaveDatabases(repository: unknown, project: unknown): readonly Finding[] {
  if (group(repository)['migrations'] === undefined) return [];
  return environmentsOf(project).flatMap(({ name, path, environment }) =>
    environment['database'] === undefined
      ? [
          {
            path,
            message: `has no \`database\`, but the repository has migrations to run in \`${name}\``,
            hint: 'Describe the database of this environment.',
            atKey: true,
          },
        ]
      : [],
  );
}

/** Of a repository that declares none any may be given, and whatever it is. */
function routesAskForParameters(repository: unknown, project: unknown): readonly Finding[] {
  const declared = groupAt(repository, 'parameters');
  const names = Object.keys(declared);
  if (names.length === 0) return [];
  return groups(group(project)['routes']).flatMap(([index, route]) =>
    Object.entries(groupAt(route, 'when', 'parameter')).flatMap(([name, values]): readonly Finding[] => {
      const path = ['routes', index, 'when', 'parameter', name];
      if (!Object.hasOwn(declared, name)) {
        return [
          {
            path,
            message: `is no parameter that the repository declares`,
            hint: suggestion(name, names),
            atKey: true,
          },
        ];
      }
      const { data: parameter } = Parameter.safeParse(declared[name]);
      if (parameter === undefined) return [];
      return list(values).flatMap((value, at) => {
        const complaint = complaintOf(parameter, String(value));
        return complaint === undefined
          ? []
          : [
              {
                path: [...path, at],
                message: `is \`${String(value)}\`, but the parameter ${complaint}`,
                hint: 'Name values that it may have.',
              },
            ];
      });
    }),
  );
}

/** A figure is refused when it is looser than that of every environment; one that is stricter somewhere has its use there. */
function watchIsStricter(repository: unknown, project: unknown): readonly Finding[] {
  const environments = environmentsOf(project);
  if (environments.length === 0) return [];
  return ['warn', 'rollback'].flatMap((band) =>
    Object.entries(groupAt(repository, 'watch', band)).flatMap(([figure, value]) => {
      const own = number(value);
      const floors = environments.flatMap(
        ({ environment }) => number(groupAt(environment, 'watch', band)[figure]) ?? [],
      );
      if (own === undefined || floors.length === 0 || floors.some((floor) => own <= floor)) return [];
      return [
        {
          path: ['watch', band, figure],
          message: 'is looser than the project allows in any environment',
          hint: 'Leave it out, or make it stricter than the figure of the project.',
        },
      ];
    }),
  );
}

function somethingIsDeployed(repository: unknown, project: unknown): readonly Finding[] {
  const deploys =
    Object.keys(groupAt(project, 'environments')).length > 0 &&
    (group(project)['routes'] === undefined ||
      groups(group(project)['routes']).some(([, route]) => list(route['environments']).length > 0));
  if (!deploys || group(repository)['service'] !== undefined) return [];
  return [
    {
      path: ['service'],
      message: 'is missing, but the project deploys this repository',
      hint: 'Say what runs: `service: {image: …, port: …}`.',
    },
  ];
}
