import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';

/**
 * `node scripts/record-history.ts ADDRESS FOLDER WORKFLOW_ID NAME [WORKFLOW_ID NAME …]`: keeps the histories of workflows that have run, for the
 * replay tests. A recorded history is never made anew to make a test pass; a new scenario gets a new name.
 */
const [address, folder, ...pairs] = process.argv.slice(2);
if (address === undefined || folder === undefined || pairs.length === 0 || pairs.length % 2 !== 0) {
  process.stderr.write('Usage: record-history ADDRESS FOLDER WORKFLOW_ID NAME [WORKFLOW_ID NAME …]\n');
  process.exitCode = 2;
} else {
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });
  await mkdir(folder, { recursive: true });
  for (let index = 0; index < pairs.length; index += 2) {
    const [workflowId = '', name = ''] = pairs.slice(index, index + 2);
    const history = await client.workflow.getHandle(workflowId).fetchHistory();
    const file = join(folder, `${name}.json`);
    // historyToJSON, not JSON.stringify: the latter writes bytes and enums in a form that cannot be read back.
    await writeFile(
      file,
      `${JSON.stringify({ workflowId, history: JSON.parse(historyToJSON(history)) as unknown })}\n`,
    );
    process.stdout.write(`${file}: ${history.events?.length ?? 0} events of ${workflowId}\n`);
  }
  await connection.close();
}
