import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ArtifactItem } from '../client.ts';
import { type CommandContext, defaultProject } from '../context.ts';
import { CliError } from '../exit.ts';
import { parseName } from '../names.ts';
import { withoutControls } from '../../effects/control.ts';

export interface ArtifactOptions {
  /** Folder to write them to. */
  readonly download?: string | undefined;
  /** Only the one of this name, as `reports` or `test/reports`. */
  readonly only?: string | undefined;
}

/** `slipway artifacts <run>`: what its stages have left; with `--download` into a folder. */
export async function artifacts(context: CommandContext, name: string, options: ArtifactOptions): Promise<void> {
  const client = await context.connect();
  const run = parseName(name, await defaultProject(client));
  if (run.kind !== 'run') throw new CliError('usage', `${name} is a deployment; artifacts belong to runs.`);
  const shown = `${run.project}#${run.number}`;
  const all = await client.listArtifacts(run);
  const kept = all.filter(
    (each) => options.only === undefined || [each.name, `${each.stage}/${each.name}`].includes(options.only),
  );
  if (options.only !== undefined && kept.length === 0) {
    throw new CliError('not-found', `${shown} has no artifact ${options.only}.`, {
      next: [{ command: `slipway artifacts ${shown}`, when: 'to see what it has' }],
    });
  }
  if (options.download === undefined) {
    context.terminal.result('artifacts', { artifacts: kept }, () => page(shown, kept));
    return;
  }
  const folder = resolve(options.download);
  for (const artifact of kept) {
    for (const { path } of artifact.files) {
      const to = placeOf(folder, artifact, path);
      await mkdir(dirname(to), { recursive: true });
      const body = await client.readArtifactFile(run, artifact, path, context.signal);
      await pipeline(Readable.fromWeb(body as never), createWriteStream(to), { signal: context.signal });
      context.terminal.say(withoutControls(to));
    }
  }
  context.terminal.result('artifacts', { artifacts: kept, folder }, () => `${kept.length} artifacts in ${folder}`);
}

/** Names of files are the repository's: none of them may lead out of the folder. */
function placeOf(folder: string, { stage, name }: ArtifactItem, path: string): string {
  const own = join(folder, stage, name);
  const to = join(own, path);
  const inside = relative(own, to);
  if (inside === '' || inside === '..' || inside.startsWith('../')) {
    throw new CliError(
      'errored',
      `The artifact ${stage}/${name} has a file ${JSON.stringify(path)}, which leads out of it.`,
    );
  }
  return to;
}

function page(run: string, kept: readonly ArtifactItem[]): string {
  if (kept.length === 0) return `${run} has left no files, or they are over their time.`;
  return kept
    .flatMap(({ stage, name, files, sizeBytes, expiresAt, address }) => [
      `${stage}/${name}  ${files.length} files, ${sizeBytes} bytes, until ${expiresAt.slice(0, 10)}`,
      ...(address === null ? [] : [`  pages at ${withoutControls(address)}`]),
      ...files.slice(0, 20).map(({ path, sizeBytes: bytes }) => `  ${withoutControls(path)}  ${bytes}`),
      ...(files.length > 20 ? [`  and ${files.length - 20} more`] : []),
    ])
    .join('\n');
}
