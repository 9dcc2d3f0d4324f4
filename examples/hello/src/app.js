import { createServer } from 'node:http';
import { createMetrics } from './metrics.js';

const maxBodyBytes = 16 * 1024;

/**
 * The service without its surroundings, so that a test can run it with notes kept in memory.
 *
 * @param {{ version: string, release: string, slot: string, greeting: string, notes: import('./notes.js').Notes, fault: () => boolean }} options
 */
export function createApp({ version, release, slot, greeting, notes, fault }) {
  const metrics = createMetrics({ version, release, slot });
  let closing = false;
  let inFlight = 0;

  const routes = {
    'GET /': () => ({ status: 200, body: { greeting, version, release, slot } }),
    'GET /health': async () => {
      await notes.ping();
      return { status: 200, body: { status: 'ok', version, release, slot } };
    },
    'GET /notes': async () => ({
      status: 200,
      body: { version, notes: await notes.list(20), count: await notes.count() },
    }),
    'POST /notes': async (request) => {
      const { body } = await readJson(request);
      if (typeof body !== 'string' || body.trim() === '')
        return { status: 422, body: { error: 'body must be a text' } };
      return { status: 201, body: { version, note: await notes.add(body, version) } };
    },
    'GET /metrics': () => ({ status: 200, text: metrics.render() }),
  };

  async function answer(request) {
    const route = `${request.method} ${new URL(request.url, 'http://service').pathname}`;
    const handler = routes[route];
    if (handler === undefined) return { route: 'other', status: 404, body: { error: 'no such page' } };
    // Only what users do counts as traffic: probes and scrapes neither start the clock of a fault nor fail by it.
    if (route.endsWith('/notes') && fault()) return { route, status: 500, body: { error: 'this release is faulty' } };
    try {
      return { route, ...(await handler(request)) };
    } catch (error) {
      const status = error.status ?? (route === 'GET /health' ? 503 : 500);
      if (status >= 500) console.error(`${route}: ${error.message}`);
      return { route, status, body: { error: status >= 500 ? 'the service cannot answer now' : error.message } };
    }
  }

  const server = createServer(async (request, response) => {
    const began = performance.now();
    inFlight += 1;
    const { route, status, body, text } = await answer(request);
    response.setHeader('x-version', version);
    response.setHeader('content-type', text === undefined ? 'application/json' : 'text/plain; version=0.0.4');
    // While ending, each answer also says goodbye, so that no client sends another request down a connection about to close.
    if (closing) response.setHeader('connection', 'close');
    response.statusCode = status;
    response.end(text ?? JSON.stringify(body));
    inFlight -= 1;
    metrics.observe(route, status, (performance.now() - began) / 1000);
  });
  // Longer than any proxy keeps an idle connection: the side that sends requests must be the one that closes.
  server.keepAliveTimeout = 75_000;

  return {
    server,
    inFlight: () => inFlight,
    /** Takes no new connection, finishes what is under way, and closes the rest. */
    async close() {
      closing = true;
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeIdleConnections();
      await closed;
    },
  };
}

async function readJson(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > maxBodyBytes) throw Object.assign(new Error(`at most ${maxBodyBytes} bytes`), { status: 413 });
  }
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    throw Object.assign(new Error('the body is not JSON'), { status: 400 });
  }
}
