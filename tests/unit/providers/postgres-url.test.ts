import { describe, expect, test } from '@jest/globals';
import { readPostgresUrl } from '../../../src/providers/backups/postgres-url.ts';

const base = 'postgres://app:p%40ss@db.example:6432/shop';
const of = (query: string, to = base): ReturnType<typeof readPostgresUrl> => readPostgresUrl(`${to}?${query}`);
const variables = (query: string, to = base): Readonly<Record<string, string>> =>
  of(query, to).programVariables('shop', '/authorities');

describe('a connection URL', () => {
  test('says the same to both without parameters', () => {
    const url = readPostgresUrl(base);
    expect(url).toMatchObject({ database: 'shop', address: 'db.example:6432', needsAuthorities: false });
    expect(url.programVariables('other')).toEqual({
      PGHOST: 'db.example',
      PGPORT: '6432',
      PGUSER: 'app',
      PGPASSWORD: 'p@ss',
      PGDATABASE: 'other',
    });
    expect(url.driverUrl('an other')).toBe('postgres://app:p%40ss@db.example:6432/an%20other');
  });

  test('has host, port and person where the driver looks for them', () => {
    const url = of('host=/var/run/pg&port=7000&user=ada&password=x', 'postgres://app:y@db.example/shop');
    expect(url.address).toBe('/var/run/pg:7000');
    expect(url.programVariables('shop')).toMatchObject({
      PGHOST: '/var/run/pg',
      PGPORT: '7000',
      PGUSER: 'ada',
      PGPASSWORD: 'x',
    });
    const six = readPostgresUrl('postgres://app@[::1]/shop');
    expect(six.address).toBe('[::1]:5432');
    expect(six.programVariables('shop')).toMatchObject({ PGHOST: '::1', PGPORT: '5432' });
  });

  // By pg 8: everything but these two is verified. By libpq: nothing is, below verify-ca.
  test.each([
    ['sslmode=disable', 'disable', undefined],
    ['ssl=0', 'disable', undefined],
    ['sslmode=no-verify', 'require', undefined],
    ['sslmode=no-verify&sslrootcert=/ca.pem', 'require', undefined],
    ['sslmode=require', 'verify-full', '/authorities'],
    ['ssl=true', 'verify-full', '/authorities'],
    ['sslnegotiation=direct', 'verify-full', '/authorities'],
    ['sslmode=prefer&sslrootcert=/ca.pem', 'verify-full', '/ca.pem'],
    ['sslmode=verify-ca&sslrootcert=/ca.pem', 'verify-full', '/ca.pem'],
    ['sslmode=verify-full&sslrootcert=/ca.pem', 'verify-full', '/ca.pem'],
    ['sslmode=verify-full&sslrootcert=system', 'verify-full', '/authorities'],
    ['sslrootcert=/ca.pem', 'verify-full', '/ca.pem'],
    ['sslmode=require&uselibpqcompat=true', 'require', undefined],
    ['sslmode=require&uselibpqcompat=true&sslrootcert=/ca.pem', 'require', '/ca.pem'],
    ['sslmode=verify-ca&uselibpqcompat=true&sslrootcert=/ca.pem', 'verify-ca', '/ca.pem'],
    ['sslmode=disable&sslmode=verify-full', 'verify-full', '/authorities'],
  ])('with %s has the programs verify what the driver verifies', async (query, mode, roots) => {
    const { PGSSLMODE, PGSSLROOTCERT } = variables(query);
    expect([PGSSLMODE, PGSSLROOTCERT]).toEqual([mode, roots]);
    expect(of(query).needsAuthorities).toBe(roots === '/authorities');
    if (!query.includes('/ca.pem')) await of(query).ensureUsable();
  });

  test('of an address has the authority verified, which every version of libpq can', () => {
    const at = (mode: string): string | undefined =>
      variables(`sslmode=${mode}&sslrootcert=/ca.pem`, 'postgres://app@10.0.0.7/shop')['PGSSLMODE'];
    expect([at('require'), at('verify-full')]).toEqual(['verify-ca', 'verify-full']);
  });

  test('passes on what both know, files by their whole path', () => {
    const query =
      'options=-c%20search_path%3Dshop&sslcert=own.crt&sslkey=/own.key&sslrootcert=ca.crt&channel_binding=require&gssencmode=disable';
    expect(variables(query)).toMatchObject({
      PGOPTIONS: '-c search_path=shop',
      PGSSLCERT: `${process.cwd()}/own.crt`,
      PGSSLKEY: '/own.key',
      PGSSLROOTCERT: `${process.cwd()}/ca.crt`,
      PGCHANNELBINDING: 'require',
      PGGSSENCMODE: 'disable',
    });
    expect(of(query).bindsChannel).toBe(true);
    const driver = new URL(of(query).driverUrl('shop')).searchParams;
    expect([driver.get('options'), driver.get('sslrootcert')]).toEqual([
      '-c search_path=shop',
      `${process.cwd()}/ca.crt`,
    ]);
  });

  test('leaves to Slipway what its connections are called and how long they wait', async () => {
    const url = of('application_name=mine&connect_timeout=0&sslmode=verify-full&sslrootcert=system');
    await url.ensureUsable();
    expect([...new URL(url.driverUrl('shop')).searchParams]).toEqual([['sslmode', 'verify-full']]);
    expect(Object.keys(url.programVariables('shop'))).not.toContain('PGAPPNAME');
  });

  test.each([
    [
      'schema=public&statement_timeout=5',
      /has `schema`, `statement_timeout`, by which .* It can have host, .*`options`/,
    ],
    ['sslmode=allow', /has an `sslmode` that is none of disable, no-verify, /],
    ['ssl=false', /has an `ssl` that is none of true, 1, 0/],
    ['ssl=true&sslmode=require', /has both `ssl` and `sslmode`/],
    ['sslmode=no-verify&uselibpqcompat=true', /which `uselibpqcompat` does not know/],
    [
      'sslrootcert=/secret-place/ca.pem',
      /the file that `sslrootcert` in .* names cannot be read by this worker \(ENOENT\)/,
    ],
  ])('with %s is refused with what, where, and no value', async (query, words) => {
    const error: unknown = await of(query)
      .ensureUsable()
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ type: 'ConfigurationInvalid', message: expect.stringMatching(words) });
    expect((error as Error).message).toContain('the connection URL of the database at db.example:6432');
    expect((error as Error).message).not.toMatch(/p@ss|p%40ss|public|secret-place|allow/);
  });

  test.each([
    ['no url', /is none/],
    ['postgres://app@db.example:6432/', /at db\.example:6432 names no database/],
  ])('that is %s is refused at once', (text, words) => {
    expect(() => readPostgresUrl(text)).toThrow(words);
  });
});
