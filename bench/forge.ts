import { createHmac, randomUUID } from 'node:crypto';
import { Agent, request } from 'undici';
import { runKey } from '../src/definition/run-key.ts';
import { runId } from '../src/workflows/messages.ts';

/** A branch after a push. */
export interface Push {
  readonly ref: string;
  readonly before: string;
  readonly after: string;
}

/** What Slipway answered to the delivery of a push. */
export interface Acknowledged {
  readonly status: number;
  /** `Date.now()` with fractions, when the request was begun. */
  readonly sentMs: number;
  readonly durationMs: number;
  /** Id of the workflow that the push is to start. */
  readonly workflowId: string;
}

/** Tells Slipway of pushes, signed as a forge does. */
export interface Forge {
  readonly project: string;
  push(push: Push): Promise<Acknowledged>;
  close(): Promise<void>;
}

export const nowhere = '0'.repeat(40);

/** @param connections - kept open; default 1. */
export function createForge(
  { url, project, secret }: { readonly url: string; readonly project: string; readonly secret: string },
  connections = 1,
): Forge {
  const agent = new Agent({ connections, pipelining: 1, keepAliveTimeout: 60_000 });
  return {
    project,
    async push(push) {
      const body = JSON.stringify(payload(push, project));
      const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
      const sentMs = preciseNow();
      const response = await request(`${url}/webhooks/github/${project}`, {
        dispatcher: agent,
        method: 'POST',
        body,
        headers: {
          'content-type': 'application/json',
          'x-github-event': 'push',
          'x-github-delivery': randomUUID(),
          'x-hub-signature-256': signature,
        },
      });
      await response.body.dump();
      const key = runKey({ kind: 'push', ...push });
      return {
        status: response.statusCode,
        sentMs,
        durationMs: preciseNow() - sentMs,
        workflowId: runId(project, key),
      };
    },
    close: () => agent.close(),
  };
}

/** `Date.now()` with fractions of a millisecond. */
export function preciseNow(): number {
  return performance.timeOrigin + performance.now();
}

function payload({ ref, before, after }: Push, project: string): Readonly<Record<string, unknown>> {
  const person = { name: 'ada', email: 'ada@bench.example', username: 'ada' };
  const commit = {
    id: after,
    message: 'a commit of the bench',
    timestamp: new Date().toISOString(),
    author: person,
    committer: person,
  };
  return {
    ref,
    before,
    after,
    created: before === nowhere,
    deleted: false,
    forced: false,
    commits: [commit],
    head_commit: commit,
    repository: { id: 1, name: project, full_name: `bench/${project}`, default_branch: 'main' },
    pusher: { name: 'ada', email: person.email },
    sender: { login: 'ada', id: 1, type: 'User' },
  };
}
