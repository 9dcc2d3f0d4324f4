import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { BackendSpec } from '../../src/providers/infrastructures/port.ts';

/** A lock as Terraform sends it (internal/states/statemgr/locker.go, `LockInfo`). */
export interface StateLock {
  readonly ID: string;
  readonly Who: string;
  readonly Operation: string;
  readonly Created: string;
}

/** The HTTP backend's other side (https://developer.hashicorp.com/terraform/language/backend/http): states by name, with locks. */
export interface StateServer {
  backend(name: string): BackendSpec;
  state(name: string): string | undefined;
  lock(name: string): StateLock | undefined;
  hold(name: string, lock: StateLock | undefined): void;
  /** Somebody else writes the state: nothing in it is another, but it is a later one. */
  touch(name: string): void;
  /** How often a lock was refused. */
  refusals(name: string): number;
  /** States can no longer be written, as by a backend whose disk is full. */
  refuseWrites(name: string, refuse: boolean): void;
  stop(): Promise<void>;
}

export async function startStateServer(): Promise<StateServer> {
  const states = new Map<string, string>();
  const locks = new Map<string, StateLock>();
  const refused = new Map<string, number>();
  const closed = new Set<string>();

  async function answer(request: IncomingMessage): Promise<{ readonly status: number; readonly body?: string }> {
    const url = new URL(request.url ?? '/', 'http://state');
    const name = url.pathname.slice(1);
    const held = locks.get(name);
    const body = await text(request);
    switch (request.method) {
      case 'GET': {
        const state = states.get(name);
        return state === undefined ? { status: 404 } : { status: 200, body: state };
      }
      case 'POST': {
        if (closed.has(name)) return { status: 507 };
        if (held !== undefined && held.ID !== url.searchParams.get('ID'))
          return { status: 423, body: JSON.stringify(held) };
        states.set(name, body);
        return { status: 200 };
      }
      case 'LOCK': {
        if (held !== undefined) {
          refused.set(name, (refused.get(name) ?? 0) + 1);
          return { status: 423, body: JSON.stringify(held) };
        }
        locks.set(name, JSON.parse(body) as StateLock);
        return { status: 200 };
      }
      case 'UNLOCK': {
        // `force-unlock` sends only the id.
        const given = body === '' ? undefined : (JSON.parse(body) as Partial<StateLock>).ID;
        if (held !== undefined && given !== undefined && given !== '' && held.ID !== given) return { status: 409 };
        locks.delete(name);
        return { status: 200 };
      }
      default:
        return { status: 405 };
    }
  }

  const server = createServer((request, response) => {
    void answer(request).then(({ status, body = '' }) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(body);
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  return {
    backend: (name) => {
      const address = `http://127.0.0.1:${port}/${name}`;
      return {
        kind: 'http',
        config: { address, lock_address: address, unlock_address: address, retry_max: 0 },
      };
    },
    state: (name) => states.get(name),
    lock: (name) => locks.get(name),
    hold: (name, lock) => {
      if (lock === undefined) locks.delete(name);
      else locks.set(name, lock);
    },
    touch: (name) => {
      const state = JSON.parse(states.get(name) ?? '{}') as { readonly serial?: number };
      states.set(name, JSON.stringify({ ...state, serial: (state.serial ?? 0) + 1 }));
    },
    refusals: (name) => refused.get(name) ?? 0,
    refuseWrites: (name, refuse) => {
      if (refuse) closed.add(name);
      else closed.delete(name);
    },
    stop: async () => {
      server.closeAllConnections();
      await new Promise((stopped) => server.close(stopped));
    },
  };
}
