import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { claimNotice, settleNotice } from '../../../src/store/notices.ts';
import { type TestApi, startTestApi } from '../../support/api.ts';

let api: TestApi;
let viewer: string;
beforeAll(async () => {
  api = await startTestApi();
  viewer = await api.token('viewer');
}, 60_000);
afterAll(async () => {
  await api.close();
});

async function get<T>(url: string): Promise<T> {
  const response = await api.app.inject({ url, headers: { authorization: `Bearer ${viewer}` } });
  expect(response.statusCode).toBe(200);
  return response.json<T>();
}
const ready = async (): Promise<string> => (await get<{ notices: string }>('/ready')).notices;

test('what people were told, and what a channel has not taken, can be asked for, and health says it', async () => {
  const base = { event: 'held', level: 'critical', project: 'hello', environment: 'production' } as const;
  const tell = async (key: string, error?: string): Promise<void> => {
    const message = { ...base, title: key, lines: ['a line'] };
    await claimNotice(api.store.db, { ...base, title: key, key, channel: 'slack', message });
    await settleNotice(api.store.db, key, 'slack', { error });
  };
  expect(await ready()).toBe('passed');
  await tell('told');
  expect(await ready()).toBe('passed');
  await tell('untold', 'The Slack webhook answered 503: ');
  expect(await ready()).toBe('failed');
  expect(await get<unknown[]>('/v1/notices')).toHaveLength(2);
  expect(await get('/v1/notices?undelivered=true&project=hello')).toEqual([
    {
      ...base,
      key: 'untold',
      title: 'untold',
      channel: 'slack',
      state: 'failed',
      error: 'The Slack webhook answered 503: ',
      tries: 1,
      at: expect.any(String),
      createdAt: expect.any(String),
      retryAt: expect.any(String),
    },
  ]);
  expect(await get('/v1/notices?undelivered=true&project=other')).toEqual([]);
  await tell('untold');
  expect(await ready()).toBe('passed');
  const refused = await api.app.inject({ url: '/v1/notices' });
  expect(refused.statusCode).toBe(401);
});
