/**
 * Gates 4 and 5: access control and compliance. The documents give no criterion; A-41 makes them these checks. Activities collect the facts;
 * what could not be found out is `null`, and errored.
 */
import { type ProtectionReading, compareProtection } from './branch-protection.ts';
import type { GatePolicy } from './gate.ts';
import type { GateOutcome, GateVerdict } from './gate-verdict.ts';
import { noCounts } from './report.ts';
import { worst } from './verdict.ts';

/** Gate 4. */
export interface AccessFacts {
  /** People who must approve before this environment is changed; 0 where nobody must. */
  readonly approversAsked: number | null;
  /** Settings, by name, whose value looks like a secret. */
  readonly plainSecrets: readonly string[] | null;
  /** Secrets of the environment, by name, that could not be read. */
  readonly unresolvedSecrets: readonly string[] | null;
  /** Whether traffic to the workload is limited by NetworkPolicies; `not-applicable` where the target has no such thing. */
  readonly networkPolicies: 'present' | 'absent' | 'not-applicable' | null;
  /** How the forge protects branches; absent where the project does not ask. */
  readonly protections?: readonly ProtectionReading[];
}

/** Gate 5. */
export interface ComplianceFacts {
  /** Whether the audit record took an entry just now. */
  readonly auditWritable: boolean | null;
  /** Whether the project declares that data at rest are encrypted; null: it says nothing. */
  readonly encryptionAtRest: boolean | null;
  /** The newest backup that was restored or compared by checksum. */
  readonly verifiedBackup: VerifiedBackup | null;
}

/**
 * `not-applicable` without a database; `before-change`: the deployment takes one and proves it by a restore before it changes anything, or ends;
 * `at` is ISO 8601.
 */
export type VerifiedBackup = { readonly at: string } | 'before-change' | 'none' | 'not-applicable';

/** Names that say what they hold, as {@link inCapitals} has them. `TOKEN_TTL` and `PASSWORD_FILE` do not end so. */
const secretName =
  /(?:^|_)(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_KEY|ACCESS_KEY|SECRET_KEY|SSE_CUSTOMER_KEY|CREDENTIALS?)$/;

/**
 * Values that can be nothing else: addresses with a password, keys of forges and clouds, private keys, signed tokens, and what drivers of
 * databases are told (`host=db password=…`).
 */
const secretValue =
  /:\/\/[^/\s:@]*:[^/\s@]+@|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}|\bxox[abpr]-|-----BEGIN [A-Z ]*PRIVATE KEY|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.|(?:^|[\s;,?&])(?:[Pp]assword|PASSWORD|[Pp]wd)\s?=\s?[^\s;,&$/]/;

