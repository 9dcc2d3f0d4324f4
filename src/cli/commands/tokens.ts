import type { Role } from '../../store/tables/engine.ts';
import { type CommandContext, screenOf } from '../context.ts';
import { columnsOf } from '../pages/lists.ts';
import { relative } from '../time.ts';

export interface TokenOptions {
  readonly role: Role;
  readonly group: readonly string[];
  readonly expiresIn?: number | undefined;
}

/** `slipway token create <name>`: shown this once, for only its hash is kept. */
export async function createToken(context: CommandContext, name: string, options: TokenOptions): Promise<void> {
  const client = await context.connect();
  const { terminal } = context;
  const expiresAt =
    options.expiresIn === undefined ? undefined : new Date(Date.now() + options.expiresIn).toISOString();
  const made = await client.createToken({ name, role: options.role, groups: options.group, expiresAt });
  terminal.result(
    'token',
    { id: made.id, token: made.token, name, role: options.role, groups: options.group },
    () => made.token,
  );
  if (!terminal.json)
    terminal.say(
      terminal.paint.dim('It is not shown again. Use it as SLIPWAY_TOKEN, or as `Authorization: Bearer …`.'),
    );
}

/** `slipway token list`. */
export async function listTokens(context: CommandContext): Promise<void> {
  const client = await context.connect();
  const tokens = await client.listTokens();
  context.terminal.result('tokens', { tokens }, () => {
    const { nowMs, columns } = screenOf(context);
    const rows = tokens.map((token) => [
      token.id,
      token.name,
      token.role,
      token.groups.join(','),
      token.revokedAt !== null
        ? 'revoked'
        : token.expiresAt === null
          ? 'does not expire'
          : `expires ${relative(token.expiresAt, nowMs)}`,
    ]);
    return columnsOf(rows, columns).join('\n');
  });
}

/** `slipway token revoke <id>`. */
export async function revokeToken(context: CommandContext, id: string): Promise<void> {
  const client = await context.connect();
  await client.revokeToken(id);
  context.terminal.result('token', { revoked: id }, () => `${id} is nobody's any more.`);
}
