import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Backup, BackupRecord } from '../../../src/providers/backups/port.ts';

/** A backup under test with a live database of one table of texts by key. */
export interface BackupLab {
  readonly backup: Backup;
  put(key: string, value: string): Promise<void>;
  remove(key: string): Promise<void>;
  rows(): Promise<Record<string, string>>;
  stop(): Promise<void>;
}

/** What every backup keeps, the fake included. */
export function describeBackup(name: string, start: () => Promise<BackupLab>): void {
  describe(`backup ${name}`, () => {
    let lab: BackupLab;
    let record: BackupRecord;
    const ref = { project: 'hello', environment: 'production', deployment: 7 };

    beforeAll(async () => {
      lab = await start();
      for (const key of ['a', 'b', 'c']) await lab.put(key, 'good');
    }, 180_000);
    afterAll(async () => {
      await lab.stop();
    });

    test('says beforehand what it will take', async () => {
      const sizes = await lab.backup.estimate();
      expect(sizes.databaseBytes).toBeGreaterThan(0);
      expect(sizes.connectionsFree).toBeGreaterThan(sizes.connectionsNeeded);
      expect(sizes.problems).toEqual([]);
    });

    test('is taken once for a deployment', async () => {
      record = await lab.backup.ensureTaken(ref);
      expect(record).toMatchObject({
        ...ref,
        sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
        tool: expect.anything(),
      });
      expect(record.tables.reduce((sum, table) => sum + table.rows, 0)).toBe(3);
      expect(await lab.backup.ensureTaken(ref)).toEqual(record);
    });

    test('cannot be swapped in or compared with before it was proved', async () => {
      await expect(lab.backup.ensureSwapped(record)).rejects.toMatchObject({ type: 'RestoreFailed', retryable: false });
      await expect(lab.backup.readLaterWrites(record)).rejects.toMatchObject({ type: 'BackupNotProved' });
    });

    test('is proved by what was in it', async () => {
      const proof = await lab.backup.ensureProved(record);
      expect(proof).toMatchObject({ database: expect.stringContaining('_proof_7'), tables: 1, rows: 3 });
      expect(await lab.backup.ensureProved(record)).toEqual(proof);
      expect(await lab.backup.readScratch()).toMatchObject([{ database: proof.database, deployment: 7 }]);
    });

    test('nothing was written since, and then something was', async () => {
      expect(await lab.backup.readLaterWrites(record)).toEqual({ inserted: 0, updated: 0, deleted: 0, tables: [] });
      await lab.put('d', 'later');
      await lab.put('a', 'damaged');
      await lab.remove('b');
      expect(await lab.backup.readLaterWrites(record)).toMatchObject({ inserted: 1, updated: 1, deleted: 1 });
    });

    test('is swapped in, once, and the rest is put aside', async () => {
      expect(await lab.backup.readSwapBegun(record)).toBe(false);
      const swap = await lab.backup.ensureSwapped(record);
      expect(swap).toMatchObject({ changed: true, damagedDatabase: expect.stringContaining('_damaged_7') });
      expect(await lab.rows()).toEqual({ a: 'good', b: 'good', c: 'good' });
      expect(await lab.backup.ensureSwapped(record)).toEqual({ ...swap, changed: false });
      expect(await lab.backup.readSwapBegun(record)).toBe(true);
      expect(await lab.backup.readDamaged()).toMatchObject([{ database: swap.damagedDatabase, deployment: 7 }]);
    });

    test('what was written since is exported, whatever was written after the swap', async () => {
      await lab.put('e', 'after the swap');
      const writes = await lab.backup.ensureLaterWritesExported(record);
      expect(writes).toMatchObject({ inserted: 1, updated: 1, deleted: 1, blob: expect.anything() });
      expect(writes.tables).toHaveLength(1);
    });

    test('the restored database is sound', async () => {
      expect(await lab.backup.verify(record)).toEqual({ problems: [], rows: 4, tables: 1 });
    });

    test('scratch and damaged databases go when they are told to, and not before', async () => {
      await lab.backup.ensureProofDropped(ref);
      await lab.backup.ensureProofDropped(ref);
      expect(await lab.backup.readScratch()).toEqual([]);
      const stopped = AbortSignal.abort();
      expect(await lab.backup.dropDamaged('2100-01-01T00:00:00.000Z', stopped)).toEqual([]);
      expect(await lab.backup.dropDamaged('2000-01-01T00:00:00.000Z')).toEqual([]);
      expect(await lab.backup.dropDamaged('2100-01-01T00:00:00.000Z')).toEqual([expect.stringContaining('_damaged_7')]);
      expect(await lab.backup.readDamaged()).toEqual([]);
    });
  });
}
