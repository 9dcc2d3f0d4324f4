import type { DependencyUpdate, PinnedDependency } from '../../domain/dependency-update.ts';
import type { ManifestIndex, ManifestKind } from './port.ts';
import { readRequirement, withVersion } from './requirement-line.ts';

/** `requirements.txt`, `requirements-dev.txt`, `constraints.txt`, and what lies in `requirements/`. */
const form = /(?:^|\/)(?:(?:requirements|constraints)[\w.-]*|requirements\/[\w.-]+)\.txt$/;
/** Options behind a requirement: `--hash=…`, `--config-settings …` (pip, "Requirements File Format"). */
const options = /\s--[a-z]/;
const hash = /--hash[= ]\s*sha256:[0-9a-f]{64}/;

/** One line as pip reads it: those that end with a backslash go on. */
interface LogicalLine {
  /** As they stand, joined by line feeds. */
  readonly raw: string;
  /** In one piece, without options and comment. */
  readonly requirement: string;
}

/** Requirements of pip, pinned by `==`; their hashes are those of the new files. */
export const requirementsManifest: ManifestKind = {
  ecosystem: 'python',
  matches: (path) => form.test(path),
  locks: [],
  foreignLocks: [],

  read({ path, text }) {
    const dependencies: PinnedDependency[] = [];
    const problems: string[] = [];
    for (const { requirement } of linesOf(text)) {
      const read = readRequirement(requirement);
      if (read.kind === 'pin') dependencies.push({ ecosystem: 'python', manifest: path, ...read.pin });
      if (read.kind === 'unreadable') problems.push(`${JSON.stringify(requirement.slice(0, 80))} is no requirement`);
    }
    return { dependencies, problems };
  },

  async update({ path, text }, updates, index) {
    const lines: string[] = [];
    const left = new Map<DependencyUpdate, string>();
    for (const line of linesOf(text)) {
      const read = readRequirement(line.requirement);
      const update =
        read.kind === 'pin'
          ? updates.find(({ name, version }) => name === read.pin.name && version === read.pin.version)
          : undefined;
      const changed = update === undefined ? line.raw : await updated(line.raw, update, index);
      if (update !== undefined && changed === undefined) left.set(update, 'the index gives no hashes for its files');
      lines.push(changed ?? line.raw);
    }
    const name = path.split('/').at(-1) ?? path;
    return { files: { [name]: lines.join('\n') }, left: [...left].map(([update, reason]) => ({ update, reason })) };
  },
};

/** Undefined where its files are pinned by hashes, and there are none. */
async function updated(raw: string, update: DependencyUpdate, index: ManifestIndex): Promise<string | undefined> {
  const changed = withVersion(raw, update.version, update.to);
  if (!hash.test(raw)) return changed;
  const hashes = (await index.readVersion(update.name, update.to))?.hashes ?? [];
  if (hashes.length === 0) return undefined;
  // Each in the way that the first one stands there: on a line of its own, mostly.
  const first = /(\s*\\?\s*)(--hash[= ]\s*)sha256:[0-9a-f]{64}/.exec(changed);
  const [, gap = ' ', option = '--hash='] = first ?? [];
  const all = [...new Set(hashes)]
    .sort()
    .map((each) => `${gap}${option}${each}`)
    .join('');
  let placed = false;
  return changed.replaceAll(/\s*\\?\s*--hash[= ]\s*\w+:[0-9a-fA-F]+/g, () => {
    if (placed) return '';
    placed = true;
    return all;
  });
}

function linesOf(text: string): readonly LogicalLine[] {
  const lines: LogicalLine[] = [];
  let open: string[] = [];
  for (const raw of text.split('\n')) {
    open.push(raw);
    if (/\\\r?$/.test(raw) && !/^\s*#/.test(raw)) continue;
    lines.push(logical(open));
    open = [];
  }
  if (open.length > 0) lines.push(logical(open));
  return lines;
}

function logical(parts: readonly string[]): LogicalLine {
  const joined = parts.map((part) => part.replace(/\\?\r?$/, '')).join(' ');
  const plain = joined.replace(/(?:^|\s)#.*$/, '');
  const at = plain.search(options);
  return { raw: parts.join('\n'), requirement: (at === -1 ? plain : plain.slice(0, at)).trim() };
}
