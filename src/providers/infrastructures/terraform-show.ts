import { z } from 'zod';
import {
  type InfrastructureAction,
  type InfrastructureChange,
  type InfrastructureSummary,
  summarise,
} from '../../domain/infrastructure.ts';
import { ProviderError } from '../../domain/failures.ts';

/**
 * What is read of `terraform show -json <plan>`, format 1.x (https://developer.hashicorp.com/terraform/internals/json-format). Values are
 * never looked at.
 */
const Shown = z.object({
  format_version: z.string().regex(/^1\./, { error: 'is not 1.x' }),
  resource_changes: z
    .array(
      z.object({
        address: z.string(),
        mode: z.enum(['managed', 'data']),
        deposed: z.string().optional(),
        change: z.object({ actions: z.array(z.string()) }),
      }),
    )
    .default([]),
  output_changes: z.record(z.string(), z.object({ actions: z.array(z.string()) })).default({}),
});

/** Actions as the format writes them; what only looks is no change. */
const meanings: Readonly<Record<string, InfrastructureAction | 'none'>> = {
  'no-op': 'none',
  read: 'none',
  create: 'create',
  update: 'update',
  delete: 'destroy',
  'delete,create': 'replace',
  'create,delete': 'replace',
  forget: 'forget',
  'create,forget': 'replace',
};

/**
 * Sums up a saved plan.
 *
 * @throws ProviderError `InfrastructureFailed` (not retried): it is no such document, or has an action that is not known here, of which nobody
 * could say what it does
 */
export function readShown(text: string): InfrastructureSummary {
  const shown = Shown.safeParse(parse(text));
  if (!shown.success) {
    const [issue] = shown.error.issues;
    throw unreadable(`${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`.trim());
  }
  const changes = shown.data.resource_changes.flatMap(({ address, deposed, change }): InfrastructureChange[] => {
    const said = change.actions.join(',');
    const action = Object.hasOwn(meanings, said) ? meanings[said] : undefined;
    if (action === undefined) throw unreadable(`the action ${JSON.stringify(said.slice(0, 40))} is not known`);
    if (action === 'none') return [];
    return [{ address: deposed === undefined ? address : `${address} (deposed ${deposed})`, action }];
  });
  const outputs = Object.entries(shown.data.output_changes).flatMap(([name, { actions }]) =>
    actions.join(',') === 'no-op' ? [] : [name],
  );
  return summarise(changes, outputs);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // What cannot be read is not repeated: it may hold values.
    throw unreadable('it is no JSON');
  }
}

function unreadable(why: string): ProviderError {
  return new ProviderError('InfrastructureFailed', `What the plan would change cannot be read: ${why}.`);
}
