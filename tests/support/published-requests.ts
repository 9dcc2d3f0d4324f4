/**
 * Schemas of requests that are held to the types of the official clients: a field that the client does not know, one that it demands and
 * the schema does not, and a value that it would not take fail the type check. A schema may demand more, and does where the reference says
 * more than a type can: lengths, forms, whole numbers.
 */
import type { AllIssuesOptions, AllMergeRequestsOptions, Gitlab } from '@gitbeaker/rest';
import type { operations } from '@octokit/openapi-types';
import { z } from 'zod';

export type DemandedKeys<Of> = { [Key in keyof Of]-?: object extends Pick<Of, Key> ? never : Key }[keyof Of];
/** What a shape has to be: every field is one of the client's, of values that it takes. */
type Held<Of, Shape> = {
  [Key in keyof Shape]: Key extends keyof Of
    ? z.ZodType<Key extends DemandedKeys<Of> ? Of[Key] : Of[Key] | undefined>
    : never;
} & { [Key in DemandedKeys<Of>]: z.ZodType };

type Body<Id extends keyof operations> = operations[Id] extends {
  requestBody?: { content: { 'application/json': infer Of } };
}
  ? Of
  : never;
type Query<Id extends keyof operations> = operations[Id] extends { parameters: { query?: infer Of } }
  ? NonNullable<Of>
  : never;

/** The body of an operation of GitHub, by the name that its OpenAPI description gives it. */
export function githubBody<Id extends keyof operations>(operation: Id) {
  return <const Shape extends z.ZodRawShape>(
    shape: Shape & Held<Body<Id>, Shape>,
  ): z.ZodObject<Shape, z.core.$strict> => z.strictObject<Shape>(shape).describe(operation);
}

/** As {@link githubBody}, the parameters in the address. */
export function githubQuery<Id extends keyof operations>(operation: Id) {
  return <const Shape extends z.ZodRawShape>(
    shape: Shape & Held<Query<Id>, Shape>,
  ): z.ZodObject<Shape, z.core.$strict> => z.strictObject<Shape>(shape).describe(operation);
}

/** Gitbeaker has in camel case what GitLab has in snake case. */
type Snake<Text> = Text extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${Snake<Rest>}`
  : Text;
type Snaked<Of> = { [Key in keyof Of as Snake<Key>]: Of[Key] };

type Client = InstanceType<typeof Gitlab>;
type Options<Method extends (...args: never[]) => unknown, At extends number> = NonNullable<Parameters<Method>[At]>;
type Paging = { page?: number; perPage?: number; pagination?: 'keyset' | 'offset' };

/** What Gitbeaker sends for what Slipway asks of GitLab; the names are its own methods. */
interface GitlabRequests {
  'Commits.editStatus': { state: Parameters<Client['Commits']['editStatus']>[2] } & Options<
    Client['Commits']['editStatus'],
    3
  >;
  'Deployments.all': Options<Client['Deployments']['all'], 1> & Paging;
  'Deployments.create': {
    environment: Parameters<Client['Deployments']['create']>[1];
    sha: Parameters<Client['Deployments']['create']>[2];
    ref: Parameters<Client['Deployments']['create']>[3];
    tag: Parameters<Client['Deployments']['create']>[4];
  } & Options<Client['Deployments']['create'], 5>;
  'Deployments.edit': { status: Parameters<Client['Deployments']['edit']>[2] };
  'MergeRequests.create': {
    sourceBranch: Parameters<Client['MergeRequests']['create']>[1];
    targetBranch: Parameters<Client['MergeRequests']['create']>[2];
    title: Parameters<Client['MergeRequests']['create']>[3];
  } & Omit<Options<Client['MergeRequests']['create'], 4>, 'title'>;
  'MergeRequests.all': AllMergeRequestsOptions & Paging;
  'MergeRequestNotes.create': { body: Parameters<Client['MergeRequestNotes']['create']>[2] } & Options<
    Client['MergeRequestNotes']['create'],
    3
  >;
  'MergeRequestNotes.edit': Options<Client['MergeRequestNotes']['edit'], 3>;
  'MergeRequestNotes.all': Options<Client['MergeRequestNotes']['all'], 2> & Paging;
  'IssueNotes.create': { body: Parameters<Client['IssueNotes']['create']>[2] } & Options<
    Client['IssueNotes']['create'],
    3
  >;
  'Issues.all': AllIssuesOptions & Paging;
  'Issues.create': { title: Parameters<Client['Issues']['create']>[1] } & Options<Client['Issues']['create'], 2>;
  'Issues.edit': Options<Client['Issues']['edit'], 2>;
}

/** The fields of a request to GitLab, in its body or its address. */
export function gitlabFields<Id extends keyof GitlabRequests>(method: Id) {
  return <const Shape extends z.ZodRawShape>(
    shape: Shape & Held<Snaked<GitlabRequests[Id]>, Shape>,
  ): z.ZodObject<Shape, z.core.$strict> => z.strictObject<Shape>(shape).describe(method);
}
