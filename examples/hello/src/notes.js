import pg from 'pg';

/**
 * @typedef {object} Notes
 * @property {() => Promise<void>} ping
 * @property {(limit: number) => Promise<{ id: number, body: string, writtenBy: string }[]>} list
 * @property {() => Promise<number>} count
 * @property {(body: string, version: string) => Promise<{ id: number }>} add
 * @property {() => Promise<void>} close
 */

/** @returns {Notes} notes in a table of PostgreSQL; `migrations` makes it. */
export function createNotes(connectionString) {
  const pool = new pg.Pool({ connectionString, max: 8, connectionTimeoutMillis: 3_000, application_name: 'hello' });
  // An idle connection that the server closes is replaced at the next query; without a listener it would end the process.
  pool.on('error', (error) => console.error(`idle connection: ${error.message}`));
  return {
    async ping() {
      await pool.query('SELECT 1');
    },
    async list(limit) {
      const { rows } = await pool.query('SELECT id, body, written_by FROM notes ORDER BY id DESC LIMIT $1', [limit]);
      return rows.map((row) => ({ id: Number(row.id), body: row.body, writtenBy: row.written_by }));
    },
    async count() {
      const { rows } = await pool.query('SELECT count(*) AS count FROM notes');
      return Number(rows[0].count);
    },
    async add(body, version) {
      const { rows } = await pool.query('INSERT INTO notes (body, written_by) VALUES ($1, $2) RETURNING id', [
        body,
        version,
      ]);
      return { id: Number(rows[0].id) };
    },
    close: () => pool.end(),
  };
}
