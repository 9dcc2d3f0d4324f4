import { describe, expect, test } from '@jest/globals';
import { type ImageScan, countedBy, erroredScan, judgeScan } from '../../../src/domain/image-scan.ts';
import { type LiveImageScan, findingKey, judgeLiveScan } from '../../../src/domain/live-scan.ts';

const place = { project: 'hello', environment: 'production' };
const rules = { severities: ['critical', 'high'] as const, exceptions: [] };
const vulnerability = { aliases: [], severity: 'critical' as const, version: '1.0.0', fixedIn: ['1.0.1'] };
const found = (...names: readonly string[]): ImageScan => ({
  scanner: { name: 'osv-scanner', version: '2.2.0' },
  databaseAt: '2026-11-25T00:00:00.000Z',
  scannedAt: '2026-11-26T00:00:00.000Z',
  packages: 3,
  vulnerabilities: names.map((name) => ({ ...vulnerability, id: `TEST-${name}`, package: name })),
});

function image(name: string, scan: ImageScan, known: readonly string[] | null): LiveImageScan {
  const findings = countedBy(scan, rules).map((each) => {
    return { key: findingKey(each), severity: each.severity, line: `${each.id} in ${each.package}` };
  });
  return { name, digest: `sha256:${name}`, scan: judgeScan(scan, rules), findings, known };
}
const keyOf = (name: string): string => `TEST-${name} ${name} 1.0.0`;
const live = (...images: readonly LiveImageScan[]) => [{ role: 'live' as const, version: '1.0.0', images }];

describe('what a scan of what is live tells', () => {
  test('is what was known neither when it was built nor by the scan before', () => {
    const scans = live(image('web', found('old', 'seen', 'new'), [keyOf('old')]));
    const { round, fresh } = judgeLiveScan(place, scans, [keyOf('seen')]);
    expect(fresh.map(({ key }) => key)).toEqual([keyOf('new')]);
    expect(round).toMatchObject({
      kind: 'scan',
      subject: 'hello/production',
      verdict: 'failed',
      summary:
        '1 image looked at, 1 with advisories that count, 2 advisories new since the build, 1 of them for the first time',
    });
    expect(round.lines[0]).toContain('osv-scanner 2.2.0, advisories of 2026-11-25');
    expect(round.detail['keys']).toEqual(['new', 'old', 'seen'].map(keyOf));
    // And with this round before it, nothing is new.
    expect(judgeLiveScan(place, scans, round.detail['keys'] as readonly string[]).fresh).toEqual([]);
  });

  test('is everything, where nobody knows what was found when it was built', () => {
    const { fresh } = judgeLiveScan(place, live(image('web', found('a'), null)), null);
    expect(fresh).toHaveLength(1);
  });

  test('is the same advisory once, in however many images it is', () => {
    const { fresh } = judgeLiveScan(place, live(image('web', found('a'), []), image('api', found('a'), [])), null);
    expect(fresh).toHaveLength(1);
  });
});

test('an image that could not be scanned is errored, and what was known before stays known', () => {
  const errored: LiveImageScan = {
    name: 'api',
    digest: 'sha256:api',
    scan: erroredScan('the advisories are 4 days old', '2026-11-26T00:00:00.000Z'),
    findings: [],
    known: null,
  };
  const { round, fresh } = judgeLiveScan(place, live(image('web', found(), []), errored), [keyOf('seen')]);
  expect(round).toMatchObject({ verdict: 'errored', summary: '2 images looked at, 1 could not be scanned' });
  expect(round.lines).toContain('live 1.0.0, api: errored, the advisories are 4 days old');
  expect(round.detail['keys']).toEqual([keyOf('seen')]);
  expect(fresh).toEqual([]);
});

test('nothing live is no pass', () => {
  expect(judgeLiveScan(place, [], null).round).toMatchObject({ verdict: 'inconclusive', summary: 'nothing is live' });
});
