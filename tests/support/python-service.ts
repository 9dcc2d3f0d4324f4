import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, parseDocument } from 'yaml';
import { z } from 'zod';
import { createForge } from '../../examples/demo/forge.ts';
import type { RunRecord } from '../../src/store/runs.ts';
import { type GitOrigin, createGitOrigin } from './git-origin.ts';
import type { InstallationStory } from './installation-story.ts';
import { until } from './until.ts';

const example = join(import.meta.dirname, '../../examples/python-service');

const Verdict = z.enum(['passed', 'failed', 'errored']);
const Change = z.union([
  z.strictObject({ file: z.string(), replace: z.string(), by: z.string() }),
  z.strictObject({ file: z.string(), delete: z.literal(true) }),
  z.strictObject({ file: z.string(), from: z.string() }),
  z.strictObject({ file: z.string(), content: z.string() }),
]);
const Breakage = z.strictObject({
  name: z.string(),
  what: z.string(),
  change: z.array(Change).min(1),
  stage: z.strictObject({ name: z.string(), verdict: Verdict }),
  gate: z.strictObject({ name: z.string(), verdict: Verdict, mode: z.enum(['block', 'warn']) }),
  outcome: z.enum(['succeeded', 'failed', 'errored']),
  says: z.array(z.string()).min(1),
});
export type Breakage = z.output<typeof Breakage>;

/** `examples/python-service/breakages/breakages.yaml`. */
export const breakages: readonly Breakage[] = z
  .array(Breakage)
  .parse(parse(readFileSync(join(example, 'breakages/breakages.yaml'), 'utf8')));

/** The files that a breakage leaves different, by their paths; null where one is gone. */
export function changesOf({ name, change }: Breakage): Readonly<Record<string, string | null>> {
  const files: Record<string, string | null> = {};
  for (const one of change) {
    if ('delete' in one) files[one.file] = null;
    else if ('from' in one) files[one.file] = readFileSync(join(example, 'breakages', one.from), 'utf8');
    else if ('content' in one) files[one.file] = one.content;
    else {
      const text = files[one.file] ?? readFileSync(join(example, one.file), 'utf8');
      if (text.split(one.replace).length !== 2)
        throw new Error(`${name}: ${one.file} has not exactly one ${one.replace}`);
      files[one.file] = text.replace(one.replace, () => one.by);
    }
  }
  return files;
}

/** The example as a project of an installation. */
export interface PythonService {
  readonly project: string;
  /** Pushes the example as it is to `main`, and waits for the end of its run. */
  healthy(): Promise<RunRecord>;
  /** Pushes a tag of what is healthy, and waits for the end of its run. */
  tag(name: string): Promise<RunRecord>;
  /** Pushes a branch with the breakage, and waits for the end of its run. */
  broken(breakage: Breakage): Promise<RunRecord>;
  remove(): void;
}

/** @param channel - file with the address that notices go to. */
export async function addPythonService(
  story: InstallationStory,
  options: {
    readonly registry: string;
    readonly channel: string;
    readonly secretFile: string;
    readonly secret: string;
    /** Where its wheel is published to, and the file with the password of `ci` there. */
    readonly index: string;
    readonly indexPasswordFile: string;
  },
): Promise<PythonService> {
  const project = 'parcels';
  const origin = createGitOrigin();
  const url = `file://${origin.path}`;
  const document = parseDocument(readFileSync(join(example, 'project.yaml'), 'utf8'));
  document.setIn(['repository', 'url'], url);
  document.setIn(['repository', 'forge', 'secrets'], [{ file: options.secretFile }]);
  document.setIn(['registry', 'address'], options.registry);
  const index = ['packageIndexes', 'internal'];
  document.setIn([...index, 'url'], options.index);
  document.setIn([...index, 'insecure'], true);
  document.setIn([...index, 'credentials', 'password'], { file: options.indexPasswordFile });
  document.setIn(['notifications'], [{ kind: 'slack', level: 'info', url: { file: options.channel } }]);
  await story.operator.putProject(project, document.toString({ lineWidth: 0 }));
  const forge = createForge({ api: story.system.url, project, secret: options.secret, cloneUrl: url });
  const nowhere = '0'.repeat(40);
  let main = nowhere;

  async function run(ref: string, before: string, after: string, subject: string): Promise<RunRecord> {
    const { status, body } = await forge.push({ ref, before, after, subject, author: 'linus' });
    if (status !== 202) throw new Error(`the webhook was answered with ${String(status)}: ${JSON.stringify(body)}`);
    const { number } = await until(
      async () => {
        const { items } = await story.operator.listRuns({ project, limit: 50 });
        return items.find((one) => one.commit === after && one.ref === ref);
      },
      { timeoutMs: 60_000, everyMs: 200, what: `a run of ${ref}` },
    );
    return await story.endOfRun({ project, number });
  }

  return {
    project,
    async healthy() {
      cpSync(example, origin.path, { recursive: true });
      const before = main;
      main = origin.commit({}, 'feat: parcels have prices');
      return await run('refs/heads/main', before, main, 'feat: parcels have prices');
    },
    async tag(name) {
      origin.git('tag', name, main);
      return await run(`refs/tags/${name}`, nowhere, main, 'feat: parcels have prices');
    },
    async broken(breakage) {
      const after = branchOff(origin, main, breakage);
      return await run(`refs/heads/feature/${breakage.name}`, nowhere, after, breakage.what);
    },
    remove: () => origin.remove(),
  };
}

/** Synchronous as a whole, for all branches are made in one working copy. */
function branchOff(origin: GitOrigin, from: string, breakage: Breakage): string {
  origin.git('checkout', '--quiet', '-B', `feature/${breakage.name}`, from);
  return origin.commit(changesOf(breakage), breakage.what);
}

/** A file of the example. */
export function exampleFile(path: string): string {
  return readFileSync(join(example, path), 'utf8');
}
