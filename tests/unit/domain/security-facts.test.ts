import { describe, expect, test } from '@jest/globals';
import { type GateName, defaultGate, withWish } from '../../../src/domain/gate.ts';
import {
  type AccessFacts,
  type ComplianceFacts,
  judgeAccess,
  judgeCompliance,
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

describe('gate 5, compliance', () => {
  test.each<[string, Partial<ComplianceFacts>, string]>([
    ['all is well', {}, 'passed'],
    ['no database', { verifiedBackup: 'not-applicable' }, 'passed'],
    ['the audit record is closed', { auditWritable: false }, 'failed'],
    ['nothing is encrypted', { encryptionAtRest: false }, 'failed'],
    ['nobody says', { encryptionAtRest: null }, 'errored'],
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
