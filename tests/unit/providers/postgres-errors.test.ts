import { expect, test } from '@jest/globals';
import { databaseError } from '../../../src/providers/migrations/postgres-errors.ts';

test.each([
  ['28P01', 'DatabaseRefused'],
  ['53100', 'DiskFull'],
  ['57P01', 'DatabaseUnreachable'],
  ['ECONNREFUSED', 'DatabaseUnreachable'],
  ['EPIPE', 'DatabaseUnreachable'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'DatabaseUnreachable'],
  ['42703', 'MigrationFailed'],
])('%s is %s', (code, type) => {
  const error = Object.assign(new Error('no'), { code });
  expect(databaseError(error, 'the database', 'MigrationFailed')).toMatchObject({ type });
});
