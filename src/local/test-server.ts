import { existsSync } from 'node:fs';
import { chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runTool } from '../effects/daemon.ts';
import { type LocalContext, announce } from './context.ts';
import { installDebianPackages } from './packages.ts';
import { findProgram, lastLines, obtain } from './programs.ts';
import { withLock } from './state.ts';

/** Temporal's time-skipping server, as `TestWorkflowEnvironment.createTimeSkipping` wants to be told of it. */
export interface TestServerHandle {
  readonly name: 'temporal-test-server';
  readonly how: 'configured' | 'found' | 'started';
  readonly version: string;
  readonly executable: { readonly type: 'existing-path'; readonly path: string } | { readonly type: 'cached-download' };
}

const version = '1.32.0';
const mavenTimeoutMs = 5 * 60_000;

/**
 * Finds or fetches the time-skipping test server. It is no daemon: every test environment starts and ends its own.
 *
 * The Maven artifact comes first, since Maven mirrors are common where the vendor's download is blocked.
 *
 * @param options.path - a program that is there already.
 * @param options.download - the SDK's own download, tried where there is no Java; it rejects where it leads nowhere.
 * @throws ProviderError `ToolMissing` (not retried) - neither Java with Maven nor a download.
 */
export async function ensureTestServer(
  context: LocalContext,
  options: { readonly path?: string | undefined; readonly download?: (() => Promise<void>) | undefined } = {},
): Promise<TestServerHandle> {
  const name = 'temporal-test-server';
  if (options.path !== undefined) {
    return {
      name,
      how: 'configured',
      version: 'configured',
      executable: { type: 'existing-path', path: options.path },
    };
  }
  const path = join(context.cacheFolder, 'bin', `temporal-test-server-${version}`);
  const executable = { type: 'existing-path', path } as const;
  if (existsSync(path) && findProgram(context, 'java') !== undefined) {
    return { name, how: 'found', version, executable };
  }
  const { download } = options;
  return await obtain<TestServerHandle>(
    "Temporal's time-skipping test server",
    [
      {
        what: 'Maven with the Java of this machine',
        take: async () => {
          await fetchWithMaven(context, path);
          return { name, how: 'started', version, executable };
        },
      },
      {
        what: "the SDK's download",
        take: async () => {
          if (download === undefined) return undefined;
          await announce(context, name, 'downloading it', download);
          return { name, how: 'started', version: 'of the SDK', executable: { type: 'cached-download' } };
        },
      },
      {
        what: 'Maven and Java by apt',
        take: async () => {
          await installDebianPackages(context, name, ['default-jre-headless', 'maven']);
          await fetchWithMaven(context, path);
          return { name, how: 'started', version, executable };
        },
      },
    ],
    'Install Java 11 or later with Maven, or give the machine internet.',
  );
}

async function fetchWithMaven(context: LocalContext, path: string): Promise<void> {
  const java = findProgram(context, 'java');
  const maven = findProgram(context, 'mvn');
  if (java === undefined || maven === undefined) throw new Error('no `java` or no `mvn` on PATH');
  await withLock(`${path}.lock`, async () => {
    if (existsSync(path)) return;
    const folder = join(context.cacheFolder, `temporal-test-server-${version}`);
    const jars = join(folder, 'jars');
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'pom.xml'), pom);
    const result = await announce(context, 'temporal-test-server', `fetching ${version} with Maven`, (detail) =>
      runTool(maven, ['-B', '-ntp', '-q', 'dependency:copy-dependencies', `-DoutputDirectory=${jars}`], {
        cwd: folder,
        env: context.env,
        timeoutMs: mavenTimeoutMs,
        onLine: detail,
      }),
    );
    if (result.exitCode !== 0) throw new Error(`mvn failed: ${lastLines(result.stdout + result.stderr)}`);
    await writeFile(`${path}.new`, wrapper(java, jars));
    await chmod(`${path}.new`, 0o755);
    await rename(`${path}.new`, path);
  });
}

/** One thread of garbage collection and no second compiler: it lives for one test file, and starts in half the time. */
function wrapper(java: string, jars: string): string {
  return `#!/bin/sh
exec '${java}' -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '${jars}/*' io.temporal.testserver.TestServer "$@"
`;
}

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>slipway</groupId>
  <artifactId>test-server</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.temporal</groupId>
      <artifactId>temporal-test-server</artifactId>
      <version>${version}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-nop</artifactId>
      <version>2.0.17</version>
    </dependency>
  </dependencies>
</project>
`;
