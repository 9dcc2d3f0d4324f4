import { withoutControls } from '../../effects/control.ts';
import { type CommandContext, defaultProject } from '../context.ts';
import { CliError } from '../exit.ts';
import { parseName } from '../names.ts';
import { linkLines } from '../pages/links.ts';

/** `slipway report <run>`: tests, coverage, gates and findings of a run, as Markdown; with `--json` as data. */
export async function report(context: CommandContext, name: string): Promise<void> {
  const client = await context.connect();
  const named = parseName(name, await defaultProject(client));
  if (named.kind !== 'run') {
    throw new CliError('usage', `${name} is a deployment; reports belong to the run that made its release.`, {
      next: [{ command: `slipway status ${name}`, when: 'to see which run that was' }],
    });
  }
  const { terminal } = context;
  const [data, text, links] = await Promise.all([
    client.readReport(named),
    terminal.json ? '' : client.readReportText(named),
    // The report is worth reading without them.
    client.readPageLinks(named).catch(() => undefined),
  ]);
  terminal.result('report', links === undefined ? { report: data } : { report: data, links }, () =>
    withoutControls(text).trimEnd(),
  );
  if (links !== undefined && !terminal.json) for (const line of linkLines(links, client)) terminal.say(line);
}
