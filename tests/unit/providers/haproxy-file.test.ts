import { expect, test } from '@jest/globals';
import { renderRoute } from '../../../src/providers/routers/haproxy-file.ts';

test('a release is well where it answers 200 at its path, and a redirect is no health', () => {
  const server = { slot: 'blue', release: '1.0.0', address: '127.0.0.1:1', weight: 100, role: 'live' } as const;
  const { text } = renderRoute({
    project: 'hello',
    environment: 'production',
    listen: ['127.0.0.1:8080'],
    healthPath: '/health',
    servers: [server],
  });
  expect(text.split('\n').filter((line) => /^ {2}(option httpchk|http-check)/.test(line))).toEqual([
    '  option httpchk GET /health',
    '  http-check expect status 200',
  ]);
});
