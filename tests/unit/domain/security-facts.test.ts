import { describe, expect, test } from '@jest/globals';
import { type GateName, defaultGate, withWish } from '../../../src/domain/gate.ts';
import {
  type AccessFacts,
  type ComplianceFacts,
  judgeAccess,
  judgeCompliance,
  looksSecret,
} from '../../../src/domain/security-facts.ts';

const at = '2026-11-25T12:00:00Z';
const policy = (gate: GateName, production: boolean) => withWish(defaultGate(gate, production), {});

const access: AccessFacts = {
  approversAsked: 2,
  plainSecrets: [],
  unresolvedSecrets: [],
  networkPolicies: 'not-applicable',
};
const compliance: ComplianceFacts = {
  auditWritable: true,
  encryptionAtRest: true,
  verifiedBackup: { at: '2026-11-25T01:00:00Z' },
};

describe('gate 4, access control', () => {
  test.each<[string, Partial<AccessFacts>, string]>([
    ['all is well', {}, 'passed'],
    ['with network policies', { networkPolicies: 'present' }, 'passed'],
    ['nobody approves', { approversAsked: 0 }, 'failed'],
    ['a secret in the open', { plainSecrets: ['API_KEY'] }, 'failed'],
    ['a secret that is not there', { unresolvedSecrets: ['DATABASE_URL'] }, 'failed'],
    ['no network policy', { networkPolicies: 'absent' }, 'failed'],
    ['nobody could look', { networkPolicies: null }, 'errored'],
    ['nothing is known', { approversAsked: null, plainSecrets: null, unresolvedSecrets: null }, 'errored'],
  ])('%s', (_, facts, verdict) => {
    const told = judgeAccess(policy('access-control', true), { ...access, ...facts });
    expect(told).toMatchObject({ verdict, mode: 'block', blocks: verdict !== 'passed' });
    expect(judgeAccess(policy('access-control', false), { ...access, ...facts })).toMatchObject({
      verdict,
      mode: 'warn',
      blocks: false,
    });
  });
});

test.each([
  ['DATABASE_PASSWORD', 'hunter2', true],
  ['API_KEY', 'abcdef', true],
  ['TOKEN', 'abcd', true],
  ['URL', 'postgres://ada:hunter2@db/shop', true],
  ['ANYTHING', 'AKIAIOSFODNN7EXAMPLE', true],
  ['KEY', '-----BEGIN RSA PRIVATE KEY-----', true],
  ['TOKEN_TTL', '3600', false],
  ['PASSWORD_FILE', '/run/secrets/password', false],
  ['DATABASE_PASSWORD', '/run/secrets/password', false],
  ['SECRET', '', false],
  ['URL', 'postgres://db:5432/shop', false],
  ['MONKEY', 'banana', false],
])('%s=%s looks like a secret: %s', (name, value, expected) => {
  expect(looksSecret(name, value)).toBe(expected);
});

describe('gate 5, compliance', () => {
  test.each<[string, Partial<ComplianceFacts>, string]>([
    ['all is well', {}, 'passed'],
    ['no database', { verifiedBackup: 'not-applicable' }, 'passed'],
    ['the audit record is closed', { auditWritable: false }, 'failed'],
    ['nothing is encrypted', { encryptionAtRest: false }, 'failed'],
    ['nobody says', { encryptionAtRest: null }, 'errored'],
    ['a backup is taken and proved first', { verifiedBackup: 'before-change' }, 'passed'],
    ['no backup', { verifiedBackup: 'none' }, 'failed'],
    ['24 hours', { verifiedBackup: { at: '2026-11-24T12:00:00Z' } }, 'passed'],
    ['more than 24 hours', { verifiedBackup: { at: '2026-11-24T11:59:59Z' } }, 'failed'],
    ['a time that is none', { verifiedBackup: { at: 'yesterday' } }, 'failed'],
    ['nobody could look', { verifiedBackup: null }, 'errored'],
  ])('%s', (_, facts, verdict) => {
    expect(judgeCompliance(policy('compliance', true), { ...compliance, ...facts }, at)).toMatchObject({
      verdict,
      blocks: verdict !== 'passed',
    });
  });

  test('a gate that no document names is not judged', () => {
    expect(judgeCompliance(defaultGate('compliance', true), compliance, at)).toBeUndefined();
    expect(judgeAccess(withWish(defaultGate('access-control'), { mode: 'off' }), access)).toBeUndefined();
  });
});
