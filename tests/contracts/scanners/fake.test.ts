import { createFakeScanner, writeFakeDatabase } from '../../support/fakes/scanner.ts';
import { describeScanner } from './suite.ts';

describeScanner('fake', () =>
  Promise.resolve({
    scanner: createFakeScanner(),
    missing: createFakeScanner('osv-scanner', () => true),
    writeAdvisories: (folder, at) =>
      writeFakeDatabase(
        folder,
        'npm',
        [{ id: 'TEST-2026-0001', alias: 'CVE-2026-0001', name: 'left-paddle', fixed: '1.0.1' }],
        at,
      ),
  }),
);
