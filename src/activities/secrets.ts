import type { ProjectDefinition } from '../definition/project.ts';
import type { SecretRef } from '../definition/specs/secret.ts';
import type { RepositoryAddress } from '../providers/repositories/port.ts';

/**
 * Reads a secret at the moment of its use.
 *
 * @throws `SecretMissing` (not retried)
 */
export type ReadSecret = (ref: SecretRef) => Promise<string>;

/** Where a project's commits come from, with its password. */
export async function repositoryAddress(
  project: ProjectDefinition,
  readSecret: ReadSecret,
): Promise<RepositoryAddress> {
  const { url, credentials } = project.repository;
  const address = { project: project.project, url };
  if (credentials === undefined) return address;
  const password = await readSecret(credentials.password);
  return { ...address, credentials: { kind: 'password', username: credentials.username, password } };
}
