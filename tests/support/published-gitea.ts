/**
 * What Gitea and Forgejo publish of their API (`/swagger.v1.json`), by the clients that are generated from it: gitea-js (Gitea 1.23) and
 * forgejo-js (Forgejo 11). Slipway has one kind for both, so a field that only one of them takes is none.
 */
import { Api as ForgejoClient } from 'forgejo-js';
import { Api as GiteaClient } from 'gitea-js';
import type { z } from 'zod';
import type { Endpoint } from './forge-stand-ins.ts';
import { type Answer, type Part, type Spec, endpointAt } from './published-endpoints.ts';

type Gitea = GiteaClient<unknown>;
type Forgejo = ForgejoClient<unknown>;
type Room = 'repos' | 'user';
type Name<In extends Room> = keyof Gitea[In] & keyof Forgejo[In] & string;

type Arguments<Call> = Call extends (...given: infer Given) => unknown ? Given : never;
/** Of the arguments of a call, those that are parts of its path. */
type Path<Given, Parts extends readonly Part[] = readonly []> = Given extends readonly [infer First, ...infer Rest]
  ? First extends string | number
    ? Path<Rest, readonly [...Parts, Part]>
    : Parts
  : Parts;
/** And those after them: a body, a query or neither, and what is about the connection. */
type Others<Given> = Given extends readonly [infer First, ...infer Rest]
  ? First extends string | number
    ? Others<Rest>
    : { body: First; query: object }
  : Required<Given> extends readonly [infer Query, unknown]
    ? { body: object; query: Query }
    : { body: object; query: object };
type Data<Call> = Call extends (...given: never[]) => Promise<{ data: infer Of }> ? Of : never;

/** Fields that both of them know. */
type Common<One, Other> = Pick<One, keyof One & keyof Other>;

/** `APIError` and its like are all of one form; which of them an endpoint has, the clients do not tell. */
interface Refusal {
  readonly message?: string;
  readonly url?: string;
}

interface Published<In extends Room, Of extends Name<In>> {
  readonly body: Common<Others<Arguments<Gitea[In][Of]>>['body'], Others<Arguments<Forgejo[In][Of]>>['body']>;
  readonly query: Common<Others<Arguments<Gitea[In][Of]>>['query'], Others<Arguments<Forgejo[In][Of]>>['query']>;
  readonly answer:
    Answer<200 | 201, Data<Gitea[In][Of]> | Data<Forgejo[In][Of]>> | Answer<400 | 403 | 404 | 409 | 422, Refusal>;
}

/** Their rules for branches, of which each has fields that the other has not. */
export type GiteaBranchRule = Data<Gitea['repos']['repoListBranchProtection']>[number];
export type ForgejoBranchRule = Data<Forgejo['repos']['repoListBranchProtection']>[number];

/**
 * An endpoint, by the name that the swagger gives its operation.
 *
 * @param parts of the path, in its order
 */
export function giteaEndpoint<
  In extends Room,
  Of extends Name<In>,
  const Body extends z.ZodRawShape,
  const Query extends z.ZodRawShape,
  Given extends Published<In, Of>['answer'],
>(
  room: In,
  name: Of,
  parts: Path<Arguments<Gitea[In][Of]>> & Path<Arguments<Forgejo[In][Of]>>,
  spec: Spec<Published<In, Of>, readonly string[], Body, Query, Given>,
): Endpoint {
  const { method, path } = requestOf(room, name, parts.length);
  return endpointAt(method, path, Object.fromEntries(parts.map((part, index) => [`part${index}`, part])), {
    ...spec,
    answer: (params, body, query) =>
      spec.answer({ params: Object.values(params), body, query } as Parameters<typeof spec.answer>[0]),
  });
}

interface Request {
  readonly method: string;
  readonly path: string;
}

/** What the clients would send, with `{part0}`, `{part1}` … in the path. */
export function requestOf(room: Room, name: string, count: number): Request {
  const [gitea, forgejo] = [new GiteaClient(), new ForgejoClient()].map((client) => {
    let seen: Request | undefined;
    client.request = ((request: { readonly method?: string; readonly path: string }) => {
      seen = { method: request.method ?? 'GET', path: request.path };
      return Promise.resolve();
    }) as unknown as typeof client.request;
    const calls = client[room] as unknown as Readonly<Record<string, (...given: readonly unknown[]) => unknown>>;
    calls[name]?.(...Array.from({ length: count }, (_, index) => `{part${index}}`), {});
    return seen;
  });
  if (gitea === undefined || gitea.method !== forgejo?.method || gitea.path !== forgejo.path)
    throw new Error(`Gitea and Forgejo do not have one and the same ${name}.`);
  return gitea;
}
