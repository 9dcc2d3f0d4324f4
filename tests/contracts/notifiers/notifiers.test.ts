import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { createNotifier } from '../../../src/providers/notifiers/index.ts';
import type { Message } from '../../../src/domain/notice.ts';
import type { Notifier } from '../../../src/providers/notifiers/port.ts';

let server: Server;
let address: string;
let answer: (response: ServerResponse) => void;
const received: { readonly headers: IncomingMessage['headers']; readonly body: Readonly<Record<string, unknown>> }[] =
  [];

beforeAll(async () => {
  server = createServer((request, response) => {
    void text(request).then((body) => {
      received.push({ headers: request.headers, body: JSON.parse(body) as Readonly<Record<string, unknown>> });
      answer(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/services/T0/B0/secret-part`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  received.length = 0;
  answer = (response) => response.end('ok');
});

const message: Message = {
  event: 'rolled-back',
  level: 'critical',
  project: 'hello',
  environment: 'production',
  title: 'hello 1.2.3 was rolled back in production',
  lines: ['errors above 5 % <!channel> & more', 'slipway status hello/production/3'],
};
const base = { level: 'info', events: [], environments: [] } as const;
const logged: { readonly method: string; readonly fields: object; readonly message: string }[] = [];
const write = (method: string) => (fields: object, text: string) => void logged.push({ method, fields, message: text });
const dependencies = {
  log: { info: write('info'), warn: write('warn'), error: write('error') },
  readSecret: () => Promise.resolve(address),
};

async function slack(): Promise<Notifier> {
  return await createNotifier(
    { ...base, kind: 'slack', name: 'slack', url: { kind: 'env', name: 'SLACK' } },
    dependencies,
  );
}

async function send(notifier: Notifier, timeoutMs = 5_000, what = message): Promise<unknown> {
  return await notifier.send(what, { signal: AbortSignal.timeout(timeoutMs) }).catch((error: unknown) => error);
}

describe('Slack', () => {
  test('gets a message that shows everything and mentions nobody', async () => {
    await send(await slack());
    expect(received).toHaveLength(1);
    expect(received[0]?.headers['content-type']).toBe('application/json');
    const { text: short, blocks } = received[0]!.body;
    expect(short).toBe(':rotating_light: hello 1.2.3 was rolled back in production');
    expect(JSON.stringify(blocks)).toContain('errors above 5 % &lt;!channel&gt; &amp; more\\nslipway status');
    expect(JSON.stringify(blocks)).toContain('hello · production · rolled-back');
  });

  test('shows a question as one, however many should hear it', async () => {
    await send(await slack(), 5_000, { ...message, event: 'approval-requested', level: 'error' });
    expect(received[0]!.body['text']).toMatch(/^:raised_hand: /);
  });

  test('gets no more than it takes', async () => {
    await send(await slack(), 5_000, { ...message, title: 't'.repeat(500), lines: ['l'.repeat(10_000)] });
    const blocks = received[0]!.body['blocks'] as { text?: { text: string } }[];
    expect(blocks[0]?.text?.text.length).toBeLessThanOrEqual(150);
    expect(blocks[1]?.text?.text.length).toBeLessThanOrEqual(3_000);
  });

  test.each([
    [500, true],
    [429, true],
    [404, false],
    [410, false],
  ])('that answers %i is a failure; trying again helps: %s', async (status, retryable) => {
    answer = (response) => response.writeHead(status).end('no_service');
    const error = await send(await slack());
    expect(error).toMatchObject({
      type: 'NotifierFailed',
      retryable,
      message: expect.stringContaining(String(status)),
    });
  });

  test('that says nothing is given up in time, and its address is told to nobody', async () => {
    answer = () => undefined;
    const error = await send(await slack(), 100);
    expect(error).toMatchObject({ type: 'NotifierFailed' });
    server.closeAllConnections();
    const nobody = await createNotifier(
      { ...base, kind: 'slack', name: 'slack', url: { kind: 'env', name: 'SLACK' } },
      { ...dependencies, readSecret: () => Promise.resolve('http://127.0.0.1:9/secret-part') },
    );
    const refused = await send(nobody);
    for (const each of [error, refused]) {
      expect(each).toMatchObject({ type: 'NotifierFailed' });
      expect(JSON.stringify(each, Object.getOwnPropertyNames(each))).not.toContain('secret-part');
    }
  });
});

describe('the log', () => {
  test.each([
    ['info', 'run-succeeded', 'info'],
    ['warning', 'code-quality-warning', 'warn'],
    ['critical', 'held', 'error'],
    // High, because everybody should hear of it; it is no error.
    ['error', 'production-deployed', 'info'],
    ['error', 'approval-requested', 'warn'],
  ] as const)('has %s of %s as %s', async (level, event, method) => {
    logged.length = 0;
    const notifier = await createNotifier({ ...base, kind: 'log', name: 'log' }, dependencies);
    await send(notifier, 1_000, { ...message, level, event });
    expect(logged).toMatchObject([{ method, message: message.title, fields: { notice: event, project: 'hello' } }]);
  });
});
