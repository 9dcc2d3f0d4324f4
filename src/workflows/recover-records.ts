import type { RecoveryReport, RecoveryRequest } from '../activities/contracts.ts';
import { call } from './call.ts';
import { recovering } from './proxies/upkeep.ts';
import { showPage } from './progress.ts';

/** Finds out, and with `apply` writes, what the store has lost of an environment. Never moves traffic. */
export async function recoverRecords(input: RecoveryRequest): Promise<RecoveryReport> {
  const { project, environment, apply } = input;
  const what = `${apply ? 'writes' : 'looks for'} what is missing of ${project}/${environment}`;
  const report = await call(recovering.recoverEnvironment, what, input);
  const { lines, problems, applied } = report;
  showPage(`records of ${project}/${environment}`, [
    lines.length === 0 ? 'nothing is missing' : applied ? 'written:' : 'would be written:',
    ...lines,
    ...problems.map((problem) => `**not known**: ${problem}`),
  ]);
  return report;
}
