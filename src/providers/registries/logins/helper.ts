import { ProviderError } from '../../../domain/failures.ts';
import { runTool } from '../../../effects/process.ts';
import type { RegistryLogin } from './port.ts';

const callMs = 30_000;
/** What helpers print when they know nothing of the server; a fixed sentence of their protocol. */
const unknown = /credentials not found in native (?:keychain|store)/i;

export interface HelperOptions {
  /** `docker-credential-<name>` is the program. */
  readonly name: string;
  /** `host:port` of the registry. */
  readonly address: string;
  /** What the helper needs of the worker's environment, such as its HOME and AWS_… */
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Asks a credential helper, as Docker does.
 *
 * @see https://github.com/docker/docker-credential-helpers
 */
export function createHelperLogin({ name, address, environment }: HelperOptions): RegistryLogin {
  const program = `docker-credential-${name}`;
  const server = address === 'docker.io' ? 'https://index.docker.io/v1/' : address;
  return {
    async read(signal) {
      const { HOME: home, ...env } = environment;
      const { exitCode, stdout, stderr, timedOut } = await runTool({
        command: [program, 'get'],
        input: `${server}\n`,
        cwd: '/',
        env,
        ...(home === undefined ? {} : { home }),
        timeoutMs: callMs,
        ...(signal === undefined ? {} : { signal }),
      });
      const failed = (why: string): ProviderError =>
        new ProviderError('RegistryRefused', `${program} gives no password for ${address}: ${why}`, {
          details: { registry: address, helper: name },
        });
      if (timedOut) throw failed(`no answer within ${callMs / 1_000} s`);
      // Helpers print their complaints to standard output; what else they print there is the password.
      if (exitCode !== 0) throw failed(unknown.test(stdout + stderr) ? 'it knows none' : `exit code ${exitCode}`);
      const { Username, Secret } = parse(stdout);
      if (typeof Username !== 'string' || typeof Secret !== 'string' || Secret === '')
        throw failed('it answered something else');
      // So helpers say that the secret is an identity token, which only Docker itself can use.
      if (Username === '<token>') throw failed('it gives an identity token, which cannot be used here');
      return { address, username: Username, password: Secret };
    },
  };
}

function parse(text: string): { readonly Username?: unknown; readonly Secret?: unknown } {
  try {
    return JSON.parse(text) as { readonly Username?: unknown };
  } catch {
    return {};
  }
}
