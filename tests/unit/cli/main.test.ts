import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type IncomingMessage, type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { aDeployment, aPlan, aRun, anEnvironment, at } from '../../support/story-records.ts';

const program = resolve(import.meta.dirname, '../../../src/cli/main.ts');

interface Answer {
  readonly status?: number;
  readonly body?: unknown;
  /** It begins to answer and never ends. */
  readonly hangs?: true;
}

let folder: string;
let server: Server;
let url: string;
let answers: Record<string, Answer | ((body: string) => Answer)>;
let asked: string[];
let hanging: EventEmitter;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-cli-'));
  answers = {};
  asked = [];
  hanging = new EventEmitter();
  server = createServer((request: IncomingMessage, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const key = `${request.method ?? ''} ${(request.url ?? '').split('?')[0] ?? ''}`;
      asked.push(body === '' ? key : `${key} ${body}`);
      const found = answers[key] ?? {
        status: 404,
        body: { type: 'urn:slipway:problem:NotFound', detail: 'There is nothing.' },
      };
      const { status = 200, body: answer, hangs } = typeof found === 'function' ? found(body) : found;
      response.writeHead(status, { 'content-type': 'application/json' });
      if (hangs === true) {
        response.write('the first line\n');
        hanging.emit('asked');
        return;
      }
      response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
    });
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
  await rm(folder, { recursive: true, force: true });
});

async function slipway(
  args: readonly string[],
  env: Record<string, string> = {},
  then: (child: ChildProcess) => void = () => undefined,
) {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      HOME: folder,
      SLIPWAY_URL: url,
      SLIPWAY_TOKEN: 't',
      SLIPWAY_PROJECT: 'hello',
      ...env,
    },
  });
  then(child);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise<number | null>((ended) => child.once('close', ended));
  return { code, stdout, stderr };
}

const production = '/v1/projects/hello/environments/production';

describe('slipway report', () => {
  test('prints what a run has shown, and nothing that moves a cursor', async () => {
    answers['GET /v1/projects/hello/runs/12/report'] = { body: { project: 'hello', run: 12 } };
    answers['GET /v1/projects/hello/runs/12/report.md'] = { body: '# hello #12\u001b[2J: succeeded\n' };
    expect(await slipway(['report', '12'])).toMatchObject({ code: 0, stdout: '# hello #12: succeeded\n' });
    const { stdout } = await slipway(['--json', 'report', 'hello#12']);
    expect(JSON.parse(stdout)).toMatchObject({ report: { run: 12 } });
    expect((await slipway(['report', 'production/3'])).stderr).toContain('reports belong to the run');
  });

  test('says where a browser finds it, beside the report and not in it', async () => {
    const run = '/v1/projects/hello/runs/12';
    const links = {
      until: '2026-11-26T19:30:00.000Z',
      report: `/signed/x${run}/report.html`,
      pages: [{ stage: 'test', path: 'htmlcov', link: `/signed/y${run}/pages/test/0/index.html` }],
      documentation: [{ stage: 'docs', name: 'api', link: `/signed/z${run}/documentation/docs/api/index.html` }],
    };
    answers[`GET ${run}/report`] = { body: { project: 'hello', run: 12 } };
    answers[`GET ${run}/report.md`] = { body: '# hello #12: succeeded\n' };
    answers[`GET ${run}/links`] = { body: links };
    const { stdout, stderr } = await slipway(['report', '12']);
    expect(stdout).toBe('# hello #12: succeeded\n');
    expect(stderr.split('\n').slice(0, 4)).toEqual([
      'In a browser, for you, until 19:30 UTC:',
      expect.stringMatching(/^  report http:\/\/[^/]+\/signed\/x\/v1\/projects\/hello\/runs\/12\/report\.html$/),
      expect.stringMatching(/^  test: htmlcov http:\/\/[^/]+\/signed\/y/),
      expect.stringMatching(/^  documentation docs\/api http:\/\/[^/]+\/signed\/z/),
    ]);
    expect(JSON.parse((await slipway(['--json', 'report', '12'])).stdout)).toMatchObject({ links });
    answers[`GET ${run}`] = { body: aRun({ number: 12 }) };
    expect((await slipway(['status', '12'])).stderr).toContain(`/signed/x${run}/report.html`);
  });
});

