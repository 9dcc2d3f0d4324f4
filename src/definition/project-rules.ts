/** Rules of `project.yaml`: each looks at a document that may be wrong in other places. `rules.ts` has the list. */
import type { Path } from './document.ts';
import { targetName } from './environment.ts';
import { group, groupAt, groups, list, number, text, texts } from './lenient.ts';
import { environmentsOf } from './places.ts';
import type { Finding } from './problems.ts';
import { beforeProduction, isProduction } from './production.ts';
import { suggestion } from './suggest.ts';

export function routesLeadSomewhere(document: unknown): readonly Finding[] {
  const known = Object.keys(groupAt(document, 'environments'));
  return groups(group(document)['routes']).flatMap(([index, route]) =>
    unknownNames(route['environments'], ['routes', index, 'environments'], known),
  );
}

export function notifiersKnowEnvironments(document: unknown): readonly Finding[] {
  const known = Object.keys(groupAt(document, 'environments'));
  return groups(group(document)['notifications']).flatMap(([index, notifier]) =>
    unknownNames(notifier['environments'], ['notifications', index, 'environments'], known),
  );
}

function unknownNames(names: unknown, path: Path, known: readonly string[]): readonly Finding[] {
  return texts(names).flatMap(([index, name]) =>
    known.includes(name)
      ? []
      : [
          {
            path: [...path, index],
            message: `is \`${name}\`, which is no environment of this project`,
            hint: known.length === 0 ? 'Add it under `environments`.' : suggestion(name, known),
          },
        ],
  );
}

export function routesAreReached(document: unknown): readonly Finding[] {
  const routes = groups(group(document)['routes']);
  return routes.flatMap(([index, route]) => {
    const covering = routes
      .slice(0, index)
      .find(
        ([, earlier]) =>
          earlier['on'] === route['on'] &&
          (earlier['ref'] === undefined || earlier['ref'] === '**' || earlier['ref'] === route['ref']) &&
          (['into', 'when', 'paths', 'ignorePaths'] as const).every((filter) => earlier[filter] === undefined),
      );
    if (covering === undefined) return [];
    return [
      {
        path: ['routes', index],
        message: `is never reached: routes[${covering[0]}] matches everything that it does, and the first match wins`,
        hint: 'Put the narrower route first.',
      },
    ];
  });
}

/** A tag and a run by hand are of the whole repository, and only a pull request goes into something. */
export function filtersHaveAUse(document: unknown): readonly Finding[] {
  return groups(group(document)['routes']).flatMap(([index, route]) => {
    const on = text(route['on']);
    const useless = [
      ...(on === 'tag' || on === 'manual' ? (['paths', 'ignorePaths'] as const) : []),
      ...(on !== undefined && on !== 'pull-request' ? (['into'] as const) : []),
    ].filter((filter) => route[filter] !== undefined);
    return useless.map((filter) => ({
      path: ['routes', index, filter],
      message: `has no effect on a route for \`${String(on)}\``,
      hint: 'Leave it out.',
      atKey: true,
    }));
  });
}

export function deploymentsHaveImages(document: unknown): readonly Finding[] {
  return groups(group(document)['routes']).flatMap(([index, { environments, buildImages }]) => {
    const level = text(buildImages);
    if (list(environments).length === 0 || level === undefined || level === 'push') return [];
    return [
      {
        path: ['routes', index, 'buildImages'],
        message: `is \`${level}\`, but this route deploys, and only pushed images can be deployed`,
        hint: 'Set it to `push`, or leave it out.',
      },
    ];
  });
}

export function approvalsCanBeMet(document: unknown): readonly Finding[] {
  return environmentsOf(document).flatMap(({ name, environment, path }) => {
    const approval = group(environment['approval']);
    const required = approval['required'] ?? isProduction(name, productionOf(environment));
    if (required !== true || !Array.isArray(approval['rules']) || approval['rules'].length > 0) return [];
    return [
      {
        path: [...path, 'approval', 'rules'],
        message: 'is empty, but approval is required: nobody could ever give it',
        hint: 'Name at least one group, or say `required: false`.',
      },
    ];
  });
}

export function groupsAreAskedOnce(document: unknown): readonly Finding[] {
  return environmentsOf(document).flatMap(({ environment, path }) => {
    const seen = new Set<string>();
    return groups(groupAt(environment, 'approval')['rules']).flatMap(([index, rule]) => {
      const name = text(rule['group']);
      if (name === undefined || !seen.has(name)) {
        if (name !== undefined) seen.add(name);
        return [];
      }
      return [
        {
          path: [...path, 'approval', 'rules', index, 'group'],
          message: `is \`${name}\` a second time`,
          hint: 'Ask once, with the number of people in `count`.',
        },
      ];
    });
  });
}

