/** A small service for benches to deploy: it says its version, can be slow, can take its time to end, and can report itself broken. */
const server = `import { createServer } from 'node:http';

const version = process.env.SLIPWAY_VERSION ?? 'unknown';
const brokenAfterMs = Number(process.env.BROKEN_AFTER_MS ?? '');
let serving = true;
let noticed = false;

const server = createServer((request, response) => {
  response.setHeader('x-version', version);
  if (request.url === '/health') {
    response.statusCode = serving ? 200 : 503;
    response.end(JSON.stringify({ version }));
    return;
  }
  if (request.url === '/slow') {
    setTimeout(() => response.end(version), 1_000);
    return;
  }
  if (brokenAfterMs > 0 && !noticed) setTimeout(() => console.log('CRITICAL: this release was made to be noticed'), brokenAfterMs);
  noticed = true;
  request.resume().on('end', () => response.end(version));
});
server.keepAliveTimeout = 60_000;
server.listen(8080);
console.log('serving', version);
process.on('SIGTERM', () => {
  serving = false;
  server.close(() => process.exit(0));
  setTimeout(() => server.closeIdleConnections(), 100).unref();
});
`;

const check = `import { test } from 'node:test';
import assert from 'node:assert';
import { readFileSync } from 'node:fs';

test('the service says its version', () => {
  assert.match(readFileSync(new URL('../src/main.js', import.meta.url), 'utf8'), /x-version/);
});
`;

const dockerfile = `ARG BASE_IMAGE
FROM \${BASE_IMAGE}
WORKDIR /app
COPY package.json ./
COPY src ./src
EXPOSE 8080
CMD ["node", "src/main.js"]
`;

/** The checks of the service, each with its arguments. */
export const checks = [
  { name: 'syntax', argv: ['node', '--check', 'src/main.js'] },
  { name: 'unit', argv: ['node', '--test', 'test/main.test.js'] },
] as const;

/** The repository of the service. */
export function serviceFiles(env: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const settings = Object.entries(env).map(([name, value]) => `    ${name}: "${value}"`);
  const steps = checks.map(({ name, argv }) => `      - { name: ${name}, run: ${JSON.stringify(argv)} }`);
  return {
    'src/main.js': server,
    'test/main.test.js': check,
    'package.json': '{ "name": "bench-service", "type": "module", "private": true }\n',
    Dockerfile: dockerfile,
    'slipway.yaml': [
      'version: 1',
      'stages:',
      '  - name: check',
      '    steps:',
      ...steps,
      'images: [{ name: service }]',
      'service:',
      '  image: service',
      '  port: 8080',
      ...(settings.length === 0 ? [] : ['  env:', ...settings]),
      '  health: { path: /health, interval: 1s }',
      '  stopGrace: 5s',
      '',
    ].join('\n'),
  };
}

/** Where the service goes: one environment, without approval and without a database. */
export interface ServiceSite {
  readonly environment: string;
  readonly listen: number;
  readonly slots: { readonly blue: number; readonly green: number };
  /** Longest watch after traffic has moved, such as `0s`. */
  readonly watch: string;
  readonly baseImage: string;
}

/** What is to stand beside the rest of a bench's project.yaml. */
export function siteYaml({ environment, listen, slots, watch, baseImage }: ServiceSite): string {
  return [
    'builds:',
    `  args: { BASE_IMAGE: "${baseImage}" }`,
    // A worker that has syft would list what is in them, which nothing that is measured beside it does.
    'images: { sbom: off }',
    'routes:',
    `  - { on: push, ref: main, environments: [${environment}] }`,
    "  - { on: push, ref: 'build/**', buildImages: push }",
    'environments:',
    `  ${environment}:`,
    '    production: false',
    '    target: { kind: docker }',
    `    router: { kind: haproxy, listen: { port: ${listen} }, slots: { blue: ${slots.blue}, green: ${slots.green} } }`,
    '    backup: { configuration: false }',
    `    watch: { duration: ${watch}, interval: 500ms }`,
    '    limits: { ready: 30s, settle: 30s, drain: 15s }',
    'notifications: [{ kind: log, level: critical }]',
  ].join('\n');
}
