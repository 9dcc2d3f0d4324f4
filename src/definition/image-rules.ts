/** Rules of project.yaml about what must be known of images: nothing is demanded that nobody could ever give. */
import { group, groupAt, list } from './lenient.ts';
import type { Finding } from './problems.ts';
import { environmentsOf } from './rules.ts';

/** Signatures are demanded by keys, and attestations by whoever signs here. */
export function trustHasKeys(document: unknown): readonly Finding[] {
  const images = groupAt(document, 'images');
  const places = [
    { path: ['images'], images },
    ...environmentsOf(document).map(({ path, environment }) => ({
      path: [...path, 'images'],
      images: group(environment['images']),
    })),
  ];
  return places.flatMap(({ path, images: own }) => [
    ...(own['requireSignature'] === true && list(images['trust']).length === 0
      ? [
          {
            path: [...path, 'requireSignature'],
            message: 'is asked for, but no key is trusted: nothing could ever be deployed',
            hint: 'Add the public key under `images.trust`.',
          },
        ]
      : []),
    ...(own['attestation'] === 'required' && (list(images['trust']).length === 0 || images['signing'] === undefined)
      ? [
          {
            path: [...path, 'attestation'],
            message: `is \`required\`, but ${images['signing'] === undefined ? 'nothing is signed here' : 'no key is trusted'}: nothing could ever be deployed`,
            hint: 'Give `images.signing` the private key and `images.trust` its public one.',
          },
        ]
      : []),
  ]);
}

/** How seriously an environment takes scans means nothing where nothing is scanned. */
export function scansAreMade(document: unknown): readonly Finding[] {
  if (groupAt(document, 'images')['scan'] !== undefined) return [];
  return environmentsOf(document).flatMap(({ path, environment }) => {
    const mode = group(environment['images'])['scan'];
    if (mode === undefined || mode === 'off') return [];
    return [
      {
        path: [...path, 'images', 'scan'],
        message: 'is asked for, but the project does not scan its images',
        hint: 'Say under `images.scan` which scanner does, and where its database lies.',
      },
    ];
  });
}

/** Who protects a branch can only be asked of a forge that answers. */
export function protectionIsAsked(document: unknown): readonly Finding[] {
  const repository = groupAt(document, 'repository');
  if (repository['protection'] === undefined || group(repository['forge'])['api'] !== undefined) return [];
  return [
    {
      path: ['repository', 'protection'],
      message: 'is asked for, but nothing says how the forge can be asked',
      hint: 'Give `repository.forge` an `api` with a token that may read branch protection.',
      atKey: true,
    },
  ];
}

/** A registry is logged in to in one way. */
export function registryHasOneLogin(document: unknown): readonly Finding[] {
  const registry = groupAt(document, 'registry');
  const given = ['credentials', 'credentialHelper', 'ecr'].filter((name) => registry[name] !== undefined);
  const [first, second] = given;
  if (first === undefined || second === undefined) return [];
  return [
    {
      path: ['registry', second],
      message: `stands beside \`${first}\``,
      hint: 'Keep one of them: only one way of logging in is used.',
      atKey: true,
    },
  ];
}