/** Where a secret is, instead of itself (a path, an ARN, a reference of CloudFormation); and an answer to whether there is one. */
const noSecret = /^(?:\/|arn:|\{\{resolve:|(?:true|false)$)/;

/** Whether a setting looks like a secret that stands in the open. */
export function looksSecret(name: string, value: string): boolean {
  if (secretValue.test(value)) return true;
  return secretName.test(inCapitals(name)) && value.length >= 4 && !noSecret.test(value);
}

/** `db_password`, `db-password` and `dbPassword` say the same as `DB_PASSWORD`: variables of infrastructure are written in any of these. */
function inCapitals(name: string): string {
  return name
    .replaceAll(/(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, '_')
    .replaceAll(/[-.]/g, '_')
    .toUpperCase();
}

interface Check {
  readonly name: string;
  readonly verdict: GateOutcome;
  readonly detail: string;
}

/** @returns undefined where the gate is off, or no document asks for it. */
export function judgeAccess(policy: GatePolicy, facts: AccessFacts): GateVerdict | undefined {
  const { approversAsked, plainSecrets, unresolvedSecrets, networkPolicies, protections = [] } = facts;
  return judge(policy, [
    check(
      'approval',
      approversAsked,
      (count) => count > 0,
      (count) => `${count} people must approve`,
      'nobody must approve',
    ),
    none('plain secrets', plainSecrets, 'no setting looks like a secret', 'settings look like secrets'),
    none('secret references', unresolvedSecrets, 'every secret can be read', 'secrets cannot be read'),
    ...(networkPolicies === 'not-applicable'
      ? []
      : [
          check(
            'network policies',
            networkPolicies,
            (one) => one === 'present',
            () => 'there are network policies',
            'there is no network policy',
          ),
        ]),
    ...protections.map(protectionCheck),
  ]);
}

/** What differs is bad, whatever else could not be found out. */
function protectionCheck(reading: ProtectionReading): Check {
  const { branch } = reading.wanted;
  const name = `protection of ${branch}`;
  const { differing, unknown } = compareProtection(reading);
  if (differing.length > 0) {
    return { name, verdict: 'failed', detail: `${name}: ${[...differing, ...unknown].join(', ')}` };
  }
  if (unknown.length > 0) return { name, verdict: 'errored', detail: `${name}: ${unknown.join(', ')}` };
  return { name, verdict: 'passed', detail: `${branch} is protected as the project asks` };
}

/** @returns undefined where the gate is off, or no document asks for it. */
export function judgeCompliance(policy: GatePolicy, facts: ComplianceFacts, at: string): GateVerdict | undefined {
  const { auditWritable, encryptionAtRest, verifiedBackup } = facts;
  return judge(policy, [
    check(
      'audit',
      auditWritable,
      (one) => one,
      () => 'the audit record can be written',
      'the audit record cannot be written',
    ),
    encryptionCheck(encryptionAtRest),
    ...(verifiedBackup === 'not-applicable' ? [] : [backupCheck(verifiedBackup, policy.backupAgeHours, at)]),
  ]);
}

function encryptionCheck(declared: boolean | null): Check {
  const name = 'encryption at rest';
  if (declared === null) {
    const detail = `${name}: the project declares nothing; \`encryptionAtRest\` of the environment says it`;
    return { name, verdict: 'errored', detail };
  }
  return declared
    ? { name, verdict: 'passed', detail: 'encryption at rest is declared' }
    : { name, verdict: 'failed', detail: 'data at rest are not encrypted' };
}

function backupCheck(verified: Exclude<VerifiedBackup, 'not-applicable'> | null, mostHours: number, at: string): Check {
  if (verified === 'before-change') {
    return { name: 'verified backup', verdict: 'passed', detail: 'a backup is proved before anything is changed' };
  }
  const hours = verified === null || verified === 'none' ? NaN : (Date.parse(at) - Date.parse(verified.at)) / 3_600_000;
  return check(
    'verified backup',
    verified,
    () => hours <= mostHours,
    () => `a backup was verified ${Math.max(0, Math.floor(hours))} h ago`,
    verified === 'none'
      ? 'no backup was ever verified'
      : `the last verified backup is ${Math.floor(hours)} h old, at most ${mostHours} h are allowed`,
  );
}

function check<Fact>(
  name: string,
  fact: Fact | null,
  good: (fact: Fact) => boolean,
  yes: (fact: Fact) => string,
  no: string,
): Check {
  if (fact === null) return { name, verdict: 'errored', detail: `${name}: could not be found out` };
  return good(fact) ? { name, verdict: 'passed', detail: yes(fact) } : { name, verdict: 'failed', detail: no };
}

function none(name: string, found: readonly string[] | null, yes: string, no: string): Check {
  return check(
    name,
    found,
    (names) => names.length === 0,
    () => yes,
    `${(found ?? []).slice(0, 10).join(', ')}: ${no}`,
  );
}

function judge(policy: GatePolicy, checks: readonly Check[]): GateVerdict | undefined {
  const { gate, mode, erroredBlocks } = policy;
  if (mode === 'off' || !policy.demanded) return undefined;
  const verdict = worst(checks.map((one) => one.verdict)) as GateOutcome;
  const decisive = checks.filter((one) => one.verdict === verdict).map(({ detail }) => detail);
  return {
    gate,
    mode,
    verdict,
    blocks: (mode === 'block' && verdict !== 'passed') || (erroredBlocks && verdict === 'errored'),
    reason: `${decisive.join('; ')}.`,
    reports: [],
    checks,
    counted: noCounts,
    findings: [],
    known: 0,
    suppressed: 0,
    suppressions: [],
  };
}