describe('slipway run', () => {
  test('sends each parameter, and to the project that was named', async () => {
    const parameters = ['--parameter', 'load=true', '--parameter', 'users=50'];
    await slipway(['run', 'main', '-p', 'shop', ...parameters, '--timeout', '0']);
    expect(asked).toHaveLength(1);
    const [path, body = ''] = asked[0]?.split(/ (?=\{)/) ?? [];
    expect(path).toBe('POST /v1/projects/shop/runs');
    expect(JSON.parse(body)).toMatchObject({ ref: 'refs/heads/main', parameters: { load: 'true', users: '50' } });
  });
});

describe('a project that is put in force', () => {
  test('is told at once what the plan of every release will be refused for', async () => {
    await writeFile(
      join(folder, 'project.yaml'),
      [
        'version: 1',
        'project: hello',
        'repository: { url: "https://forge.example/hello.git", forge: { kind: github, secrets: [{ env: HELLO_SECRET }] } }',
        'registry: { address: "127.0.0.1:5050", insecure: true }',
        'steps: { executor: host }',
        'environments:',
        '  production:',
        '    production: true',
        '    target: { kind: docker }',
        '    router: { kind: haproxy, listen: { port: 8080 }, slots: { blue: 18083, green: 18084 } }',
      ].join('\n'),
    );
    answers = { 'POST /v1/projects/hello': { body: { revision: 1, changed: true, diff: '' } } };
    const { code, stdout } = await slipway(['project', 'apply', 'project.yaml']);
    expect(code).toBe(0);
    expect(stdout).toContain('hello: revision 1');
    expect(stdout).toMatch(/project\.yaml:7:3 {2}environments\.production\.encryptionAtRest is not declared/);
    const { warnings } = JSON.parse((await slipway(['project', 'apply', 'project.yaml', '--json'])).stdout) as {
      readonly warnings: readonly { readonly path: string }[];
    };
    expect(warnings.map(({ path }) => path)).toContain('environments.production.encryptionAtRest');
  });
});

describe('the first Ctrl-C', () => {
  const log = {
    log: 'run/hello/12/test/unit/1',
    stage: 'test',
    step: 'unit',
    attempt: 1,
    sizeBytes: 99,
    closedAt: at(0),
  };

  test.each([
    ['GET /v1/projects/hello/runs/12/logs', {}],
    ['GET /v1/logs/run/hello/12/test/unit/1', { 'GET /v1/projects/hello/runs/12/logs': { body: [log] } }],
  ] as const)('ends `logs` while %s does not end', async (key, before) => {
    answers = { ...before, [key]: { hangs: true } };
    const ended = await slipway(['logs', '12'], {}, (child) => hanging.once('asked', () => child.kill('SIGINT')));
    expect(ended.code).toBe(130);
    expect(ended.stderr).toContain('hello#12');
    expect(ended.stderr).toContain('slipway logs hello#12');
  });
});

describe('upkeep', () => {
  const round = {
    kind: 'scan',
    subject: 'hello/production',
    project: 'hello',
    environment: 'production',
    verdict: 'failed',
    summary: '1 image looked at',
    lines: ['critical TEST-1\u001b[2J in left-paddle'],
    detail: {},
    at: at(0),
  };

  test.each([
    ['failed', 1],
    ['errored', 3],
    ['inconclusive', 3],
    ['passed', 0],
  ] as const)('a scan that ends %s ends with %d', async (verdict, code) => {
    answers['POST /v1/projects/hello/scan'] = { status: 202, body: { workflowId: 'scan/hello/production' } };
    answers['GET /v1/projects/hello/scan'] = { body: { running: false, rounds: [{ ...round, verdict }] } };
    const ended = await slipway(['scan', 'production']);
    expect(ended.code).toBe(code);
    expect(ended.stdout).toContain('hello/production');
    expect(ended.stdout.includes('    critical TEST-1 in left-paddle')).toBe(verdict !== 'passed');
    expect(asked[0]).toBe('POST /v1/projects/hello/scan {"environment":"production"}');
  });

  test('where nothing is live, nothing was looked at', async () => {
    answers['POST /v1/projects/hello/scan'] = { status: 202, body: {} };
    answers['GET /v1/projects/hello/scan'] = { body: { running: false, rounds: [] } };
    expect((await slipway(['scan'])).code).toBe(3);
  });

  test('shows the newest rounds, and an audit of a time as a page or as data', async () => {
    answers['GET /v1/upkeep'] = { body: [round] };
    expect((await slipway(['upkeep'])).stdout).toContain('1 image looked at');
    expect((await slipway(['upkeep', '--kind', 'nothing'])).code).toBe(2);
    answers['GET /v1/audit/report.md'] = { body: '# Audit of hello\u001b[2J\n' };
    answers['GET /v1/audit/report'] = { body: { since: 'x' } };
    expect(await slipway(['audit', '--since', '30d'])).toMatchObject({ code: 0, stdout: '# Audit of hello\n' });
    expect(JSON.parse((await slipway(['audit', '--since', '2026-01-01', '--json'])).stdout)).toMatchObject({
      schema: 'slipway/audit/1',
      report: { since: 'x' },
    });
    expect((await slipway(['audit', '--since', 'soon'])).code).toBe(2);
  });
});

describe('exit status and output', () => {
  test('the help ends with the table of exit codes', async () => {
    const { code, stdout } = await slipway(['--help']);
    expect(code).toBe(0);
    for (const number of [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]) expect(stdout).toMatch(new RegExp(`^ {2}${number} `, 'm'));
  });

  test('wrong use is 2, in words or as the one document', async () => {
    const words = await slipway(['aprove', 'production/3']);
    expect(words).toMatchObject({ code: 2, stdout: '' });
    expect(words.stderr).toContain('approve');
    const data = await slipway(['list', '--limit', '0', '--json']);
    expect(data.code).toBe(2);
    expect(JSON.parse(data.stdout)).toMatchObject({ schema: 'slipway/problem/1', outcome: 'usage' });
  });

  test('what is not there is 5, and what does not answer is 3', async () => {
    expect((await slipway(['status', 'production/9'])).code).toBe(5);
    const away = await slipway(['status', 'production/9', '--json'], { SLIPWAY_URL: 'http://127.0.0.1:1' });
    expect(away.code).toBe(3);
    expect(JSON.parse(away.stdout)).toMatchObject({ outcome: 'errored', type: 'api-unreachable' });
  });

  test('without a token it is 7, and the command to get one is told', async () => {
    const { code, stderr } = await slipway(['list'], { SLIPWAY_URL: '', SLIPWAY_TOKEN: '' });
    expect(code).toBe(7);
    expect(stderr).toContain('slipway up');
  });
});

describe('approve', () => {
  test('without a terminal nobody is asked: status 4, and what to type', async () => {
    answers[`GET ${production}/deployments/3`] = { body: aDeployment({ phase: 'awaiting-approval', plan: aPlan() }) };
    const { code, stdout } = await slipway(['approve', 'production/3', '--json']);
    expect(code).toBe(4);
    const document = JSON.parse(stdout) as { status: string; next: { command: string }[] };
    expect(document.status).toBe('action_required');
    expect(document.next.map(({ command }) => command)).toContain('slipway approve hello/production/3 --plan 1f3a2b4c');
    expect(asked.some((line) => line.startsWith('POST'))).toBe(false);
  });

  test('names the plan it is for', async () => {
    answers[`POST ${production}/deployments/3/approve`] = { body: { status: 'approved', counted: [] } };
    const { code, stdout } = await slipway(['approve', 'production/3', '--plan', '1f3a2b4c', '-m', 'fine']);
    expect(code).toBe(0);
    expect(stdout).toBe('hello/production/3 is approved.\n');
    expect(asked.at(-1)).toBe(`POST ${production}/deployments/3/approve {"plan":"1f3a2b4c","comment":"fine"}`);
  });

  test('too late is 6 with the reason', async () => {
    answers[`POST ${production}/deployments/3/approve`] = {
      status: 409,
      body: {
        type: 'urn:slipway:problem:TooLate',
        title: 'Too late',
        status: 409,
        detail: 'It is rejected. See its status.',
      },
    };
    const { code, stderr } = await slipway(['approve', 'production/3', '--plan', '1f3a2b4c']);
    expect(code).toBe(6);
    expect(stderr).toContain('It is rejected.');
  });
});

describe('waiting', () => {
  test('ends with the outcome, and says each phase once on the way', async () => {
    let looks = 0;
    answers[`GET ${production}/deployments/3`] = () => {
      looks += 1;
      if (looks < 3) return { body: aDeployment({ phase: 'watching' }) };
      return { body: aDeployment({ outcome: 'rolled-back', reason: 'Errors were 9.8 %.', settledAt: at(60) }) };
    };
    const { code, stdout, stderr } = await slipway(['status', 'production/3', '--watch']);
    expect(code).toBe(1);
    expect(stderr.split('\n').filter((line) => line === 'hello/production/3 watching')).toHaveLength(1);
    expect(stdout).toContain('↩ rolled-back');
    expect(stdout).toContain('Errors were 9.8 %.');
  });

  test('for a rollback that was asked for is well when it is back', async () => {
    const back = { kind: 'rollback', outcome: 'rolled-back', reason: 'ada: slow', settledAt: at(60) } as const;
    answers[`GET ${production}/deployments/3`] = () => ({ body: aDeployment(back) });
    expect((await slipway(['status', 'production/3', '--exit-status'])).code).toBe(0);
    answers[`GET ${production}/deployments/3`] = () => ({ body: aDeployment({ ...back, outcome: 'rollback-failed' }) });
    expect((await slipway(['status', 'production/3', '--exit-status'])).code).toBe(1);
  });

  test('says on the way for whom a run waits', async () => {
    let looks = 0;
    const queue = { since: at(0), until: at(86_400), position: 1, waitsFor: 3 };
    answers['GET /v1/projects/hello/runs/4'] = () => {
      looks += 1;
      return { body: looks < 3 ? aRun({ outcome: null, phase: 'queued', queue }) : aRun() };
    };
    const { code, stderr } = await slipway(['status', '4', '--watch']);
    expect(code).toBe(0);
    expect(stderr.split('\n').filter((line) => line === 'hello#4 queued: Waits for run 3.')).toHaveLength(1);
  });

  test('--timeout bounds the waiting and not the thing: status 8, and how to go on', async () => {
    answers['GET /v1/projects/hello/runs/4'] = { body: aRun({ outcome: null, phase: 'building' }) };
    const { code, stderr } = await slipway(['status', '4', '--watch', '--timeout', '600ms']);
    expect(code).toBe(8);
    expect(stderr).toContain('slipway status hello#4 --watch');
    expect(asked.every((line) => line.startsWith('GET'))).toBe(true);
  });

  test('an API that is away for a moment is waited for', async () => {
    let looks = 0;
    answers['GET /v1/projects/hello/runs/4'] = () => {
      looks += 1;
      return looks < 3 ? { status: 503, body: { detail: 'The store is away.' } } : { body: aRun() };
    };
    const { code, stdout } = await slipway(['status', '4', '--watch', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      schema: 'slipway/run/1',
      outcome: 'ok',
      run: { number: 4, outcome: 'succeeded' },
    });
  });

  test('a rollback without a reason is not begun', async () => {
    const { code } = await slipway(['rollback', 'production']);
    expect(code).toBe(4);
    expect(asked.filter((line) => line.startsWith('POST'))).toEqual([]);
  });

  test('a rollback with --timeout 0 returns with its number, a leading v taken off', async () => {
    answers[`POST ${production}/rollback`] = {
      status: 202,
      body: { project: 'hello', environment: 'production', number: 4 },
    };
    const { code, stdout } = await slipway([
      'rollback',
      'production',
      '--to-version',
      'v2.0.4',
      '--reason',
      'slow',
      '--timeout',
      '0',
    ]);
    expect(code).toBe(0);
    expect(stdout).toBe('hello/production/4\n');
    expect(asked.at(-1)).toBe(`POST ${production}/rollback {"reason":"slow","to":"2.0.4"}`);
  });
});

describe('looking', () => {
  test('the overview has environments, deployments and runs, and what waits for somebody', async () => {
    answers['GET /v1/environments'] = { body: [anEnvironment()] };
    answers['GET /v1/notices'] = { body: [] };
    answers['GET /v1/runs'] = { body: { items: [aRun()] } };
    answers['GET /v1/deployments'] = { body: { items: [aDeployment({ phase: 'awaiting-approval' })] } };
    const { code, stdout, stderr } = await slipway(['status']);
    expect(code).toBe(0);
    expect(stdout).toContain('hello/production');
    expect(stdout).toContain('hello#4');
    expect(stderr).toContain('slipway plan hello/production/3');
    expect(stdout).not.toContain('Not delivered');
  });

  test('what people were not told is said first', async () => {
    const notice = {
      ...{ key: 'k', channel: 'slack', event: 'held', level: 'critical', project: 'hello', environment: 'production' },
      ...{ title: 'hello 1.0.1\u001b[2J is held', state: 'failed', error: 'The Slack webhook answered 503: ' },
      ...{ at: at(0), tries: 3, retryAt: at(1), createdAt: at(0) },
    };
    answers['GET /v1/notices'] = { body: [notice] };
    answers['GET /v1/environments'] = { body: [anEnvironment()] };
    answers['GET /v1/runs'] = { body: { items: [] } };
    answers['GET /v1/deployments'] = { body: { items: [] } };
    const { stdout } = await slipway(['status']);
    expect(stdout).toMatch(
      /^.*Not delivered by slack of hello.*: The Slack webhook answered 503:  \(it is tried again\)\n/,
    );
    expect(stdout).toContain('    critical hello 1.0.1 is held');
  });

  test('logs are printed as they are, each under the name of its step', async () => {
    const log = {
      log: 'run/hello/4/test/unit/1',
      project: 'hello',
      run: 4,
      environment: null,
      number: null,
      stage: 'test',
      step: 'unit',
      attempt: 1,
      openedAt: at(0),
      closedAt: at(1),
      blob: 'b',
      sizeBytes: 3,
    };
    answers['GET /v1/projects/hello/runs/4/logs'] = { body: [log] };
    answers['GET /v1/logs/run/hello/4/test/unit/1'] = { body: 'ok 1\nok 2' };
    const { code, stdout, stderr } = await slipway(['logs', '4']);
    expect(code).toBe(0);
    expect(stdout).toBe('ok 1\nok 2\n');
    expect(stderr).toContain('test / unit');
  });

  test('logs of a deployment are named by their stage, and searched', async () => {
    const log = {
      ...{ log: 'deployment/hello/production/7/migrate/database-9/1', project: 'hello', run: null },
      ...{ environment: 'production', number: 7, stage: 'migrate', step: 'database-9', attempt: 1 },
      ...{ openedAt: at(0), closedAt: at(1), blob: 'b', sizeBytes: 3 },
    };
    answers[`GET ${production}/deployments/7/logs`] = {
      body: [log, { ...log, log: 'x', stage: 'start', step: 'green-4' }],
    };
    answers[`GET /v1/logs/${log.log}`] = { body: 'relation "nowhere" does not exist\n' };
    const read = await slipway(['logs', 'hello/production#7', 'migrate']);
    expect(read).toMatchObject({ code: 0, stdout: 'relation "nowhere" does not exist\n' });
    expect(read.stderr).toContain('migrate / database-9');
    expect((await slipway(['logs', 'production/7', 'watch'])).code).toBe(5);
    const line = { line: 1, at: at(0), text: 'relation "nowhere" does not exist' };
    answers[`GET ${production}/deployments/7/logs`] = { body: [{ ...log, matches: [line] }] };
    expect((await slipway(['logs', 'production/7', '--search', 'nowhere'])).stdout).toContain('migrate/database-9:1');
  });

  test('a reader that has had enough is no failure', async () => {
    const log = {
      ...{ log: 'run/hello/4/test/unit/1', project: 'hello', run: 4, environment: null, number: null, stage: 'test' },
      ...{ step: 'unit', attempt: 1, openedAt: at(0), closedAt: at(1), blob: 'b', sizeBytes: 3 },
    };
    answers['GET /v1/projects/hello/runs/4/logs'] = {
      body: Array.from({ length: 50 }, (_, index) => ({ ...log, log: `l${index}` })),
    };
    for (let index = 0; index < 50; index += 1) answers[`GET /v1/logs/l${index}`] = { body: 'x\n'.repeat(50_000) };
    const { code, stderr } = await slipway(['logs', '4'], {}, (child) =>
      child.stdout?.once('data', () => child.stdout?.destroy()),
    );
    expect(stderr).not.toContain('EPIPE');
    expect(code).toBe(0);
  });

  test('validate speaks to nobody, and ends with 1 where there are problems', async () => {
    await writeFile(join(folder, 'slipway.yaml'), 'version: 1\nstages:\n  - name: Test\n    stepz: []\n');
    const { code, stdout } = await slipway(['validate'], { SLIPWAY_URL: '', SLIPWAY_TOKEN: '' });
    expect(code).toBe(1);
    expect(stdout).toMatch(/slipway\.yaml:3:\d+/);
    expect(asked).toEqual([]);
  });
});
