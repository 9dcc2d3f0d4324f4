import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RegistryAddress } from './port.ts';

/**
 * Writes the file by which programs of the container world log in, readable by nobody else. It holds the password: the folder must be in scratch,
 * and goes when the program has ended.
 *
 * @returns the environment that makes a program read it.
 */
export async function writeDockerConfig(
  folder: string,
  registry: RegistryAddress,
): Promise<Readonly<Record<string, string>>> {
  const { credentials } = registry;
  const auths =
    credentials === undefined
      ? {}
      : {
          [credentials.address]: {
            auth: Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64'),
          },
        };
  await writeFile(join(folder, 'config.json'), JSON.stringify({ auths }), { mode: 0o600 });
  return { DOCKER_CONFIG: folder };
}
