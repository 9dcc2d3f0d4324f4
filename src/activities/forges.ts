import { loadProject } from '../definition/load.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { isProduction } from '../definition/production.ts';
import { reportPageAddress } from '../domain/build-report.ts';
import { ProviderError, toFailure } from '../domain/failures.ts';
import { type ForgeNames, forgeNames } from '../domain/forge-names.ts';
import { renderReleaseNotes } from '../domain/release-notes.ts';
import { semanticVersion } from '../domain/version.ts';
import { type ForgeApiKind, forgeApis } from '../providers/forge-apis/index.ts';
import type { ForgeApi } from '../providers/forge-apis/port.ts';
import { readPlan } from '../store/plans.ts';
import { readProject } from '../store/projects.ts';
import { readRunByKey } from '../store/runs.ts';
import type { Store } from '../store/store.ts';
import type { ForgeActivities } from './contracts.ts';
import { type CommentDependencies, pullRequestComment } from './pull-request-comment.ts';
import type { ReadSecret } from './secrets.ts';

export interface ForgeDependencies {
  readonly store: Pick<Store, 'db'>;
  /** For what a merge would deploy. */
  readonly repositories: CommentDependencies['repositories'];
  readonly readSecret: ReadSecret;
  /** For links. */
  readonly settings: { readonly publicUrl?: string | undefined };
}

interface OpenedForge {
  readonly project: ProjectDefinition;
  readonly place: ForgePlace;
  readonly names: ForgeNames;
  readonly api: ForgeApi;
}

/** Of one request, ms; the activity has three times that. */
const requestTimeoutMs = 10_000;
/** Where a hotfix is brought back to beside the release branch (S0-145, S0-146). */
const development = 'develop';

/** Says to forges how it goes, by the API that the project names. */
export function createForgeActivities({
  store,
  repositories,
  readSecret,
  settings,
}: ForgeDependencies): ForgeActivities {
  async function open(name: string): Promise<OpenedForge | undefined> {
    const stored = await readProject(store.db, name);
    const loaded = stored === undefined ? undefined : loadProject({ file: 'project.yaml', text: stored.text });
    if (loaded?.ok !== true) throw new ProviderError('NotFound', `There is no project ${name}.`);
    const project = loaded.value;
    const place = forgeApiOf(project);
    if (place === undefined) return undefined;
    return { project, place, names: forgeNames(name, place.sole), api: await openAt(place, readSecret) };
  }

  async function typed<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw toFailure(error);
    }
  }

  return {
    tellForge: ({ project: name, commit, statuses, run, comment }) =>
      typed(async () => {
        const opened = await open(name);
        if (opened === undefined) return;
        const { publicUrl } = settings;
        const url = publicUrl === undefined ? undefined : `${publicUrl}${reportPageAddress({ project: name, run })}`;
        for (const status of statuses) {
          const context = opened.names.status(status.context);
          await opened.api.setStatus({ commit, ...status, context, ...(url === undefined ? {} : { url }) });
        }
        if (comment !== undefined) {
          // One of each project: several may look at the same repository.
          const { pullRequest, body, ofRecord } = comment;
          const said =
            ofRecord === true
              ? await pullRequestComment({ store, repositories, readSecret }, opened.project, run, url)
              : undefined;
          await opened.api.setComment({ pullRequest, body: said ?? body, marker: `run-${name}` });
        }
      }),

    tellDeployment: ({ deployment, version, commit, runKey, state, description }) =>
      typed(async () => {
        const opened = await open(deployment.project);
        if (opened === undefined || !opened.place.deployments) return;
        const { project, environment, number } = deployment;
        const { publicUrl } = settings;
        const run = runKey === undefined ? undefined : await readRunByKey(store.db, project, runKey);
        const { environments } = opened.project;
        const known = Object.hasOwn(environments, environment) ? environments[environment] : undefined;
        await opened.api.setDeployment({
          key: `${project}/${environment}/${number}`,
          environment: opened.names.environment(environment),
          context: opened.names.deploymentStatus(environment),
          production: isProduction(environment, known ?? {}),
          number,
          commit,
          state,
          description: `${version}: ${description}`,
          ...(run === undefined ? {} : { ref: run.ref }),
          ...(publicUrl === undefined
            ? {}
            : { url: `${publicUrl}/v1/projects/${project}/environments/${environment}/deployments/${number}` }),
        });
      }),

    publishRelease: ({ deployment, version, plan: hash, runKey }) =>
      typed(async () => {
        const [opened, plan, run] = await Promise.all([
          open(deployment.project),
          readPlan(store.db, deployment, hash),
          runKey === undefined ? undefined : readRunByKey(store.db, deployment.project, runKey),
        ]);
        if (opened === undefined || plan === undefined || !opened.place.releases) return;
        await opened.api.ensureRelease?.({
          tag: tagOf(version, run?.ref) ?? opened.names.tag(version),
          commit: plan.identity.release.commit,
          name: version,
          notes: renderReleaseNotes(plan),
        });
      }),

    mergeBack: ({ deployment, version, runKey }) =>
      typed(async () => {
        const [opened, run] = await Promise.all([
          open(deployment.project),
          readRunByKey(store.db, deployment.project, runKey),
        ]);
        const branch = run?.ref.startsWith('refs/heads/') === true ? run.ref.slice('refs/heads/'.length) : undefined;
        if (opened === undefined || branch === undefined) return;
        const { environment, number } = deployment;
        for (const into of [opened.project.repository.releaseBranch, development]) {
          if (into === branch) continue;
          await opened.api.ensurePullRequest({
            from: branch,
            into,
            title: `Merge ${branch} back into ${into}`,
            body: `${version} of \`${branch}\` is live in ${environment} (deployment ${number}). What was mended there is not in \`${into}\` yet.`,
          });
        }
      }),
  };
}

