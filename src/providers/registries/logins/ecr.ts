import { ProviderError } from '../../../domain/failures.ts';
import { runTool } from '../../../effects/process.ts';
import type { RegistryLogin } from './port.ts';

const callMs = 60_000;
/** A token holds 12 hours (docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html); a long push must not see its end. */
const rememberMs = 6 * 3_600_000;

export interface EcrOptions {
  readonly address: string;
  readonly region: string;
  /** Credentials of AWS and where to find them, for the program alone. */
  readonly environment: () => Promise<Readonly<Record<string, string>>>;
  /** Default: the clock of this process, ms. */
  readonly now?: () => number;
}

/** Asks AWS for a token of its registry, by its own program, and for a new one long before that ends. */
export function createEcrLogin({ address, region, environment, now = Date.now }: EcrOptions): RegistryLogin {
  let known: { readonly at: number; readonly token: Promise<string> } | undefined;

  /** Without the signal of whoever happens to ask first: others may wait for the same answer. */
  async function ask(): Promise<string> {
    const { HOME: home, ...env } = await environment();
    const { exitCode, stdout, stderr, timedOut } = await runTool({
      command: ['aws', 'ecr', 'get-login-password', '--region', region],
      cwd: '/',
      env: { ...env, AWS_PAGER: '' },
      ...(home === undefined ? {} : { home }),
      timeoutMs: callMs,
    });
    const said = stderr.trim().split('\n').at(-1)?.slice(0, 500) ?? '';
    if (timedOut || /could not connect|connect timeout|endpoint url/i.test(said)) {
      throw new ProviderError(
        'RegistryUnavailable',
        `AWS gives no token for ${address}: ${timedOut ? 'no answer' : said}`,
      );
    }
    const token = stdout.trim();
    if (exitCode !== 0 || token === '') {
      throw new ProviderError(
        'RegistryRefused',
        `AWS gives no token for ${address}: ${said || `exit code ${exitCode}`}`,
        {
          details: { registry: address, region },
        },
      );
    }
    return token;
  }

  return {
    async read() {
      if (known === undefined || now() - known.at >= rememberMs) {
        const token = ask();
        const asked = { at: now(), token };
        known = asked;
        token.catch(() => {
          if (known === asked) known = undefined;
        });
      }
      return { address, username: 'AWS', password: await known.token };
    },
  };
}
