import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { canonical, canonicalHash } from '../../../src/definition/canonical.ts';
import { reviveDefinition } from '../../../src/definition/load.ts';
import { hashDefinition, serialiseDefinition } from '../../../src/definition/pair.ts';
import { planHash } from '../../../src/definition/plan-hash.ts';
import { runKey, runKeyOf } from '../../../src/definition/run-key.ts';
import type { PlanIdentity } from '../../../src/domain/plan.ts';
import { pairOf, projectText, repositoryText } from './documents.ts';

describe('the hash of a definition', () => {
  test('does not change with comments, order and spelling of the same values', () => {
    const other = `# a comment\n${repositoryText.replace('version: 1\n', '')}version: 0x1\n`;
    expect(hashDefinition(pairOf({ repository: other }))).toBe(hashDefinition(pairOf()));
  });

  test('changes with everything that was written', () => {
    const hashes = [
      pairOf(),
      pairOf({ repository: repositoryText.replace('8080', '8081') }),
      pairOf({ project: projectText.replace('18080', '28080') }),
      pairOf({ project: `${projectText}builds: { concurrency: 3 }\n` }),
    ].map(hashDefinition);
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  test('belongs to the stored text, which gives back the same pair', () => {
    const pair = pairOf();
    const revived = reviveDefinition(serialiseDefinition(pair));
    expect(revived).toEqual(pair);
    expect(hashDefinition(revived)).toBe(hashDefinition(pair));
  });

  test('a stored text that is no longer accepted is refused with what is wrong', () => {
    expect(() => reviveDefinition('{"repository":{"version":1},"project":{"version":1}}')).toThrow(
      'project.yaml (stored):1:1 project is missing',
    );
  });
});

describe('the canonical text', () => {
  test('is that of RFC 8785', () => {
    // Section 3.2.2 of the RFC.
    const value = JSON.parse(
      '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}',
    ) as unknown;
    expect(canonical(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  test('does not depend on the order of keys and tells values apart', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const reversed = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalHash(reversed)).toBe(canonicalHash(value));
        // Minus zero is zero to JSON.
        expect(JSON.parse(canonical(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});

const identity: PlanIdentity = {
  release: {
    version: '42-a3f4b2c',
    commit: 'a3f4b2c',
    images: [{ name: 'app', repository: 'r/app', digest: 'sha256:1' }],
  },
  definition: 'd',
  configuration: 'c',
  secrets: { TOKEN: 'v1' },
  migrations: [{ name: '001_a.sql', checksum: 'x', kind: 'expand' }],
  strategy: { kind: 'blue-green' },
  target: { kind: 'docker', name: 'shop-production' },
  live: null,
};

describe('the hash of a plan', () => {
  const changes: readonly Partial<PlanIdentity>[] = [
    { release: { ...identity.release, version: '43-a3f4b2c' } },
    { release: { ...identity.release, images: [{ name: 'app', repository: 'r/app', digest: 'sha256:2' }] } },
    { definition: 'e' },
    { configuration: 'd' },
    { secrets: { TOKEN: 'v2' } },
    { secrets: {} },
    { migrations: [] },
    { target: { kind: 'docker', name: 'other' } },
    { live: { version: '41', commit: 'b', images: [] } },
    { infrastructure: { kind: 'terraform', plan: 'a' } },
    { infrastructure: { kind: 'terraform', plan: 'b' } },
    { infrastructure: { kind: 'opentofu', plan: 'b' } },
  ];

  test('has 64 characters and changes with every part of the identity', () => {
    const hashes = [identity, ...changes.map((change) => ({ ...identity, ...change }))].map(planHash);
    expect(hashes[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  test('does not change with what was carried along by accident', () => {
    const extra = { ...identity, risk: { score: 3 } } as PlanIdentity;
    expect(planHash(extra)).toBe(planHash(identity));
  });
});

describe('the key of a run', () => {
  const event = { kind: 'push', ref: 'refs/heads/main', before: '0'.repeat(40), after: 'a'.repeat(40) } as const;

  test('is the same for the same event and another for anything else', () => {
    const keys = [
      runKey(event),
      runKey({ ...event, kind: 'manual' }),
      runKey({ ...event, ref: 'refs/heads/develop' }),
      runKey({ ...event, before: 'b'.repeat(40) }),
      runKey({ ...event, after: 'b'.repeat(40) }),
      runKey({ ...event, kind: 'tag', ref: 'refs/tags/v1.0.0' }),
      runKey({ ...event, into: 'main', retargetedAt: '1' }),
      runKey({ ...event, into: 'develop', retargetedAt: '1' }),
      runKey({ ...event, into: 'main', retargetedAt: '2' }),
      runKeyOf(JSON.stringify(['push', event.ref, event.before, event.after])),
    ];
    expect(runKey({ ...event })).toBe(keys[0]);
    // Of runs that there are: of a target alone, an event says the same as before.
    expect(runKey({ ...event, into: 'main' })).toBe(keys[0]);
    expect(keys[0]).toBe('b74292a5be83c4f7e4b32671');
    expect(new Set(keys).size).toBe(keys.length);
    for (const key of keys) expect(key).toMatch(/^[0-9a-f]{24}$/);
  });

  test('does not let text wander from one field to the next', () => {
    expect(runKey({ ...event, ref: 'refs/heads/a', before: 'b' })).not.toBe(
      runKey({ ...event, ref: 'refs/heads/ab', before: '' }),
    );
  });
});
