import type { RegistryCredentials } from '../port.ts';

/** One way of coming by the name and password of a registry. */
export interface RegistryLogin {
  /**
   * As they are now; asked for anew before they end.
   *
   * @throws `SecretMissing`, `ToolMissing`, `RegistryRefused` (not retried), `RegistryUnavailable` (retried)
   */
  read(signal?: AbortSignal): Promise<RegistryCredentials>;
}