function productionOf(environment: Readonly<Record<string, unknown>>): { production?: boolean } {
  const { production } = environment;
  return typeof production === 'boolean' ? { production } : {};
}

/** A rule that asks where a release has been before would be met by nothing, and so ask for nothing. */
export function promotionsHaveAStaging(document: unknown): readonly Finding[] {
  if (Object.hasOwn(groupAt(document, 'environments'), beforeProduction)) return [];
  return environmentsOf(document).flatMap(({ environment, path }) => {
    const rule = text(environment['requireStagingSuccess']);
    if (rule === undefined || rule === 'off') return [];
    return [
      {
        path: [...path, 'requireStagingSuccess'],
        message: `is \`${rule}\`, but the project has no environment \`${beforeProduction}\` that a release could have been in`,
        hint: `Name the environment before this one \`${beforeProduction}\`, or write \`off\`.`,
      },
    ];
  });
}

export function portsAreFree(document: unknown): readonly Finding[] {
  const taken = new Map<number, string>();
  return environmentsOf(document).flatMap(({ environment, path }) => {
    const places = [
      [...path, 'router', 'listen', 'port'],
      [...path, 'router', 'slots', 'blue'],
      [...path, 'router', 'slots', 'green'],
    ];
    return places.flatMap((place) => {
      const [section = '', part = '', leaf = ''] = place.slice(2);
      const port = number(groupAt(environment, section, part)[leaf]);
      if (port === undefined) return [];
      const holder = taken.get(port);
      if (holder === undefined) {
        taken.set(port, place.join('.'));
        return [];
      }
      return [
        {
          path: place,
          message: `is ${port}, which ${holder} has already`,
          hint: 'Give each its own port: both slots run at once, behind the router.',
        },
      ];
    });
  });
}

export function targetsAreDistinct(document: unknown): readonly Finding[] {
  const project = text(group(document)['project']) ?? '';
  const holders = new Map<string, string>();
  return environmentsOf(document).flatMap(({ name, environment, path }) => {
    const given = text(groupAt(environment, 'target')['name']);
    const target = targetName(project, name, given === undefined ? {} : { name: given });
    const holder = holders.get(target);
    if (holder === undefined) {
      holders.set(target, name);
      return [];
    }
    return [
      {
        path: [...path, 'target', 'name'],
        message: `is \`${target}\`, which is the target of \`${holder}\``,
        hint: 'Give each environment its own: containers and locks are found by this name.',
      },
    ];
  });
}

export function bandsAreInOrder(document: unknown): readonly Finding[] {
  return environmentsOf(document).flatMap(({ environment, path }) =>
    ['errors', 'p95'].flatMap((figure) => {
      const warn = number(groupAt(environment, 'watch', 'warn')[figure]);
      const rollback = number(groupAt(environment, 'watch', 'rollback')[figure]);
      if (warn === undefined || rollback === undefined || warn <= rollback) return [];
      return [
        {
          path: [...path, 'watch', 'warn', figure],
          message: 'is above the figure that rolls back, so nobody would be warned before',
          hint: 'Make it at most that of `watch.rollback`.',
        },
      ];
    }),
  );
}

export function restoresHaveBackups(document: unknown): readonly Finding[] {
  return environmentsOf(document).flatMap(({ environment, path }) => {
    const automatic = groupAt(environment, 'rollback')['restore'] === 'automatic';
    const hasDatabase = environment['database'] !== undefined;
    if (!automatic || (hasDatabase && groupAt(environment, 'backup')['database'] !== false)) return [];
    return [
      {
        path: [...path, 'rollback', 'restore'],
        message: `is \`automatic\`, but ${hasDatabase ? 'the database is not backed up' : 'there is no database'}`,
        hint: hasDatabase ? 'Leave out `backup.database: false`.' : 'Leave it out, or describe the `database`.',
      },
    ];
  });
}

export function settingsAreNotSecret(document: unknown): readonly Finding[] {
  return environmentsOf(document).flatMap(({ environment, path }) => {
    const settings = group(environment['env']);
    return Object.keys(group(environment['secrets'])).flatMap((name) =>
      Object.hasOwn(settings, name)
        ? [
            {
              path: [...path, 'env', name],
              message: 'is a secret of this environment too',
              hint: 'Keep it under `secrets` only.',
              atKey: true,
            },
          ]
        : [],
    );
  });
}
