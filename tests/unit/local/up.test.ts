import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { up } from '../../../src/local/up.ts';

test('what cannot be had is told once with its reason, and of what needs it only that', async () => {
  const stateFolder = mkdtempSync(join(tmpdir(), 'slipway-up-'));
  const said: string[] = [];
  try {
    await expect(
      up({
        stateFolder,
        want: ['router', 'docker', 'applicationPostgres', 'nodeImage', 'toolsImage'],
        configured: { dockerHost: `unix://${stateFolder}/nowhere.sock` },
        onProgress: ({ component, message }) => void said.push(`${component}: ${message}`),
      }),
    ).rejects.toMatchObject({ type: 'EngineUnavailable', message: expect.stringContaining('nowhere.sock') });
    const [first, ...others] = said;
    expect(first).toMatch(/^docker: cannot be had: .*nowhere\.sock/);
    expect(others.toSorted()).toEqual(
      ['applicationPostgres', 'nodeImage', 'router', 'toolsImage'].map((name) => `${name}: not started: needs docker`),
    );
  } finally {
    rmSync(stateFolder, { recursive: true });
  }
});
