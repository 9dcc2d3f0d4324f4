import { parse } from 'smol-toml';
import { z } from 'zod';
import type { DependencyUpdate, PinnedDependency } from '../../domain/dependency-update.ts';
import type { ManifestKind } from './port.ts';
import { readRequirement, withVersion } from './requirement-line.ts';

/** Locks that are made from it by tools that are not run here: without them they would not fit any more. */
const foreignLocks = ['poetry.lock', 'uv.lock', 'pdm.lock', 'pylock.toml'];

/** PEP 621, PEP 735 and PEP 518. */
const Document = z.object({
  project: z
    .object({
      'requires-python': z.string().optional(),
      dependencies: z.array(z.string()).optional(),
      'optional-dependencies': z.record(z.string(), z.array(z.string())).optional(),
    })
    .optional(),
  'dependency-groups': z.record(z.string(), z.array(z.unknown())).optional(),
  'build-system': z.object({ requires: z.array(z.string()).optional() }).optional(),
});

/** `pyproject.toml`: what it pins by `==` in its dependencies, its extras, its groups and what it is built with. */
export const pyprojectManifest: ManifestKind = {
  ecosystem: 'python',
  matches: (path) => /(?:^|\/)pyproject\.toml$/.test(path),
  locks: [],
  foreignLocks,

  read({ path, text, beside }) {
    const document = documentOf(text);
    if (document === undefined) return { dependencies: [], problems: ['it is no TOML that the standards know'] };
    const runtime = document.project?.['requires-python'];
    const dependencies: PinnedDependency[] = [];
    const problems: string[] = [];
    for (const requirement of requirementsOf(document)) {
      const read = readRequirement(requirement);
      if (read.kind === 'unreadable') problems.push(`${JSON.stringify(requirement.slice(0, 80))} is no requirement`);
      if (read.kind === 'pin') dependencies.push({ ecosystem: 'python', manifest: path, ...read.pin });
    }
    const lock = foreignLocks.find((name) => name in beside);
    if (dependencies.length > 0 && lock !== undefined) {
      return { dependencies: [], problems: [...problems, `${lock} lies beside it, which Slipway cannot make anew`] };
    }
    return { dependencies, problems, ...(runtime === undefined ? {} : { runtime }) };
  },

  update({ path, text }, updates) {
    let changed = text;
    const left: { readonly update: DependencyUpdate; readonly reason: string }[] = [];
    const document = documentOf(text);
    const requirements = document === undefined ? [] : [...new Set(requirementsOf(document))];
    for (const update of updates) {
      let found = false;
      for (const requirement of requirements) {
        const read = readRequirement(requirement);
        if (read.kind !== 'pin' || read.pin.name !== update.name || read.pin.version !== update.version) continue;
        const next = withVersion(requirement, update.version, update.to);
        for (const quote of ['"', "'"]) {
          const literal = `${quote}${requirement}${quote}`;
          found ||= changed.includes(literal);
          changed = changed.replaceAll(literal, () => `${quote}${next}${quote}`);
        }
      }
      if (!found) left.push({ update, reason: 'it is written in a way that is not changed by itself' });
    }
    const name = path.split('/').at(-1) ?? path;
    return Promise.resolve({ files: { [name]: changed }, left });
  },
};

function documentOf(text: string): z.infer<typeof Document> | undefined {
  try {
    return Document.parse(parse(text));
  } catch {
    return undefined;
  }
}

function requirementsOf(document: z.infer<typeof Document>): readonly string[] {
  const { project, 'dependency-groups': groups = {}, 'build-system': build } = document;
  return [
    ...(project?.dependencies ?? []),
    ...Object.values(project?.['optional-dependencies'] ?? {}).flat(),
    ...Object.values(groups)
      .flat()
      .filter((each) => typeof each === 'string'),
    ...(build?.requires ?? []),
  ];
}
