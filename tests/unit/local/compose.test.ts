import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { readConfig } from '../../../src/config.ts';
import { searchAttributes } from '../../../src/local/temporal.ts';
import { haproxyArguments } from '../../../src/providers/routers/haproxy-file.ts';

interface Service {
  readonly image?: string;
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly networks?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly healthcheck?: { readonly test: readonly string[] };
}

const root = resolve(import.meta.dirname, '../../..');
const secrets = { SLIPWAY_STORE_PASSWORD: 'a', SLIPWAY_TEMPORAL_PASSWORD: 'b', SLIPWAY_INSTALLATION_KEY: 'c' };

/** As Compose reads it: variables replaced by what is given or by their defaults, anchors merged. */
function readCompose(given: Readonly<Record<string, string>>) {
  const text = readFileSync(join(root, 'docker-compose.yml'), 'utf8').replace(
    /\$\{(\w+)(?::([-?])([^}]*))?\}/g,
    (_whole, name: string, kind?: string, rest?: string) => given[name] ?? (kind === '-' ? rest! : `missing ${name}`),
  );
  const { services, ...rest } = parse(text, { merge: true }) as { services: Record<string, Service> };
  return { services, rest: rest as { networks: object; volumes: object } };
}

describe('docker-compose.yml', () => {
  const { services, rest } = readCompose(secrets);

  test('waits only for services that there are', () => {
    const wanted = Object.values(services).flatMap((service) => Object.keys(service.depends_on ?? {}));
    expect(wanted.filter((name) => !Object.hasOwn(services, name))).toEqual([]);
    expect(wanted).toEqual(expect.arrayContaining(['store', 'temporal-namespace', 'router-files']));
  });

  test('publishes on loopback only', () => {
    const published = Object.values(services).flatMap(({ ports }) => ports ?? []);
    expect(published.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([]);
    expect(published.length).toBeGreaterThan(0);
  });

  test('names every network and volume it uses', () => {
    const used = Object.values(services).flatMap(({ networks }) => networks ?? []);
    expect(new Set(used)).toEqual(new Set(Object.keys(rest.networks)));
    const volumes = Object.values(services).flatMap((service) => service.volumes ?? []);
    const named = volumes.map((volume) => volume.split(':')[0]!).filter((source) => /^\w+$/.test(source));
    expect(new Set(named)).toEqual(new Set(Object.keys(rest.volumes)));
  });

  test('starts files that there are', () => {
    const files = Object.values(services)
      .flatMap(({ command = [], entrypoint = [] }) => [...command, ...entrypoint])
      .filter((word) => /\.(ts|sh)$/.test(word))
      .map((word) => word.replace('/setup/', 'deploy/compose/'));
    expect(files).toEqual(expect.arrayContaining(['src/api/main.ts', 'src/workers/main.ts']));
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });

  test.each(['api', 'worker'])('gives the %s an environment it accepts', (name) => {
    const config = readConfig(services[name]!.environment);
    expect(config.databaseUrl).toBe('postgres://slipway:a@127.0.0.1:5440/slipway');
    expect(config.temporal.address).toBe('127.0.0.1:7233');
  });

  test('starts the router on the folder and the socket that the worker writes to', () => {
    const { configFolder, masterSocket } = readConfig(services['worker']!.environment).router;
    expect(services['router']!.command).toEqual(haproxyArguments({ configFolder, masterSocket }));
    expect(services['router']!.volumes).toEqual([`${configFolder}:${configFolder}`]);
  });

  test('asks PostgreSQL over TCP whether it is healthy, since the server that sets the folder up has only a socket', () => {
    for (const name of ['store', 'temporal-postgresql']) {
      expect(services[name]!.healthcheck?.test[1]).toContain('--host 127.0.0.1');
    }
  });

  test('gives secrets to those alone that use them', () => {
    const given = {
      SLIPWAY_STORE_PASSWORD: 'word-1',
      SLIPWAY_TEMPORAL_PASSWORD: 'word-2',
      SLIPWAY_INSTALLATION_KEY: 'word-3',
    };
    const { services: filled } = readCompose(given);
    const holders = (secret: string): string[] =>
      Object.keys(filled)
        .filter((name) => JSON.stringify(filled[name]!.environment ?? {}).includes(secret))
        .sort();
    expect(holders('word-1')).toEqual(['api', 'store', 'worker']);
    expect(holders('word-2')).toEqual(['temporal', 'temporal-postgresql', 'temporal-schema']);
    expect(holders('word-3')).toEqual(['api', 'worker']);
  });

  test('has no password of its own', () => {
    expect(JSON.stringify(readCompose({}).services)).toContain('missing SLIPWAY_STORE_PASSWORD');
    const text = readFileSync(join(root, 'docker-compose.yml'), 'utf8');
    expect([...text.matchAll(/(PASSWORD|_PWD|_KEY): (?!\$\{)\S+/g)].map(([line]) => line)).toEqual([]);
  });

  test('makes the namespace also on a machine whose engine reaches no name server outside', () => {
    const { environment } = services['temporal-namespace']!;
    expect(environment?.['TEMPORAL_ADDRESS']).toBe('passthrough:///temporal:7233');
  });

  test('registers the search attributes that workflows upsert', () => {
    const script = readFileSync(join(root, 'deploy/compose/setup-namespace.sh'), 'utf8');
    expect(/for name in (.*); do/.exec(script)?.[1]?.split(' ')).toEqual(searchAttributes);
  });

  test('says how long it has really waited for a Temporal that does not get healthy', () => {
    const folder = mkdtempSync(join(tmpdir(), 'slipway-namespace-'));
    const program = (name: string, body: string): void =>
      writeFileSync(join(folder, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    try {
      // A clock that only waiting moves: a try takes 5 s here, as where nobody answers.
      writeFileSync(join(folder, 'now'), '1000');
      program('date', 'cat "$CLOCK"');
      program('sleep', 'echo $(($(cat "$CLOCK") + $1)) > "$CLOCK"');
      program('temporal', 'sleep 5; exit 1');
      const { status, stdout } = spawnSync('/bin/sh', [join(root, 'deploy/compose/setup-namespace.sh')], {
        env: { PATH: `${folder}:/usr/bin:/bin`, CLOCK: join(folder, 'now'), TEMPORAL_ADDRESS: 'temporal:7233' },
        encoding: 'utf8',
      });
      expect([status, stdout]).toEqual([
        1,
        'Temporal at temporal:7233 is not healthy after 30 tries in 208 s; look at its log\n',
      ]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('the Dockerfile', () => {
  test('copies what there is, and the ignore file lets it through', () => {
    const text = readFileSync(join(root, 'Dockerfile'), 'utf8');
    const copied = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources]) => sources!.split(' '));
    const allowed = readFileSync(join(root, '.dockerignore'), 'utf8').split('\n');
    expect(copied).toEqual(expect.arrayContaining(['src', 'bin', 'package-lock.json']));
    expect(copied.filter((source) => !existsSync(join(root, source)))).toEqual([]);
    expect(copied.filter((source) => !allowed.includes(`!${source}`))).toEqual([]);
  });

  test('installs the clients of PostgreSQL that docker-compose.yml and its documentation name', () => {
    const [dockerfile, compose, operations] = ['Dockerfile', 'docker-compose.yml', 'docs/operations.md'].map((file) =>
      readFileSync(join(root, file), 'utf8'),
    );
    const majors = /^ARG POSTGRES_CLIENTS="([\d ]+)"$/m.exec(dockerfile!)?.[1];
    expect(majors?.split(' ')).toEqual(expect.arrayContaining(['15', '17']));
    expect(compose).toContain(`POSTGRES_CLIENTS: \${SLIPWAY_POSTGRES_CLIENTS:-${majors!}}`);
    expect(operations).toContain(`| \`SLIPWAY_POSTGRES_CLIENTS\` | \`${majors!}\` |`);
  });
});
