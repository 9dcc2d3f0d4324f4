import { createHash } from 'node:crypto';
import type { TreeEntry } from '../repositories/port.ts';

/** Everything that an image is made of. */
export interface BuildInputs {
  /** What of the context is sent. */
  readonly files: readonly TreeEntry[];
  readonly dockerfilePath: string;
  readonly dockerfile: string;
  readonly target?: string | undefined;
  readonly args: Readonly<Record<string, string>>;
  /** Digests of the images it begins from, by the name that the Dockerfile has for them. */
  readonly bases: Readonly<Record<string, string>>;
  readonly platforms: readonly string[];
  readonly network: string;
  /** Names of the secrets that its RUN instructions are given; without one an instruction may do something else. */
  readonly secrets: readonly string[];
  /** Names of the keys and agents that they are given. */
  readonly ssh: readonly string[];
  /** It is of a pull request from a fork: what strangers have had built is nobody else's image. */
  readonly fork: boolean;
}

/**
 * Key of a build: equal inputs give the image that was built already. 64 hexadecimal characters. Whoever can push can work out the key of a commit, so
 * it says what to look for in the records of what was built, and nothing about an image that carries it.
 */
export function buildKey(inputs: BuildInputs): string {
  const hash = createHash('sha256');
  const sorted = (record: Readonly<Record<string, string>>): readonly (readonly [string, string])[] =>
    Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
  // One JSON text a part, so that no two different lists of parts run into the same bytes.
  const parts: readonly unknown[] = [
    'slipway-build-2',
    inputs.dockerfilePath,
    inputs.dockerfile,
    inputs.target ?? null,
    sorted(inputs.args),
    sorted(inputs.bases),
    inputs.platforms,
    inputs.network,
    [...inputs.secrets].sort(),
    [...inputs.ssh].sort(),
    inputs.fork,
  ];
  for (const part of parts) hash.update(`${JSON.stringify(part)}\n`);
  for (const { mode, object, path } of inputs.files) hash.update(`${JSON.stringify([mode, object, path])}\n`);
  return hash.digest('hex');
}
