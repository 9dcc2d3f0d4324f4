/** Rules about images: what is built when, and what must be known of it, so that nothing is demanded that nobody could ever give. */
import { type Group, group, groupAt, groups, list, text, texts } from './lenient.ts';
import { namesIn, stageNameOf } from './matrix.ts';
import type { Finding } from './problems.ts';
import { environmentsOf } from './places.ts';
import { readCombinations } from './stage-rules.ts';
import { mostCombinations } from './stages.ts';
import { suggestion } from './suggest.ts';

/** As many as a document may have, whatever its matrices make of them. */
const mostImages = 50;

interface ImagePlace {
  readonly index: number;
  readonly image: Group;
  readonly hasMatrix: boolean;
  readonly combinations: readonly Readonly<Record<string, string>>[];
  /** Its own, or one for each combination. */
  readonly names: readonly string[];
}

/** Every image of a document, as far as it can be read. */
export function imagePlaces(document: unknown): readonly ImagePlace[] {
  return groups(group(document)['images']).map(([index, image]) => {
    const hasMatrix = image['matrix'] !== undefined;
    const combinations = hasMatrix ? readCombinations(group(image['matrix'])) : [{}];
    const name = text(image['name']);
    const names =
      name === undefined ? [] : combinations.map((values) => (hasMatrix ? stageNameOf(name, values) : name));
    return { index, image, hasMatrix, combinations, names };
  });
}

/** A matrix of images makes some, not too many, each with a name of its own and arguments that are filled in. */
export function imageMatricesFit(document: unknown): readonly Finding[] {
  const places = imagePlaces(document);
  const seen = new Set<string>();
  const findings = places.flatMap(({ index, image, hasMatrix, combinations, names }): readonly Finding[] => {
    const path = ['images', index, 'matrix'];
    // Two images of one name are told of by the rule for all names.
    const twice = hasMatrix ? names.find((name, at) => seen.has(name) || names.indexOf(name) < at) : undefined;
    for (const name of names) seen.add(name);
    // Without a matrix braces are an argument's own.
    if (!hasMatrix) return [];
    if (combinations.length === 0) {
      return [{ path, message: 'makes no combination', hint: 'Give it `values`, or leave it out.' }];
    }
    if (combinations.length > mostCombinations) {
      const message = `makes more than the ${mostCombinations} combinations that a matrix may have`;
      return [{ path, message, hint: 'Leave some out with `exclude`.' }];
    }
    if (twice !== undefined) {
      const hint = 'Names are made of the values in small letters and digits; make these differ.';
      return [{ path, message: `makes a second image \`${twice}\``, hint }];
    }
    return argumentsAreFilled(index, image, combinations);
  });
  const all = places.reduce((sum, { names }) => sum + names.length, 0);
  if (findings.length > 0 || all <= mostImages) return findings;
  const message = `make ${all} with all their combinations, more than the ${mostImages} that a run may have`;
  return [{ path: ['images'], message, hint: 'Leave out combinations with `exclude`.' }];
}

function argumentsAreFilled(index: number, image: Group, combinations: ImagePlace['combinations']): readonly Finding[] {
  return Object.entries(group(image['args'])).flatMap(([name, value]): readonly Finding[] => {
    const missing = namesIn(text(value) ?? '').find((one) => combinations.some((values) => values[one] === undefined));
    if (missing === undefined) return [];
    return [
      {
        path: ['images', index, 'args', name],
        message: `has \`{${missing}}\`, which is no value of the matrix in every combination`,
        hint: suggestion(missing, Object.keys(combinations[0] ?? {})),
      },
    ];
  });
}

/** A group that no image is in is a slip of the pen. */
export function imageGroupsHaveImages(document: unknown): readonly Finding[] {
  const known = groupsOf(document);
  return Object.keys(groupAt(document, 'imageGroups')).flatMap((name) =>
    known.includes(name)
      ? []
      : [
          {
            path: ['imageGroups', name],
            message: 'is a group that no image is in',
            hint: known.length === 0 ? 'Give images this `group`.' : suggestion(name, known),
            atKey: true,
          },
        ],
  );
}

function groupsOf(document: unknown): readonly string[] {
  const named = groups(group(document)['images']).flatMap(([, image]) => text(image['group']) ?? []);
  return [...new Set(named)];
}

/** What a route deploys it has to build, whatever the repository's conditions say besides. */
export function routesBuildTheService(repository: unknown, project: unknown): readonly Finding[] {
  const wanted = text(groupAt(repository, 'service')['image']);
  const place = imagePlaces(repository).find(({ names }) => wanted !== undefined && names.includes(wanted));
  const own = text(place?.image['group']);
  if (own === undefined) return [];
  return groups(group(project)['routes']).flatMap(([index, route]) => {
    if (route['imageGroups'] === undefined || list(route['environments']).length === 0) return [];
    if (texts(route['imageGroups']).some(([, name]) => name === own)) return [];
    return [
      {
        path: ['routes', index, 'imageGroups'],
        message: `leaves out \`${own}\`, the group of the image \`${wanted ?? ''}\` that this route deploys`,
        hint: `Add \`${own}\`.`,
      },
    ];
  });
}

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

/** Only a forge that answers can be asked who protects a branch, or told what was found. */
export function protectionIsAsked(document: unknown): readonly Finding[] {
  const repository = groupAt(document, 'repository');
  if (group(repository['forge'])['api'] !== undefined) return [];
  return ['protection', 'findings']
    .filter((name) => repository[name] !== undefined)
    .map((name) => ({
      path: ['repository', name],
      message: 'is asked for, but nothing says how the forge can be asked',
      hint: 'Give `repository.forge` an `api` with a token that may.',
      atKey: true,
    }));
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

/** Whoever reaches a builder runs what they like on its machine, as root. */
export function builderIsGuarded(document: unknown): readonly Finding[] {
  const builder = groupAt(document, 'builds', 'builder');
  const host = /^tcp:\/\/([^:]+)/.exec(text(builder['address']) ?? '')?.[1];
  if (host === undefined || builder['tls'] !== undefined || /^(?:localhost|127\.)/.test(host)) return [];
  return [
    {
      path: ['builds', 'builder', 'address'],
      message:
        'is reached over a network without `tls`, so that anybody on it could build there, and run what they like',
      hint: 'Give it `tls` with `ca`, `certificate` and `key`, or a `unix://` socket on the worker.',
    },
  ];
}

/** Groups mean nothing on a route that builds no image. */
export function groupsAreBuilt(document: unknown): readonly Finding[] {
  return groups(group(document)['routes']).flatMap(([index, route]) => {
    const builds = route['buildImages'] ?? (list(route['environments']).length > 0 ? 'push' : 'none');
    if (route['imageGroups'] === undefined || builds !== 'none') return [];
    return [
      {
        path: ['routes', index, 'imageGroups'],
        message: 'is there, but this route builds no image',
        hint: 'Say `buildImages`, or leave it out.',
      },
    ];
  });
}
