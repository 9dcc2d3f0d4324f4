import type { ForgeApiOptions } from './port.ts';
import type { ForgeAnswer } from './refusal.ts';

interface GitlabOptions {
  readonly token: string;
  readonly host?: string;
  /** Of one request, ms. */
  readonly queryTimeout: number;
}

/** What every client of GitLab is made with: no request without a deadline. */
export function gitlabOptions({ token, url, timeoutMs }: ForgeApiOptions): GitlabOptions {
  return { token, ...(url === undefined ? {} : { host: url }), queryTimeout: timeoutMs };
}

/** What GitLab said, of an error of its client. */
export function gitlabAnswer(error: unknown): ForgeAnswer {
  const { cause, message = '' } = error as {
    readonly message?: string;
    readonly cause?: { readonly description?: unknown; readonly response?: { readonly status?: number } };
  };
  const words = typeof cause?.description === 'string' ? cause.description : message;
  return { status: cause?.response?.status, words };
}
