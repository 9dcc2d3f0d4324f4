import { withoutControls } from '../../effects/control.ts';
import type { CacheList } from '../client.ts';
import type { CommandContext } from '../context.ts';
import { needProject } from './act.ts';

/** `slipway caches`: what stages keep from run to run, and how often they find it. */
export async function caches(context: CommandContext): Promise<void> {
  const client = await context.connect();
  const project = await needProject(client);
  const found = await client.listCaches(project);
  context.terminal.result('caches', { ...found }, () => page(project, found));
}

function page(project: string, { caches: kept, uses, sizeBytes, hitRatio }: CacheList): string {
  if (kept.length === 0 && uses.length === 0) return `${project} keeps no caches.`;
  return [
    `${kept.length} caches, ${sizeBytes} bytes; found ${percent(hitRatio)} of the time in the last 30 days`,
    ...uses.map(({ cache, hitRatio: ratio, uses: times }) => `  ${cache}  found ${percent(ratio)} of ${times} times`),
    ...kept.map(
      ({ name, scope, key, sizeBytes: bytes, usedAt }) =>
        `  ${name}  ${withoutControls(scope)}  ${key.slice(0, 12)}  ${bytes} bytes, used ${usedAt.slice(0, 16).replace('T', ' ')}`,
    ),
  ].join('\n');
}

function percent(ratio: number | null): string {
  return ratio === null ? 'none' : `${Math.round(ratio * 100)} %`;
}
