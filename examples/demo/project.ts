import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';

/** What the demo shortens, so that it can be watched in one sitting. The right column is what a project gets that says nothing. */
export const shortened = [
  { setting: 'approval.timeout', demo: '25s', usual: '30m' },
  { setting: 'watch.duration of staging', demo: '4s', usual: '2m' },
  { setting: 'watch.duration of production', demo: '12s', usual: '30m' },
  { setting: 'watch.interval', demo: '1s', usual: '10s' },
  { setting: 'watch.rollback.errorWindow', demo: '5s', usual: '5m' },
  { setting: 'limits.settle', demo: '3s', usual: '30s' },
  { setting: 'limits.drain', demo: '5s', usual: '30s' },
] as const;

/** Where the pieces are on this machine. */
export interface ProjectSite {
  /** Its name here: not that of a project which the person may have deployed to the same engine. */
  readonly name: string;
  readonly repositoryUrl: string;
  readonly registry: string;
  /** Image that steps run in and that the service is built on. */
  readonly baseImage: string;
  readonly webhookSecretFile: string;
  readonly socket?: string | undefined;
  /** Default: found by the worker, by the version of the server. */
  readonly clientBin?: string | undefined;
  readonly environments: Readonly<Record<'staging' | 'production', EnvironmentSite>>;
}

export interface EnvironmentSite {
  readonly port: number;
  readonly slots: { readonly blue: number; readonly green: number };
  /** File with the database's URL as this machine reaches it. */
  readonly databaseUrlFile: string;
  /** The same, as a container reaches it. */
  readonly serviceDatabaseUrlFile: string;
}

/** The example's project.yaml, with the addresses of this machine and the short times of the demo. */
export async function demoProject(site: ProjectSite): Promise<string> {
  const text = await readFile(new URL('../hello/project.yaml', import.meta.url), 'utf8');
  const document = parseDocument(text);
  document.commentBefore = ' Made by the demo from examples/hello/project.yaml.';
  document.setIn(['project'], site.name);
  document.setIn(['repository', 'url'], site.repositoryUrl);
  document.setIn(['repository', 'forge', 'secrets'], [{ file: site.webhookSecretFile }]);
  document.setIn(['registry', 'address'], site.registry);
  document.setIn(['steps', 'image'], site.baseImage);
  document.setIn(['builds', 'args', 'BASE_IMAGE'], site.baseImage);
  for (const [name, environment] of Object.entries(site.environments)) {
    const at = (...path: string[]): string[] => ['environments', name, ...path];
    document.setIn(at('target'), { kind: 'docker', ...(site.socket === undefined ? {} : { socket: site.socket }) });
    document.setIn(at('router', 'listen', 'port'), environment.port);
    document.setIn(at('router', 'slots'), environment.slots);
    document.setIn(at('database', 'url'), { file: environment.databaseUrlFile });
    if (site.clientBin !== undefined) document.setIn(at('database', 'clientBin'), site.clientBin);
    document.setIn(at('secrets', 'DATABASE_URL'), { file: environment.serviceDatabaseUrlFile });
    document.setIn(at('watch', 'interval'), '1s');
    document.setIn(at('watch', 'duration'), name === 'staging' ? '4s' : '12s');
    document.setIn(at('watch', 'rollback'), { errorWindow: '5s' });
    document.setIn(at('limits'), { settle: '3s', drain: '5s' });
  }
  document.setIn(['environments', 'production', 'approval', 'timeout'], '25s');
  return document.toString({ lineWidth: 0 });
}