/** The tag that a run was for, where its version is that of the tag. */
function tagOf(version: string, ref: string | undefined): string | undefined {
  const tag = ref?.startsWith('refs/tags/') === true ? ref.slice('refs/tags/'.length) : undefined;
  return tag !== undefined && semanticVersion(tag) === version ? tag : undefined;
}

/** Where a project's forge is, as whom it is told, and what it wants to be told beside how runs go. */
export interface ForgePlace {
  readonly kind: ForgeApiKind;
  readonly url?: string;
  readonly repository: string;
  readonly token: Parameters<ReadSecret>[0];
  /** No other project looks at the repository. */
  readonly sole: boolean;
  readonly deployments: boolean;
  readonly releases: boolean;
}

/**
 * The API of a project's forge; undefined where the project names none.
 *
 * @throws ProviderError `SecretMissing` (not retried)
 */
export async function openForgeApi(project: ProjectDefinition, readSecret: ReadSecret): Promise<ForgeApi | undefined> {
  const place = forgeApiOf(project);
  return place === undefined ? undefined : await openAt(place, readSecret);
}

async function openAt({ kind, url, repository, token }: ForgePlace, readSecret: ReadSecret): Promise<ForgeApi> {
  return await forgeApis[kind]({
    token: await readSecret(token),
    repository,
    timeoutMs: requestTimeoutMs,
    ...(url === undefined ? {} : { url }),
  });
}

/** Where a project's forge is told something; undefined where it is not. */
export function forgeApiOf(project: ProjectDefinition): ForgePlace | undefined {
  const { forge, url: address } = project.repository;
  if (!('api' in forge)) return undefined;
  const { url, token, repository = pathOf(address), deployments, sole } = forge.api;
  const releases = 'releases' in forge.api && forge.api.releases;
  return { kind: forge.kind, repository, token, sole, deployments, releases, ...(url === undefined ? {} : { url }) };
}

/** `git@host:team/app.git` and `https://host/team/app` are `team/app`. */
export function pathOf(address: string): string {
  const plain = address
    .replace(/^[a-z+]+:\/\//i, '')
    .replace(/\/+$/, '')
    .replace(/\.git$/i, '');
  return plain.replace(/^[^/:]*@?[^/:]*(?::\d+)?[/:]/, '');
}
