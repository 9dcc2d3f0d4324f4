/**
 * Endpoints of stand-ins that are held to what a forge publishes: where it lies, which fields it takes, and what it answers. What is not
 * published fails the type check; what a client sends beyond the schema is refused by the stand-in (forge-stand-ins.ts).
 */
import { z } from 'zod';
import type { Endpoint } from './forge-stand-ins.ts';
import type { DemandedKeys } from './published-requests.ts';

type KeysOf<Of> = Of extends unknown ? keyof Of : never;
type ValueOf<Of, Key> = Of extends unknown ? (Key extends keyof Of ? Of[Key] : never) : never;

/** Whether all the fields of one type, at any depth, are those of another; which values they take, the compiler knows by itself. */
export type IsWithin<Given, Of> = unknown extends Of
  ? true
  : Given extends readonly (infer Each)[]
    ? [NonNullable<Of>] extends [readonly (infer Other)[]]
      ? IsWithin<Each, Other>
      : true
    : Given extends object
      ? keyof Given extends KeysOf<NonNullable<Of>>
        ? // What is published itself: it has no end, a repository has the repository that it was forked from.
          [NonNullable<Of>] extends [Given]
          ? true
          : false extends { [Key in keyof Given]: IsWithin<Given[Key], ValueOf<NonNullable<Of>, Key>> }[keyof Given]
            ? false
            : true
        : false
      : true;

type IfWithin<Given, Of, Then> = false extends IsWithin<Given, Of> ? never : Then;

/** What a shape has to be: every field is one that is published, of values that it takes, and none that is demanded is missing. */
export type HeldTo<Of, Shape> = {
  [Key in keyof Shape]: Key extends keyof Of
    ? IfWithin<z.output<Shape[Key]>, Of[Key], z.ZodType<Key extends DemandedKeys<Of> ? Of[Key] : Of[Key] | undefined>>
    : never;
} & { [Key in DemandedKeys<Of>]: z.ZodType };

type Headers = Readonly<Record<string, string>>;
/** Status, body and headers. */
export type Answer<Status extends number = number, Body = unknown> = readonly [
  status: Status,
  body: Body,
  headers?: Headers,
];

type BodyOf<Of, Status> = Of extends Answer<infer Known, infer Body> ? (Status extends Known ? Body : never) : never;

/** An answer whose fields are all published for its status. */
export type AnswerWithin<Given extends Answer, Of extends Answer> = Given extends Answer
  ? IfWithin<Given[1], BodyOf<Of, Given[0]>, Given>
  : never;

/** What an endpoint takes beside its path, and answers. */
export interface Published {
  readonly body: object;
  readonly query: object;
  readonly answer: Answer;
}

export interface Spec<
  Of extends Published,
  Params,
  Body extends z.ZodRawShape,
  Query extends z.ZodRawShape,
  Given extends Of['answer'],
> {
  readonly body?: Body & HeldTo<Of['body'], Body>;
  readonly query?: Query & HeldTo<Of['query'], Query>;
  answer(asked: {
    readonly params: Params;
    readonly body: z.output<z.ZodObject<Body, z.core.$strict>>;
    readonly query: z.output<z.ZodObject<Query, z.core.$strict>>;
  }): Given & AnswerWithin<Given, Of['answer']>;
}

/** A part of a path: as it stands, or what may stand there. */
export type Part = string | RegExp;

/**
 * @param template path below the root of the API, its parts as `{name}`
 * @param parts what the names stand for; the patterns are handed to the endpoint, in the order of the path
 * @param spec already held by its caller
 */
export function endpointAt(
  method: string,
  template: string,
  parts: Readonly<Record<string, Part>>,
  spec: {
    readonly body?: z.ZodRawShape;
    readonly query?: z.ZodRawShape;
    answer(params: Readonly<Record<string, string>>, body: unknown, query: unknown): Answer;
  },
): Endpoint {
  const names: string[] = [];
  const source = template.replaceAll(/\{(\w+)\}|[^{]/g, (text, name?: string) => {
    if (name === undefined) return escaped(text);
    const part = parts[name] ?? /[^/]+/;
    if (typeof part === 'string') return escaped(part);
    names.push(name);
    return `(${part.source})`;
  });
  const body = z.strictObject(spec.body ?? {});
  const query = z.strictObject(spec.query ?? {});
  return {
    method: method.toUpperCase(),
    path: new RegExp(`^${source}$`),
    body,
    query,
    answer: ({ params, body: sent, query: asked }) =>
      spec.answer(
        Object.fromEntries(names.map((name, index) => [name, params[index] ?? ''])),
        body.parse(sent),
        query.parse(Object.fromEntries(asked)),
      ),
  };
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}
