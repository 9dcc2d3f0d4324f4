import { minVersion, valid } from 'semver';
import { z } from 'zod';
import type { DependencyUpdate, PinnedDependency } from '../../domain/dependency-update.ts';
import { ProviderError } from '../../domain/failures.ts';
import { type LockSession, withNpmLock } from './npm-lock.ts';
import type { ManifestChange, ManifestFiles, ManifestIndex, ManifestKind } from './port.ts';

const lockName = 'package-lock.json';
/** Locks of other tools, which are not run here. */
const foreignLocks = ['npm-shrinkwrap.json', 'yarn.lock', 'pnpm-lock.yaml', 'bun.lock', 'bun.lockb'];
/** What is installed for users and for work on it; what others are asked to bring (`peerDependencies`) is a promise and no pin. */
const sections = ['dependencies', 'devDependencies', 'optionalDependencies'] as const;

const Ranges = z.record(z.string(), z.string());
const Document = z.looseObject({
  dependencies: Ranges.optional(),
  devDependencies: Ranges.optional(),
  optionalDependencies: Ranges.optional(),
  engines: z.unknown().optional(),
  workspaces: z.unknown().optional(),
});
type Document = z.infer<typeof Document>;
const Engines = z.object({ node: z.string() });
const Lock = z.object({
  lockfileVersion: z.number(),
  packages: z.record(
    z.string(),
    z.object({
      version: z.string().optional(),
      resolved: z.string().optional(),
      link: z.boolean().optional(),
    }),
  ),
});
type Lock = z.infer<typeof Lock>;

/** npm's own rule for names (validate-npm-package-name), without what only old packages have. */
const packageName = /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*$/;
/** An exact version, or one with `^` or `~` before it: what is written anew as it was. Other ranges are a person's decision. */
const simpleRange = /^([~^=]?)v?(\d+\.\d+\.\d+(?:-[\w.-]+)?(?:\+[\w.-]+)?)$/;
/** A path. npm would read it from this machine. */
const local = /^(?:file:|link:|portal:|workspace:|[./]|~\/|[a-z]:\\)/i;

/** `package.json`, and its `package-lock.json`, which npm itself makes anew. */
export const npmManifest: ManifestKind = {
  ecosystem: 'npm',
  matches: (path) => /(?:^|\/)package\.json$/.test(path) && !/(?:^|\/)node_modules\//.test(path),
  locks: [lockName],
  foreignLocks,

  read(files) {
    const document = documentOf(files.text);
    if (document === undefined) return refuse('it is no JSON that npm would take');
    const node = Engines.safeParse(document.engines).data?.node;
    const runtime = node === undefined ? {} : { runtime: node };
    const problem = problemOf(document, files);
    const pins = problem === undefined ? pinsOf(files.path, document, lockOf(files)) : [];
    if (problem !== undefined) {
      // Without anything to look after there is nothing to complain of.
      return rangesOf(document).length === 0 ? { dependencies: [], problems: [] } : refuse(problem);
    }
    return { dependencies: pins, problems: [], ...runtime };
  },

  async update(files, updates, index) {
    const document = documentOf(files.text);
    if (document === undefined)
      throw new ProviderError('ProcessFailed', `${files.path} is no JSON that npm would take`);
    const wanted = updates.filter(({ version, name }) =>
      pinsOf(files.path, document, lockOf(files)).some((pin) => pin.name === name && pin.version === version),
    );
    if (!(lockName in files.beside)) {
      return { files: { 'package.json': rewritten(files.text, wanted, 'kept') }, left: [] };
    }
    return await withNpmLock(files.beside[lockName] ?? '', index, (session) =>
      relocked(session, { files, wanted, index }),
    );
  },
};

interface Relocking {
  readonly files: ManifestFiles;
  readonly wanted: readonly DependencyUpdate[];
  readonly index: ManifestIndex;
}

