import { group, groupAt, groups, list, text, texts } from './lenient.ts';
import type { Finding } from './problems.ts';
import { suggestion } from './suggest.ts';

/** An index is asked in one way, and over TLS unless it is said otherwise. */
export function packageIndexesAreAsked(document: unknown): readonly Finding[] {
  return Object.entries(groupAt(document, 'packageIndexes')).flatMap(([name, value]): readonly Finding[] => {
    const index = group(value);
    const path = ['packageIndexes', name];
    const addresses = ['url', 'simple'].flatMap((part) => {
      const url = text(index[part]);
      return url === undefined ? [] : [{ part, url }];
    });
    const plain = index['insecure'] === true ? undefined : addresses.find(({ url }) => /^http:/i.test(url));
    const legacy = text(index['url'])?.replace(/\/+$/, '').endsWith('/legacy') === true;
    return [
      ...(index['token'] !== undefined && index['credentials'] !== undefined
        ? [
            {
              path: [...path, 'credentials'],
              message: 'stands beside `token`',
              hint: 'Keep one of the two: only one way of logging in is used.',
              atKey: true,
            },
          ]
        : []),
      ...(plain === undefined
        ? []
        : [
            {
              path: [...path, plain.part],
              message: 'is plain `http`: whoever is on the way can read the token and change the package',
              hint: 'Write `https`, or `insecure: true` for an index on this machine.',
            },
          ]),
      ...(index['kind'] === 'python' && legacy && index['simple'] === undefined
        ? [
            {
              path: [...path, 'url'],
              message: 'ends in `legacy/`, which is only uploaded to',
              hint: 'Name under `simple` where the index is asked, such as `https://pypi.org/simple/`.',
            },
          ]
        : []),
    ];
  });
}

/** What a route publishes to there has to be, and a pull request is nothing that was agreed to. */
export function routesPublishSomewhere(document: unknown): readonly Finding[] {
  const known = Object.keys(groupAt(document, 'packageIndexes'));
  return groups(group(document)['routes']).flatMap(([index, route]) => {
    const path = ['routes', index, 'publish'];
    if (route['on'] === 'pull-request' && list(route['publish']).length > 0) {
      return [
        {
          path,
          message: 'is on a route of pull requests, and what is published cannot be taken back',
          hint: 'Publish by the route of the branch or tag that they are merged into.',
          atKey: true,
        },
      ];
    }
    return texts(route['publish']).flatMap(([at, name]): readonly Finding[] =>
      known.includes(name)
        ? []
        : [
            {
              path: [...path, at],
              message: `is \`${name}\`, which is none of the \`packageIndexes\``,
              hint: suggestion(name, known),
            },
          ],
    );
  });
}

/** Packages go where the project says, in the form that is taken there. */
export function packagesHaveIndexes(repository: unknown, project: unknown): readonly Finding[] {
  const indexes = groupAt(project, 'packageIndexes');
  const known = Object.keys(indexes);
  return groups(group(repository)['packages']).flatMap(([at, one]): readonly Finding[] => {
    const name = text(one['index']);
    if (name === undefined) return [];
    const path = ['packages', at, 'index'];
    if (!known.includes(name)) {
      const hint =
        known.length === 0 ? 'Have it added to the `packageIndexes` of the project.' : suggestion(name, known);
      return [{ path, message: `is \`${name}\`, which the project does not know`, hint }];
    }
    const kind = text(group(indexes[name])['kind']);
    if (kind === undefined || one['kind'] === undefined || kind === one['kind']) return [];
    return [
      {
        path,
        message: `is \`${name}\`, which takes packages of the kind \`${kind}\` only`,
        hint: 'Name an index of the same `kind`.',
      },
    ];
  });
}
