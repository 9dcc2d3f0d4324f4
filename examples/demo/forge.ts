import { createHmac, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pushed } from './repository.ts';

/** What Slipway answered to a delivery. */
export interface Delivered {
  readonly status: number;
  readonly deliveryId: string;
  /** Name of the event and body that were sent: whoever sends them again under the same id repeats the delivery. */
  readonly sent: { readonly event: string; readonly body: string };
  /** The answer. */
  readonly body: unknown;
  readonly durationMs: number;
}

/** The part of GitHub that the story needs: it tells Slipway of a push, signed, and delivers again when nobody answers. */
export interface Forge {
  push(pushed: Pushed): Promise<Delivered>;
  /** Delivers a body as it is, for what a real forge would never send. */
  deliver(
    event: string,
    body: string,
    options?: { readonly deliveryId?: string; readonly signature?: string },
  ): Promise<Delivered>;
}

export interface ForgeOptions {
  /** Address of the API, without a slash at the end. */
  readonly api: string;
  readonly project: string;
  readonly secret: string;
  readonly cloneUrl: string;
}

const deliveryTimeoutMs = 10_000;
/** A minute of trying: one that was killed again and again is started after longer and longer pauses. */
const deliveryTries = 120;
const pauseMs = 500;

export function createForge({ api, project, secret, cloneUrl }: ForgeOptions): Forge {
  const deliver: Forge['deliver'] = async (event, body, options = {}) => {
    const deliveryId = options.deliveryId ?? randomUUID();
    const signature = options.signature ?? `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
    for (let attempt = 1; ; attempt += 1) {
      const began = performance.now();
      try {
        const response = await fetch(`${api}/webhooks/github/${project}`, {
          method: 'POST',
          body,
          headers: {
            'content-type': 'application/json',
            'user-agent': 'GitHub-Hookshot/slipway-demo',
            'x-github-event': event,
            'x-github-delivery': deliveryId,
            'x-hub-signature-256': signature,
          },
          signal: AbortSignal.timeout(deliveryTimeoutMs),
        });
        const durationMs = performance.now() - began;
        const answer: unknown = await response.json().catch(() => undefined);
        return { status: response.status, deliveryId, sent: { event, body }, body: answer, durationMs };
      } catch (error) {
        // A process of Slipway that was killed is back in a moment; a forge delivers again too.
        if (attempt >= deliveryTries) throw error;
        await delay(pauseMs);
      }
    }
  };
  return {
    deliver,
    push: (pushed) => deliver('push', JSON.stringify(pushPayload(pushed, project, cloneUrl))),
  };
}

/** The fields of GitHub's push event, as its documentation names them. */
export function pushPayload(pushed: Pushed, project: string, cloneUrl: string): Readonly<Record<string, unknown>> {
  const person = { name: pushed.author, email: `${pushed.author}@hello.example`, username: pushed.author };
  const commit = {
    id: pushed.after,
    tree_id: pushed.after,
    distinct: true,
    message: pushed.subject,
    timestamp: new Date().toISOString(),
    url: `${cloneUrl}/commit/${pushed.after}`,
    author: person,
    committer: person,
    added: [],
    removed: [],
    modified: [],
  };
  return {
    ref: pushed.ref,
    before: pushed.before,
    after: pushed.after,
    base_ref: null,
    created: /^0+$/.test(pushed.before),
    deleted: false,
    forced: false,
    compare: `${cloneUrl}/compare/${pushed.before.slice(0, 12)}...${pushed.after.slice(0, 12)}`,
    commits: [commit],
    head_commit: commit,
    repository: {
      id: 1,
      name: project,
      full_name: `demo/${project}`,
      private: true,
      owner: { name: 'demo', login: 'demo' },
      html_url: cloneUrl,
      clone_url: cloneUrl,
      url: cloneUrl,
      default_branch: 'main',
    },
    pusher: { name: pushed.author, email: person.email },
    sender: { login: pushed.author, id: 1, type: 'User' },
  };
}
