import { sql } from 'kysely';
import type { Migration } from 'kysely/migration';
import { first } from './0001-first.ts';
import { fence } from './0002-fence.ts';
import { operatorWords } from './0003-operator-words.ts';
import { keptFiles } from './0004-kept-files.ts';
import { reports } from './0005-reports.ts';
import { imageEvidence } from './0006-image-evidence.ts';
import { refsSeen } from './0007-refs-seen.ts';
import { findingAliases } from './0009-finding-aliases.ts';
import { startedRuns } from './0010-started-runs.ts';
import { upkeep } from './0013-upkeep.ts';
import { packages } from './0015-packages.ts';
import { runTurns } from './0016-run-turns.ts';
import { proofs } from './0019-proofs.ts';
import { undelivered } from './0019-undelivered.ts';
import { builtImages } from './0022-built-images.ts';
import { imagesByDigest } from './0023-images-by-digest.ts';
import { registryClaims } from './0022-registry-claims.ts';
import { told } from './0024-told.ts';
import { toldByKind } from './0025-told-by-kind.ts';

/** All migrations by name, in the order in which they run. Forward only: an older Slipway is not started on a newer store. */
export const migrations: Readonly<Record<string, Migration>> = {
  '0001-first': fromText(first),
  '0002-fence': fromText(fence),
  '0003-operator-words': fromText(operatorWords),
  '0004-kept-files': fromText(keptFiles),
  '0005-reports': fromText(reports),
  '0006-image-evidence': fromText(imageEvidence),
  '0007-refs-seen': fromText(refsSeen),
  '0009-finding-aliases': fromText(findingAliases),
  '0010-started-runs': fromText(startedRuns),
  '0013-upkeep': fromText(upkeep),
  '0015-packages': fromText(packages),
  '0016-run-turns': fromText(runTurns),
  '0019-proofs': fromText(proofs),
  '0019-undelivered': fromText(undelivered),
  '0022-built-images': fromText(builtImages),
  '0022-registry-claims': fromText(registryClaims),
  '0023-images-by-digest': fromText(imagesByDigest),
  '0024-told': fromText(told),
  '0025-told-by-kind': fromText(toldByKind),
};

function fromText(text: string): Migration {
  return {
    async up(db) {
      await sql.raw(text).execute(db);
    },
  };
}
