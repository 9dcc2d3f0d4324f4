import { runTool } from '../../effects/process.ts';

/** What a program says its version is, `unknown` where it does not. */
export async function programVersion(program: string, signal: AbortSignal): Promise<string> {
  const { stdout } = await runTool({ command: [program, '--version'], timeoutMs: 20_000, cwd: '/', signal });
  return /version:?\s*v?(\d[\w.-]*)/i.exec(stdout)?.[1] ?? 'unknown';
}
