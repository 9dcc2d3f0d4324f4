/** A small service with reads and writes, whose every answer says its version. It stands in an image, so it is plain JavaScript. */
export const serviceSource = `
import { createServer } from 'node:http';
import pg from 'pg';
const version = process.env.SLIPWAY_VERSION;
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 6, connectionTimeoutMillis: 20000 });
pool.on('error', () => undefined);
let open = 0;
const server = createServer(async (request, response) => {
  response.setHeader('x-version', version);
  open += 1;
  try {
    if (request.url === '/health') return response.end(version);
    if (request.method === 'POST') {
      await pool.query('insert into items (id, value, version) values ($1, $2, $3)', [request.url.slice('/items/'.length), 'good', version]);
      response.statusCode = 201;
      return response.end();
    }
    const { rows } = await pool.query('select value from items where id = $1', ['seed-1']);
    response.end(rows[0]?.value ?? 'missing');
  } catch (error) {
    response.statusCode = 503;
    response.end(String(error.message));
  } finally {
    open -= 1;
  }
});
server.keepAliveTimeout = 60000;
server.listen(8080);
process.on('SIGTERM', () => {
  server.close();
  const timer = setInterval(() => { if (open === 0) { clearInterval(timer); process.exit(0); } }, 10);
});
`;
