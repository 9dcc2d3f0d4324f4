import { createHash, randomBytes } from 'node:crypto';
import { uuidv7 } from 'uuidv7';
import type { Db } from './schema.ts';
import type { Role } from './tables/engine.ts';
import { json } from './store.ts';

/** Roles in order; each may do what those before it may. */
export const roles = ['viewer', 'developer', 'approver', 'operator', 'admin'] as const satisfies readonly Role[];

/** Whose token it is and what it may do. */
export interface Identity {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly groups: readonly string[];
}

export interface NewToken {
  readonly name: string;
  readonly role: Role;
  readonly groups: readonly string[];
  readonly createdBy: string;
  readonly expiresAt?: string | undefined;
}

const prefix = 'slp_';
const secretBytes = 32;
const checksumLength = 6;

/**
 * Makes a token: `slp_`, 32 random bytes, and a checksum, by which a scanner can tell a leaked token from a look-alike without asking.
 */
export function generateToken(): string {
  const body = randomBytes(secretBytes).toString('base64url');
  return `${prefix}${body}${checksum(body)}`;
}

/** Whether it could be a token at all; what could not is not looked up. */
export function isToken(text: string): boolean {
  if (!text.startsWith(prefix)) return false;
  const body = text.slice(prefix.length, -checksumLength);
  return Buffer.from(body, 'base64url').length === secretBytes && text.endsWith(checksum(body));
}

function checksum(body: string): string {
  return createHash('sha256').update(`slipway token ${body}`).digest('hex').slice(0, checksumLength);
}

/** What is stored instead of the token. Of 32 random bytes one round is enough: there is nothing to guess. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** Makes and stores a token. It is shown this once. */
export async function createToken(db: Db, token: NewToken): Promise<{ readonly id: string; readonly token: string }> {
  const text = generateToken();
  return { id: await storeToken(db, text, token), token: text };
}

/** Stores a token that was made elsewhere (the one of `slipway up`); the same again changes nothing. */
export async function storeToken(db: Db, text: string, token: NewToken): Promise<string> {
  const row = await db
    .insertInto('tokens')
    .values({
      id: uuidv7(),
      name: token.name,
      hash: hashToken(text),
      role: token.role,
      groups: json(token.groups),
      createdBy: token.createdBy,
      expiresAt: token.expiresAt ?? null,
      revokedAt: null,
    })
    .onConflict((conflict) => conflict.column('hash').doUpdateSet({ name: token.name }))
    .returning('id')
    .executeTakeFirstOrThrow();
  return row.id;
}

/** Whose token this is; undefined when nobody's, expired or revoked. */
export async function findIdentity(db: Db, token: string): Promise<Identity | undefined> {
  return isToken(token) ? await findOne(db, 'hash', hashToken(token)) : undefined;
}

/** Whose token has this id; undefined as {@link findIdentity}. For what was signed for somebody who had shown the token. */
export async function readIdentity(db: Db, id: string): Promise<Identity | undefined> {
  return await findOne(db, 'id', id);
}

async function findOne(db: Db, column: 'hash' | 'id', value: Buffer | string): Promise<Identity | undefined> {
  const row = await db
    .selectFrom('tokens')
    .select(['id', 'name', 'role', 'groups', 'expiresAt'])
    .where(column, '=', value)
    .where('revokedAt', 'is', null)
    .executeTakeFirst();
  if (row === undefined || (row.expiresAt !== null && Date.parse(row.expiresAt) <= Date.now())) return undefined;
  return { id: row.id, name: row.name, role: row.role, groups: row.groups };
}

/** All that were ever made, without what would let anyone use them. */
export async function listTokens(db: Db): Promise<
  readonly (Identity & {
    readonly createdAt: string;
    readonly createdBy: string;
    readonly expiresAt: string | null;
    readonly revokedAt: string | null;
  })[]
> {
  return await db
    .selectFrom('tokens')
    .select(['id', 'name', 'role', 'groups', 'createdAt', 'createdBy', 'expiresAt', 'revokedAt'])
    .orderBy('createdAt')
    .execute();
}

/** From now on it is nobody's. @returns whether it was somebody's. */
export async function revokeToken(db: Db, id: string): Promise<boolean> {
  const changed = await db
    .updateTable('tokens')
    .set({ revokedAt: new Date().toISOString() })
    .where('id', '=', id)
    .where('revokedAt', 'is', null)
    .executeTakeFirst();
  return changed.numUpdatedRows > 0n;
}
