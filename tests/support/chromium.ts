import { type Browser, chromium } from 'playwright-core';
import { createLocalContext } from '../../src/local/context.ts';
import { installDebianPackages } from '../../src/local/packages.ts';
import { findProgram } from '../../src/local/programs.ts';
import { testStateFolder } from './components.ts';

/** As root it has no sandbox of its own; nothing but our own pages is opened with it. */
const args = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-dev-shm-usage'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
];

/** A real Chromium: the machine's, else Debian's (124 MB), with a profile of its own that goes with it. */
export async function startChromium(): Promise<Browser> {
  const context = createLocalContext({
    stateFolder: testStateFolder,
    onProgress: ({ component, message }) => process.stderr.write(`${component}: ${message}\n`),
  });
  const found = (): string | undefined => findProgram(context, 'chromium');
  if (found() === undefined) await installDebianPackages(context, 'browser', ['chromium']);
  const executablePath = found();
  if (executablePath === undefined) throw new Error('Debian has installed chromium, and it is not in PATH');
  return await chromium.launch({ executablePath, args });
}
