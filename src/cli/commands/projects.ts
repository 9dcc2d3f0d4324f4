import { readFileSync } from 'node:fs';
import { type CommandContext, screenOf } from '../context.ts';
import { CliError } from '../exit.ts';
import { columnsOf } from '../pages/lists.ts';
import { relative } from '../time.ts';

/** `slipway project apply <file>`: puts a new revision of project.yaml in force, shows what changed and what will keep a release out. */
export async function applyProject(context: CommandContext, file: string): Promise<void> {
  const { loadProject, validateFiles } = await import('../../definition/load.ts');
  const { renderProblems } = await import('../../definition/render.ts');
  const { terminal } = context;
  const text = readText(file);
  const loaded = loadProject({ file, text });
  if (!loaded.ok) {
    if (!terminal.json)
      terminal.say(renderProblems(loaded.problems, { color: terminal.colour, sources: new Map([[file, text]]) }));
    throw new CliError('usage', `${file} was not sent: it has problems.`, {
      type: 'definition-invalid',
      detail: loaded.problems,
    });
  }
  const client = await context.connect();
  const name = loaded.value.project;
  const { revision, changed, diff } = await client.putProject(name, text);
  const { warnings, sources } = await validateFiles([file]);
  terminal.result('project', { project: name, revision, changed, diff: diff ?? '', warnings }, () =>
    [
      `${name}: revision ${revision}${changed ? '' : ', nothing changed'}`,
      ...(diff === undefined || diff === '' ? [] : [diff]),
      ...(warnings.length === 0
        ? []
        : [renderProblems(warnings, { color: terminal.colour, sources, are: 'warnings' })]),
    ].join('\n\n'),
  );
}

/** `slipway project list`. */
export async function listProjects(context: CommandContext): Promise<void> {
  const client = await context.connect();
  const projects = await client.listProjects();
  context.terminal.result('projects', { projects }, () => {
    if (projects.length === 0) return 'No projects yet; `slipway project apply project.yaml` makes one.';
    const { nowMs, columns } = screenOf(context);
    const rows = projects.map(({ name, revision, updatedAt }) => [
      name,
      `revision ${revision}`,
      relative(updatedAt, nowMs),
    ]);
    return columnsOf(rows, columns).join('\n');
  });
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    throw new CliError('not-found', `${file} cannot be read.`);
  }
}
