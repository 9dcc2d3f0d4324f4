import { ProviderError } from '../../src/domain/failures.ts';
import { createOsvScanner } from '../../src/providers/scanners/osv-scanner.ts';
import { describeScanner } from '../contracts/scanners/suite.ts';
import { advisory, toolPath, writeOsvDatabase } from '../support/supply-chain.ts';

const vector = 'CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H';

describeScanner('osv-scanner', async () => {
  const program = await toolPath('osv-scanner');
  const planted = advisory({ id: 'TEST-2026-0001', name: 'left-paddle', fixed: '1.0.1', vector });
  return {
    scanner: createOsvScanner(() => Promise.resolve(program)),
    missing: createOsvScanner(() => Promise.reject(new ProviderError('ToolMissing', 'there is no osv-scanner'))),
    writeAdvisories: (folder, at) => writeOsvDatabase(folder, { npm: [planted] }, at),
  };
});
