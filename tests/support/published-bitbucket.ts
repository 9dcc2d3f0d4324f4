/**
 * What Atlassian publishes of the API of Bitbucket Cloud, and of that of Data Center (9.2), which is another one: their OpenAPI documents, as
 * the types that @coderabbitai/bitbucket has made of them.
 */
import type { components, paths as CloudPaths } from '@coderabbitai/bitbucket/cloud/openapi';
import type {
  components as DataCenterComponents,
  paths as DataCenterPaths,
} from '@coderabbitai/bitbucket/server/openapi';
import type { z } from 'zod';
import type { Endpoint } from './forge-stand-ins.ts';
import { type Answer, type Part, type Spec, endpointAt } from './published-endpoints.ts';

/** Without the index signatures of the cloud's objects, which let anything through. */
type Closed<Of> = Of extends { readonly type: 'pullrequest_comment' }
  ? // Made from open objects, it does not say any more that it is a comment.
    Omit<Fields<components['schemas']['comment']>, 'type'> & Fields<Of>
  : Of extends readonly (infer Each)[]
    ? readonly Closed<Each>[]
    : Of extends object
      ? keyof Fields<Of> extends never
        ? Of
        : Fields<Of>
      : Of;
type Fields<Of> = { readonly [Key in keyof Of as string extends Key ? never : Key]: Closed<Of[Key]> };

type Content<Of> = Of extends { content: infer Kinds } ? Closed<Kinds[keyof Kinds]> : undefined;
type Responses<Of> = Of extends { responses: infer Answers }
  ? { [Status in keyof Answers & number]: Answer<Status, Content<Answers[Status]>> }[keyof Answers & number]
  : never;
type Body<Of> = Of extends { requestBody?: infer Request } ? Content<NonNullable<Request>> : never;
type Query<Of> = Of extends { parameters: { query?: infer Parameters } } ? NonNullable<Parameters> : never;
type Names<Path> = Path extends `${string}{${infer Name}}${infer Rest}` ? Name | Names<Rest> : never;

type Method = 'get' | 'post' | 'put';

/** What a document tells in words and not in its schemas, by method and path. */
interface InWords {
  readonly body?: object;
  readonly query?: object;
  readonly answer?: Answer;
}

interface Published<Of, Words extends InWords, General extends object> {
  // The document of the cloud demands `type` of whatever is sent; its own examples leave it out.
  readonly body: ([Body<Of>] extends [object] ? Omit<Body<Of>, 'type'> : object) & Told<Words, 'body'>;
  readonly query: ([Query<Of>] extends [never] ? object : NonNullable<Query<Of>>) & Told<Words, 'query'> & General;
  readonly answer: Responses<Of> | (Words extends { readonly answer: infer Also extends Answer } ? Also : never);
}
type Told<Words, Key> = Key extends keyof Words ? Words[Key] & object : object;

type PublishedAt<
  Paths,
  Words,
  General extends object,
  Of extends Method,
  Path extends keyof Paths & string,
> = Published<
  Paths[Path][Of & keyof Paths[Path]],
  `${Of} ${Path}` extends keyof Words ? Words[`${Of} ${Path}`] & InWords : InWords,
  General
>;

/**
 * @param root what all paths begin with, and the API of the stand-in has before them
 * @param known what parts of the paths stand for, by their names; a part that is not told is whatever it is
 */
function endpoints<Paths, Words, General extends object>(root: string, known: Readonly<Record<string, string>>) {
  return <
    const Of extends Method,
    const Path extends keyof Paths & string,
    const Sent extends z.ZodRawShape,
    const Asked extends z.ZodRawShape,
    Given extends PublishedAt<Paths, Words, General, Of, Path>['answer'],
  >(
    method: Of,
    path: Path,
    parts: Readonly<Partial<Record<Names<Path>, Part>>>,
    spec: Spec<PublishedAt<Paths, Words, General, Of, Path>, Readonly<Record<Names<Path>, string>>, Sent, Asked, Given>,
  ): Endpoint =>
    endpointAt(
      method,
      path.slice(root.length),
      { ...known, ...parts },
      {
        ...spec,
        answer: (params, body, query) => spec.answer({ params, body, query } as Parameters<typeof spec.answer>[0]),
      },
    );
}

interface CloudInWords {
  readonly 'get /repositories/{workspace}/{repo_slug}/commits': {
    readonly query: { readonly include?: string; readonly exclude?: string };
  };
  readonly 'post /repositories/{workspace}/{repo_slug}/pullrequests': {
    readonly body: { readonly description?: string };
  };
  /** A token without a scope is refused everywhere alike. */
  readonly 'get /user': { readonly answer: Answer<403, Closed<components['schemas']['error']>> };
}

interface DataCenterInWords {
  /** Of activities the document has only what they all have; the client adds by hand what each has of its own. */
  readonly 'get /api/latest/projects/{projectKey}/repos/{repositorySlug}/pull-requests/{pullRequestId}/activities': {
    readonly answer: Answer<
      200,
      { readonly values?: readonly { readonly comment?: Closed<DataCenterComponents['schemas']['RestComment']> }[] }
    >;
  };
}

/** An endpoint of Bitbucket Cloud, by its path in the document of version 2.0. Of lists it tells paging and filters once, in words. */
export const cloudEndpoint = endpoints<
  CloudPaths,
  CloudInWords,
  { readonly page?: number; readonly pagelen?: number; readonly q?: string }
>('', { workspace: 'team', repo_slug: 'app' });

/** An endpoint of Bitbucket Data Center, by its path in the document. */
export const dataCenterEndpoint = endpoints<DataCenterPaths, DataCenterInWords, object>('/api/latest', {
  projectKey: 'team',
  repositorySlug: 'app',
});
