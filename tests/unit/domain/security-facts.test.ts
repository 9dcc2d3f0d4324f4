import { describe, expect, test } from '@jest/globals';
import {
  type BranchProtection,
  type WantedProtection,
  compareProtection,
  unprotected,
} from '../../../src/domain/branch-protection.ts';
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
const wanted: WantedProtection = {
  branch: 'main',
  check: 'slipway/hello',
  approvals: 1,
  upToDate: true,
  dismissesStale: true,
  administrators: true,
  onlyAdministratorsPush: true,
};
const full: BranchProtection = {
  pullRequest: true,
  approvals: 2,
  statusChecks: true,
  upToDate: true,
  dismissesStale: true,
  administrators: true,
  pushers: 'nobody',
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
    ['branches as they should be', { protections: [{ wanted, found: full }] }, 'passed'],
    ['a branch without checks', { protections: [{ wanted, found: { ...full, statusChecks: false } }] }, 'failed'],
    ['a branch that lets others push', { protections: [{ wanted, found: { ...full, pushers: 'others' } }] }, 'failed'],
    ['a branch of which it is not known', { protections: [{ wanted, found: { ...full, upToDate: null } }] }, 'errored'],
    ['a forge that refuses', { protections: [{ wanted, refused: '403' }] }, 'errored'],
    [
      'a branch that differs, and does not tell all',
      { protections: [{ wanted, found: { ...full, upToDate: null, approvals: 0 } }] },
      'failed',
    ],
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
  ['db_password', 'hunter2', true],
  ['db-password', 'hunter2', true],
  ['dbPassword', 'hunter2', true],
  ['MasterUserPassword', 'hunter2', true],
  ['DBPassword', 'hunter2', true],
  ['secret_key', 'abcdef', true],
  ['sse_customer_key', 'abcdef', true],
  ['conn_str', 'host=db user=ada password=hunter2', true],
  ['conn_str', 'host=db user=ada password=$PGPASSWORD', false],
  ['token_ttl', '3600', false],
  ['passwordFile', '/run/secrets/password', false],
  ['manage_master_user_password', 'true', false],
  ['db_secret', 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:db', false],
  ['DBPassword', '{{resolve:secretsmanager:db:SecretString:password}}', false],
  ['monkey', 'banana', false],
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

  test('a gate that no document names is judged in production, and nowhere else', () => {
    for (const facts of [compliance, { ...compliance, encryptionAtRest: null }]) {
      expect(judgeCompliance(defaultGate('compliance', true), facts, at)).toMatchObject({ mode: 'block' });
      expect(judgeCompliance(defaultGate('compliance'), facts, at)).toBeUndefined();
    }
    expect(judgeAccess(defaultGate('access-control', true), { ...access, approversAsked: 0 })).toMatchObject({
      verdict: 'failed',
      blocks: true,
    });
    expect(judgeAccess(defaultGate('access-control'), access)).toBeUndefined();
    expect(judgeAccess(withWish(defaultGate('access-control', true), { mode: 'off' }), access)).toBeUndefined();
  });

  test.each([
    ['compliance', true, true],
    ['compliance', false, false],
    ['access-control', true, true],
  ] as const)(
    '%s that could not be found out and only warns blocks in production (%s): %s',
    (gate, production, blocks) => {
      const warns = withWish(defaultGate(gate, production), { mode: 'warn' });
      const unknown =
        gate === 'compliance'
          ? judgeCompliance(warns, { ...compliance, encryptionAtRest: null }, at)
          : judgeAccess(warns, { ...access, plainSecrets: null });
      expect(unknown).toMatchObject({ mode: 'warn', verdict: 'errored', blocks });
      const bad =
        gate === 'compliance'
          ? judgeCompliance(warns, { ...compliance, encryptionAtRest: false }, at)
          : judgeAccess(warns, { ...access, plainSecrets: ['API_KEY'] });
      expect(bad).toMatchObject({ verdict: 'failed', blocks: false });
    },
  );

  test('a backup may be as old as the document says', () => {
    const old = { ...compliance, verifiedBackup: { at: '2026-11-23T12:00:00Z' } };
    const within = (backupAgeHours: number) =>
      judgeCompliance(withWish(defaultGate('compliance', true), { backupAgeHours }), old, at);
    expect(within(48)).toMatchObject({ verdict: 'passed' });
    expect(within(47)).toMatchObject({ verdict: 'failed', reason: expect.stringContaining('at most 47 h') });
  });
});

describe('the protection of a branch', () => {
  test('differs in everything where there is none', () => {
    expect(compareProtection({ wanted, found: unprotected }).differing).toEqual([
      'changes get in without a pull request',
      'no status check must pass',
      '0 approvals are needed, 1 should be',
      'a branch may be merged that is not up to date',
      'approvals stay after new commits',
      'administrators are not included',
      'others than administrators may push past it',
    ]);
  });

  test.each<[string, Partial<BranchProtection>, readonly string[]]>([
    ['the check must pass', { checkNames: ['cla/signed', 'slipway/hello'] }, []],
    ['the forge knows no names', {}, []],
    [
      'another one must pass',
      { statusChecks: false, checkNames: ['cla/signed'] },
      ['the check slipway/hello need not pass, only cla/signed'],
    ],
    [
      'many others must',
      { statusChecks: false, checkNames: ['a', 'b', 'c', 'd'] },
      ['the check slipway/hello need not pass, only a, b, c and 1 more'],
    ],
    ['none must', { statusChecks: false, checkNames: [] }, ['no status check must pass']],
    ['none must, of which there are no names', { statusChecks: false }, ['no status check must pass']],
  ])('says of the check: %s', (_, found, differing) => {
    expect(compareProtection({ wanted, found: { ...full, ...found } })).toEqual({ differing, unknown: [] });
  });

  test('of a second branch needs a pull request and its checks only', () => {
    const second = {
      branch: 'develop',
      check: 'slipway/hello',
      approvals: 0,
      ...{ upToDate: false, dismissesStale: false, administrators: false, onlyAdministratorsPush: false },
    };
    expect(
      compareProtection({ wanted: second, found: { ...unprotected, pullRequest: true, statusChecks: true } }),
    ).toEqual({ differing: [], unknown: [] });
  });
});