/** All at once; where npm finds no tree for that, one after the other, and what does not fit with those before is left. */
async function relocked(session: LockSession, { files, wanted, index }: Relocking): Promise<ManifestChange> {
  const attempt = async (updates: readonly DependencyUpdate[]): Promise<ManifestChange['files']> => {
    // Exactly first: a range would be locked at its newest, which the policy may not let through. Then the range again, which that is in.
    await session.lock(rewritten(files.text, updates, 'exact'));
    const text = rewritten(files.text, updates, 'kept');
    return { 'package.json': text, [lockName]: await session.lock(text) };
  };
  try {
    return { files: await attempt(wanted), left: [] };
  } catch (error) {
    if (!isConflict(error) || wanted.length === 1) throw error;
  }
  const made: DependencyUpdate[] = [];
  const left: ManifestChange['left'][number][] = [];
  let changed: ManifestChange['files'] = {};
  for (const update of wanted) {
    index.signal.throwIfAborted();
    session.restore();
    try {
      changed = await attempt([...made, update]);
      made.push(update);
    } catch (error) {
      if (!isConflict(error)) throw error;
      left.push({ update, reason: error.message });
    }
  }
  return { files: changed, left };
}

function isConflict(error: unknown): error is ProviderError {
  return error instanceof ProviderError && error.type === 'ProcessFailed';
}

function refuse(problem: string): { readonly dependencies: readonly []; readonly problems: readonly [string] } {
  return { dependencies: [], problems: [problem] };
}

function documentOf(text: string): Document | undefined {
  try {
    return Document.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function lockOf({ beside }: ManifestFiles): Lock | undefined {
  try {
    return Lock.parse(JSON.parse(beside[lockName] ?? ''));
  } catch {
    return undefined;
  }
}

/** Why it is left alone as a whole. */
function problemOf(document: Document, files: ManifestFiles): string | undefined {
  const foreign = foreignLocks.find((name) => name in files.beside);
  if (foreign !== undefined) return `${foreign} lies beside it, which Slipway cannot make anew`;
  if (document.workspaces !== undefined) return 'it has workspaces, which are not looked after';
  const path = rangesOf(document).find(([, range]) => local.test(range));
  if (path !== undefined) return `${JSON.stringify(path[0])} is a folder, which npm would read from this machine`;
  if (!(lockName in files.beside)) return undefined;
  const lock = lockOf(files);
  if (lock === undefined) return `${lockName} cannot be read, or is larger than what is read`;
  if (lock.lockfileVersion < 2) return `${lockName} is of a version before 2, which npm 7 and later replace`;
  const odd = Object.entries(lock.packages).find(
    ([place, { link, resolved }]) =>
      link === true ||
      (place !== '' && !/^node_modules\//.test(place)) ||
      place.split('/').includes('..') ||
      (resolved !== undefined && !/^https?:\/\//.test(resolved) && !/^git(?:\+|:)/.test(resolved)),
  );
  if (odd !== undefined)
    return `${lockName} names ${JSON.stringify(odd[0].slice(0, 80))}, which npm would read from this machine`;
  return undefined;
}

function rangesOf(document: Document): readonly (readonly [string, string])[] {
  return sections.flatMap((section) => Object.entries(document[section] ?? {}));
}

function pinsOf(manifest: string, document: Document, lock: Lock | undefined): readonly PinnedDependency[] {
  const pins = new Map<string, PinnedDependency>();
  for (const [name, range] of rangesOf(document)) {
    if (!packageName.test(name) || !simpleRange.test(range)) continue;
    const locked = lock?.packages[`node_modules/${name}`]?.version;
    const version = lock === undefined ? minVersion(range)?.version : locked;
    if (version === undefined || valid(version) === null) continue;
    pins.set(name, { ecosystem: 'npm', manifest, name, version });
  }
  return [...pins.values()];
}

/** The same text with other versions, in its own indentation; `exact`: without `^` and `~`. */
function rewritten(text: string, updates: readonly DependencyUpdate[], form: 'exact' | 'kept'): string {
  const to = new Map(updates.map((update) => [update.name, update.to]));
  // Not what was checked of it, for that has another order.
  const changed = JSON.parse(text) as Document;
  for (const section of sections) {
    for (const [name, range] of Object.entries(changed[section] ?? {})) {
      const version = to.get(name);
      const [, prefix] = simpleRange.exec(range) ?? [];
      if (version === undefined || prefix === undefined) continue;
      (changed[section] ??= {})[name] = form === 'exact' ? version : `${prefix}${version}`;
    }
  }
  const indent = /^[{[]\s*?\n([ \t]+)/.exec(text)?.[1] ?? '  ';
  const end = text.endsWith('\n') ? '\n' : '';
  const written = JSON.stringify(changed, null, text.includes('\n') ? indent : undefined) + end;
  return text.includes('\r\n') ? written.replaceAll('\n', '\r\n') : written;
}
