/** What images may ask of the builds of their project: secrets, keys, networks, caches and platforms. */
import { imagePlaces } from './image-rules.ts';
import { type Group, group, groupAt, groups, list, text, texts } from './lenient.ts';
import type { Finding } from './problems.ts';
import { suggestion } from './suggest.ts';

/** What of the images of a repository the project does not offer. */
export function buildsAreOffered(repository: unknown, project: unknown): readonly Finding[] {
  return [
    ...buildSecretsExist(repository, project),
    ...buildsStayInTheirNetwork(repository, project),
    ...builderCanDoIt(repository, project),
    ...cachesAreOffered(repository, project),
  ];
}

function buildSecretsExist(repository: unknown, project: unknown): readonly Finding[] {
  const builds = groupAt(project, 'builds');
  const known = Object.keys(group(builds['secrets']));
  return groups(group(repository)['images']).flatMap(([index, image]) => [
    ...texts(image['secrets']).flatMap(([place, name]) =>
      known.includes(name)
        ? []
        : [
            {
              path: ['images', index, 'secrets', place],
              message: `is \`${name}\`, which the project does not offer to builds`,
              hint: known.length === 0 ? 'Ask for it under `builds.secrets` of the project.' : suggestion(name, known),
            },
          ],
    ),
    ...sshIsOffered(index, image, builds),
  ]);
}

function buildsStayInTheirNetwork(repository: unknown, project: unknown): readonly Finding[] {
  if (groupAt(project, 'builds')['network'] !== 'none') return [];
  return groups(group(repository)['images']).flatMap(([index, image]) =>
    image['network'] === 'default'
      ? [
          {
            path: ['images', index, 'network'],
            message: 'is `default`, but the project builds without a network',
            hint: 'Leave it out, and bring what the build needs with the source.',
          },
        ]
      : [],
  );
}

function sshIsOffered(index: number, image: Group, builds: Group): readonly Finding[] {
  const path = ['images', index, 'ssh'];
  if (image['ssh'] === true && builds['sshKey'] === undefined) {
    const message = 'is asked for, but the project has no key for builds';
    return [{ path, message, hint: 'Ask for `builds.sshKey` in the project.' }];
  }
  const known = Object.keys(group(builds['ssh']));
  return texts(image['ssh']).flatMap(([place, name]) =>
    known.includes(name)
      ? []
      : [
          {
            path: [...path, place],
            message: `is \`${name}\`, which the project does not offer to builds`,
            hint: known.length === 0 ? 'Ask for it under `builds.ssh` of the project.' : suggestion(name, known),
          },
        ],
  );
}

/** One engine keeps an image of one platform, and its builder writes no cache to a registry. */
function builderCanDoIt(repository: unknown, project: unknown): readonly Finding[] {
  if (groupAt(project, 'builds', 'builder')['kind'] === 'buildkit') return [];
  const hint =
    'Ask for `builds.builder` in the project: `{ kind: buildkit, address: unix:///run/buildkit/buildkitd.sock }`.';
  return groups(group(repository)['images']).flatMap(([index, image]) => {
    const place = text(group(image['cache'])['export']);
    return [
      ...(list(image['platforms']).length > 1
        ? [
            {
              path: ['images', index, 'platforms'],
              message: 'are several, but the project builds by a Docker engine, which keeps one of them',
              hint,
            },
          ]
        : []),
      ...(place !== undefined && place !== 'inline'
        ? [
            {
              path: ['images', index, 'cache', 'export'],
              message:
                'goes to a registry, but the project builds by a Docker engine, which keeps its layers to itself',
              hint: `${hint} Or export \`inline\`.`,
            },
          ]
        : []),
    ];
  });
}

/** Caches lie where the project says, and never where images do: whoever writes a cache could give a tag another image. */
function cachesAreOffered(repository: unknown, project: unknown): readonly Finding[] {
  const known = texts(groupAt(project, 'builds')['caches']).map(([, place]) => place);
  const registry = groupAt(project, 'registry');
  const prefix = text(registry['prefix']) ?? text(group(project)['project']) ?? '';
  const images = imagePlaces(repository).flatMap(({ names }) =>
    names.map((name) => [text(registry['address']), prefix, name].filter((part) => part !== '').join('/')),
  );
  return groups(group(repository)['images']).flatMap(([index, image]) => {
    const cache = group(image['cache']);
    const at = ['images', index, 'cache'];
    const places = [
      ...texts(cache['import']).map(([place, value]) => ({ path: [...at, 'import', place], value })),
      ...[text(cache['export'])].flatMap((value) =>
        value === undefined || value === 'inline' ? [] : [{ path: [...at, 'export'], value }],
      ),
    ];
    return places.flatMap(({ path, value }): readonly Finding[] => {
      const repositoryName = value.slice(0, value.lastIndexOf(':'));
      if (!known.includes(repositoryName)) {
        const message = `lies in \`${repositoryName}\`, which the project does not offer to builds`;
        const hint =
          known.length === 0 ? 'Ask for it under `builds.caches` of the project.' : suggestion(repositoryName, known);
        return [{ path, message, hint }];
      }
      if (!images.includes(repositoryName)) return [];
      return [{ path, message: 'lies where one of the images does', hint: 'Give caches a repository of their own.' }];
    });
  });
}
