import { describe, expect, test } from '@jest/globals';
import { changesAnything, shownChanges, summarise, tellSummary } from '../../../src/domain/infrastructure.ts';
import { seal, unseal } from '../../../src/effects/seal.ts';
import { readComplaint, tellComplaint } from '../../../src/providers/infrastructures/terraform-complaints.ts';
import { readShown } from '../../../src/providers/infrastructures/terraform-show.ts';

function shown(changes: readonly object[], outputs: object = {}): string {
  return JSON.stringify({ format_version: '1.2', resource_changes: changes, output_changes: outputs });
}
function change(address: string, actions: readonly string[], more: object = {}): object {
  return { address, mode: 'managed', change: { actions, after: { password: 'a value' } }, ...more };
}

describe('what a plan would change', () => {
  test('is read by address, what destroys first, and without a value', () => {
    const summary = readShown(
      shown(
        [
          change('a.made', ['create']),
          change('a.same', ['no-op']),
          change('data.looked', ['read'], { mode: 'data' }),
          change('a.altered', ['update']),
          change('a.renewed', ['delete', 'create']),
          change('a.renewed["first"]', ['create', 'delete']),
          change('a.gone', ['delete']),
          change('a.gone', ['delete'], { deposed: 'f00f' }),
          change('a.left', ['forget']),
        ],
        { url: { actions: ['update'], after: 'a value' }, same: { actions: ['no-op'] } },
      ),
    );
    expect(summary).toEqual({
      changes: [
        { address: 'a.gone', action: 'destroy' },
        { address: 'a.gone (deposed f00f)', action: 'destroy' },
        { address: 'a.renewed', action: 'replace' },
        { address: 'a.renewed["first"]', action: 'replace' },
        { address: 'a.left', action: 'forget' },
        { address: 'a.altered', action: 'update' },
        { address: 'a.made', action: 'create' },
      ],
      counts: { create: 1, update: 1, replace: 2, destroy: 2, forget: 1 },
      outputs: ['url'],
    });
    expect(tellSummary(summary)).toBe('1 to create, 1 to update, 2 to replace, 2 to destroy, 1 to forget');
    expect(changesAnything(summary)).toBe(true);
  });

  test('of many is counted whole and listed in part, with nothing that a terminal obeys', () => {
    const many = Array.from({ length: shownChanges + 7 }, (_, index) => change(`a.x["\u001b[2J${index}"]`, ['create']));
    const { changes, counts } = readShown(shown(many));
    expect(changes).toHaveLength(shownChanges);
    expect(counts.create).toBe(shownChanges + 7);
    expect(JSON.stringify(changes)).not.toContain('\\u001b');
  });

  test('of nothing is nothing, and of outputs alone is something', () => {
    const none = readShown(shown([]));
    expect([changesAnything(none), tellSummary(none)]).toEqual([false, 'nothing to change']);
    const only = summarise([], ['url']);
    expect([changesAnything(only), tellSummary(only)]).toEqual([true, 'only outputs change: url']);
  });

  test.each([
    ['no JSON', 'Error: secret-value'],
    ['another format', JSON.stringify({ format_version: '2.0' })],
    ['an action that is not known', shown([change('a.b', ['explode'])])],
    ['an inherited name for an action', shown([change('a.b', ['constructor'])])],
  ])('that is %s is refused rather than left out, without repeating it', (_what, text) => {
    expect(() => readShown(text)).toThrow(
      expect.objectContaining({
        type: 'InfrastructureFailed',
        message: expect.not.stringContaining('secret-value') as unknown,
      }),
    );
  });
});

describe('what Terraform complains of', () => {
  const lock = `Error: Error acquiring the state lock

Error message: operation error S3: PutObject, https response error StatusCode: 412
Lock Info:
  ID:        9be5f5ed-34a3
  Path:      states/x.tfstate
  Operation: OperationTypeApply
  Who:       ada@laptop
  Version:   1.11.4
  Created:   2026-11-26 01:02:14.117274809 +0100 UTC
  Info:
`;
  test('is a lock with its holder', () => {
    expect(readComplaint(lock)).toEqual({
      type: 'InfrastructureLocked',
      lock: {
        id: '9be5f5ed-34a3',
        who: 'ada@laptop',
        operation: 'OperationTypeApply',
        created: new Date('2026-11-26T00:02:14.117Z'),
      },
    });
  });

  test('is a lock of nobody known where the backend names who asks and not who holds, broken over two lines or not', () => {
    for (const breaks of [' ', '\n']) {
      const said = lock.replace(
        /Error message.*/,
        `Error message: HTTP remote state already locked:${breaks}ID=of-another`,
      );
      expect(readComplaint(said).lock).toEqual({ id: 'of-another', who: '', operation: '', created: undefined });
    }
  });

  test.each([
    ['Error: Saved plan is stale\n\nThe given plan file', 'InfrastructureStale'],
    [
      'Error: Error acquiring the state lock\n\nError message: dial tcp: connect: connection\nrefused',
      'InfrastructureUnavailable',
    ],
    ['Error: Error acquiring the state lock\n\nError message: access denied', 'InfrastructureFailed'],
    [
      'Error: Failed to get existing workspaces: dial tcp 127.0.0.1:9: connect: connection refused',
      'InfrastructureUnavailable',
    ],
    ['Error: Unsupported argument', 'InfrastructureFailed'],
  ])('%j', (said, type) => {
    expect(readComplaint(said)).toEqual({ type });
  });

  test('is told without the line of source, which may hold values', () => {
    const said = `\n│ Error: Invalid value for variable\n│ \n│   on /tmp/x/slipway.tfvars.json line 3:\n│    3:   "password": "value"\n│     ├────\n│     │ var.x is "y"\n│\n│ There is no such colour.\n`;
    expect(tellComplaint(said)).toBe('Invalid value for variable var.x is "y" There is no such colour.');
    expect(tellComplaint('')).toBe('it gave no reason');
  });
});

describe('a sealed plan', () => {
  const content = Buffer.from('a plan with a password');
  test('is opened by its secret at its place only, and whole', () => {
    const sealed = seal(content, 'the key', 'a/place');
    expect(sealed.includes('password')).toBe(false);
    expect(unseal(sealed, 'the key', 'a/place').equals(content)).toBe(true);
    expect(seal(content, 'the key', 'a/place').equals(sealed)).toBe(false);
    const refused = expect.objectContaining({ type: 'SecretMissing' }) as unknown as Error;
    expect(() => unseal(sealed, 'another', 'a/place')).toThrow(refused);
    expect(() => unseal(sealed, 'the key', 'another/place')).toThrow(refused);
    for (const at of [0, 10, 30, 40, sealed.length - 1]) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => unseal(changed, 'the key', 'a/place')).toThrow(refused);
    }
    expect(() => unseal(sealed.subarray(0, 20), 'the key', 'a/place')).toThrow(refused);
  });
});
