import type { RegistrySpec } from '../../../definition/specs/image.ts';
import type { SecretRef } from '../../../definition/specs/secret.ts';
import type { RegistryAddress } from '../port.ts';
import { createEcrLogin } from './ecr.ts';
import { createHelperLogin } from './helper.ts';
import type { RegistryLogin } from './port.ts';

export interface LoginOptions {
  /** @throws `SecretMissing` (not retried) */
  readonly readSecret: (ref: SecretRef) => Promise<string>;
  /** The worker's own; helpers and `aws` get HOME, proxies and AWS_… of it. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Where a project's images go, with a password as it is now. */
export type ReadRegistry = (registry: RegistrySpec, signal?: AbortSignal) => Promise<RegistryAddress>;

/** All ways of logging in there are; tokens that were bought are remembered while they hold. One a worker. */
export function createRegistryReader({ readSecret, environment }: LoginOptions): ReadRegistry {
  const known = new Map<string, RegistryLogin>();
  const passed = Object.fromEntries(
    Object.entries(environment).filter(
      (entry): entry is [string, string] =>
        entry[1] !== undefined && /^(?:HOME|AWS_\w+|(?:https?|no)_proxy)$/i.test(entry[0]),
    ),
  );

  function loginOf(registry: RegistrySpec): RegistryLogin | undefined {
    const { address, credentialHelper, ecr } = registry;
    if (credentialHelper !== undefined)
      return createHelperLogin({ name: credentialHelper, address, environment: passed });
    if (ecr === undefined) return undefined;
    const key = JSON.stringify([address, ecr]);
    const login =
      known.get(key) ??
      createEcrLogin({
        address,
        region: ecr.region,
        async environment() {
          if (ecr.accessKey === undefined) return passed;
          const { id, secret } = ecr.accessKey;
          const [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY] = await Promise.all([readSecret(id), readSecret(secret)]);
          // What belongs to another key would go before this one, or make it invalid.
          const rest = Object.entries(passed).filter(([name]) => !['AWS_SESSION_TOKEN', 'AWS_PROFILE'].includes(name));
          return { ...Object.fromEntries(rest), AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY };
        },
      });
    known.set(key, login);
    return login;
  }

  return async (registry, signal) => {
    const { address, insecure, credentials } = registry;
    if (credentials !== undefined) {
      const password = await readSecret(credentials.password);
      return { address, insecure, credentials: { address, username: credentials.username, password } };
    }
    const login = loginOf(registry);
    return login === undefined ? { address, insecure } : { address, insecure, credentials: await login.read(signal) };
  };
}
