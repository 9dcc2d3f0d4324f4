import type { RegistryReview } from '../client.ts';
import type { CommandContext } from '../context.ts';
import { needProject } from './act.ts';

/** `slipway registry`: what retention would remove from the registry of a project. Removes nothing. */
export async function registry(context: CommandContext): Promise<void> {
  const client = await context.connect();
  const project = await needProject(client);
  const found = await client.reviewRegistry(project);
  context.terminal.result('registry', { ...found }, () => page(project, found));
}

function page(project: string, { count, sizeBytes, images }: RegistryReview): string {
  if (count === 0) return `Nothing of ${project} would go from its registry.`;
  const more = count - images.length;
  return [
    `${count} images of ${project} would go from its registry, ${sizeBytes} bytes`,
    ...images.map((image) => `  ${image}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
  ].join('\n');
}
