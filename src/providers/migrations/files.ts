import { createHash } from 'node:crypto';
import { ProviderError } from '../../domain/failures.ts';
import type { MigrationKind } from '../../domain/migration.ts';
import type { MigrationFile } from './port.ts';

const downSuffix = '.down.sql';
const header = /^\s*--\s*slipway:\s*(\S+)\s*$/m;
const kinds: readonly MigrationKind[] = ['expand', 'reversible', 'contract'];

/**
 * Makes migrations of the files of a folder: `NNN_name.sql` in the order of the names, `NNN_name.down.sql` beside those that can be taken
 * back. The kind stands in a comment, `-- slipway: expand`; without one a file with a way down is `reversible` and any other `contract`,
 * for what nobody has called harmless is not.
 *
 * @throws `DefinitionInvalid` (not retried): an unknown kind, a way down without its file, `reversible` without a way down, two files of
 * one number
 */
export function migrationsOf(
  files: readonly { readonly path: string; readonly text: string }[],
): readonly MigrationFile[] {
  const sql = files.filter((file) => file.path.endsWith('.sql') && !file.path.includes('/'));
  const downs = new Map(sql.filter((file) => file.path.endsWith(downSuffix)).map((file) => [file.path, file.text]));
  const forward = sql.filter((file) => !downs.has(file.path)).sort((a, b) => (a.path < b.path ? -1 : 1));
  const problems: string[] = [];
  const seen = new Map<string, string>();
  for (const { path } of forward) {
    const number = /^\d+/.exec(path)?.[0];
    if (number === undefined) problems.push(`${path}: the name must begin with its number, such as 003_${path}`);
    else if (seen.has(number)) problems.push(`${path}: ${seen.get(number) ?? ''} has the number ${number} already`);
    else seen.set(number, path);
  }
  const migrations = forward.map(({ path, text }): MigrationFile => {
    const downPath = path.replace(/\.sql$/, downSuffix);
    const down = downs.get(downPath);
    downs.delete(downPath);
    const written = header.exec(text)?.[1];
    const kind = kinds.find((each) => each === written) ?? (down === undefined ? 'contract' : 'reversible');
    if (written !== undefined && written !== kind) {
      problems.push(`${path}: \`-- slipway: ${written}\` is no kind of migration; it is one of ${kinds.join(', ')}`);
    }
    if (kind === 'reversible' && down === undefined)
      problems.push(`${path}: is called reversible but has no ${downPath}`);
    const checksum = createHash('sha256').update(text).digest('hex');
    return { name: path, checksum, kind, sql: text, ...(down === undefined ? {} : { down }) };
  });
  for (const path of downs.keys()) problems.push(`${path}: takes back a migration that is not there`);
  if (problems.length > 0) {
    throw new ProviderError('DefinitionInvalid', `The migrations are not in order: ${problems.join('; ')}.`, {
      details: { problems },
    });
  }
  return migrations;
}
