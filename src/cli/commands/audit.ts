import { withoutControls } from '../../effects/control.ts';
import type { CommandContext } from '../context.ts';
import { CliError } from '../exit.ts';
import { parseDuration } from '../time.ts';

export interface AuditOptions {
  readonly since: string;
  readonly until?: string | undefined;
}

/** `slipway audit --since 30d`: who did and decided what, as Markdown; with `--json` as data. */
export async function audit(context: CommandContext, options: AuditOptions): Promise<void> {
  const client = await context.connect();
  const nowMs = Date.now();
  const period = {
    project: client.connection.project,
    since: moment('--since', options.since, nowMs),
    until: options.until === undefined ? undefined : moment('--until', options.until, nowMs),
  };
  const { terminal } = context;
  if (terminal.json) {
    terminal.result('audit', { report: await client.readAuditReport(period) }, () => '');
    return;
  }
  const page = await client.readAuditReportText(period);
  terminal.result('audit', {}, () => withoutControls(page).trimEnd());
}

/** `30d`: so long ago; `2026-11-01`, `2026-11-01T06:00:00Z`: then. */
function moment(option: string, text: string, nowMs: number): string {
  const ago = /^\d{4}-/.test(text) ? undefined : parseDuration(text);
  const at = ago === undefined ? Date.parse(text) : nowMs - ago;
  if (Number.isNaN(at)) throw new CliError('usage', `${option} is a time such as 30d, or a day such as 2026-11-01.`);
  return new Date(at).toISOString();
}
