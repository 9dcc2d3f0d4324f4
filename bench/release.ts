import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createGitOrigin, type GitOrigin } from '../tests/support/git-origin.ts';
import { expectRight, type Bench, type BenchOptions } from './bench.ts';
import { deploymentSucceeded, versionAt } from './deployments.ts';
import { nowhere, preciseNow, type Forge } from './forge.ts';
import { startInstallation, type Installation } from './installation.ts';
import { projectYaml } from './projects.ts';
import { runSucceeded } from './runs.ts';
import { checks, serviceFiles, siteYaml } from './service.ts';
import { median, rounded } from './statistics.ts';

const project = 'bench-release';
const pairs = 11;
const ports = { listen: 21_600, blue: 21_601, green: 21_602, script: 21_610, scriptBlue: 21_611, scriptGreen: 21_612 };

/** A whole release, beside a shell script that runs the same commands. */
export const release: Bench = {
  summary: 'clone, checks, build, push, blue-green, health: Slipway beside a shell script of the same commands',
  async run(options) {
    const origin = createGitOrigin();
    options.onEnd(() => origin.remove());
    origin.commit(serviceFiles());
    const installation = await startInstallation(options, ['nodeImage']);
    const baseImage = installation.components.nodeImage.image;
    const registry = installation.components.registry.address;
    const forge = await installation.addProject(project, (webhookSecretFile) =>
      projectYaml({
        name: project,
        repositoryUrl: `file://${origin.path}`,
        webhookSecretFile,
        registry,
        more: siteYaml({
          environment: 'live',
          listen: ports.listen,
          slots: { blue: ports.blue, green: ports.green },
          watch: '0s',
          baseImage,
        }),
      }),
    );
    options.onEnd(() => forge.close());
    const script = startScript(options, {
      origin,
      registry,
      baseImage,
      dockerHost: installation.components.docker.address,
    });

    const slipway: number[] = [];
    const shell: number[] = [];
    const wanted = options.n ?? pairs;
    for (let pair = 0; pair <= wanted; pair += 1) {
      slipway.push(await timeSlipway(installation, forge, origin, pair));
      shell.push(await script.run(origin.commit({ 'src/pair.js': `// script ${pair}\n` }), pair));
      options.say(
        `pair ${pair}: slipway ${Math.round(slipway.at(-1) ?? 0)} ms, script ${Math.round(shell.at(-1) ?? 0)} ms`,
      );
    }
    const [coldSlipwayMs = 0, ...warmSlipway] = slipway;
    const [coldScriptMs = 0, ...warmShell] = shell;
    const slipwayMs = median(warmSlipway);
    const scriptMs = median(warmShell);
    return {
      figures: {
        slipwayMs: rounded(slipwayMs),
        scriptMs: rounded(scriptMs),
        coldSlipwayMs: rounded(coldSlipwayMs),
        coldScriptMs: rounded(coldScriptMs),
        overMs: rounded(slipwayMs - scriptMs),
      },
      ratios: { overScript: rounded(slipwayMs / scriptMs) },
      notes: [`medians of ${wanted} interleaved pairs, each with commits of its own; the cold pair was the first`],
    };
  },
};

/** From the signed webhook to the end of the deployment. */
async function timeSlipway(installation: Installation, forge: Forge, origin: GitOrigin, pair: number): Promise<number> {
  const after = origin.commit({ 'src/pair.js': `// slipway ${pair}\n` });
  const { status, sentMs, workflowId } = await forge.push({ ref: 'refs/heads/main', before: nowhere, after });
  expectRight(status === 202, `a signed push was answered with ${status}`);
  await runSucceeded(installation, workflowId);
  await deploymentSucceeded(installation, { project, environment: 'live', number: pair + 1 });
  const tookMs = preciseNow() - sentMs;
  const version = await versionAt(`http://127.0.0.1:${ports.listen}/`);
  expectRight(
    version === `${pair + 1}-${after.slice(0, 7)}`,
    `the router answers with ${version ?? 'nothing'} after release ${pair + 1}`,
  );
  return tookMs;
}

interface ScriptPlace {
  readonly origin: GitOrigin;
  readonly registry: string;
  readonly baseImage: string;
  readonly dockerHost: string;
}

/** A person's own deploy script, with a router of its own. */
function startScript(
  { stateFolder, onEnd }: BenchOptions,
  place: ScriptPlace,
): { run(commit: string, pair: number): Promise<number> } {
  const folder = join(stateFolder, 'scratch', 'script');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const pidFile = join(folder, 'haproxy.pid');
  const config = join(folder, 'haproxy.cfg');
  writeFileSync(join(folder, 'deploy.sh'), deployScript(place, { folder, config, pidFile }));
  writeFileSync(config, routerConfig(ports.scriptBlue));
  const haproxy = spawn('haproxy', ['-W', '-f', config, '-p', pidFile], { stdio: 'ignore' });
  const env = { PATH: process.env['PATH'] ?? '', HOME: folder, DOCKER_HOST: place.dockerHost, DOCKER_BUILDKIT: '0' };
  onEnd(() => {
    haproxy.kill('SIGTERM');
    for (const slot of ['blue', 'green']) {
      execFileSync('docker', ['rm', '-f', `bench-script-${slot}`], { env, stdio: 'ignore' });
    }
  });
  return {
    async run(commit, pair) {
      const slot = pair % 2 === 0 ? 'green' : 'blue';
      const version = `script-${pair}-${commit.slice(0, 7)}`;
      const began = performance.now();
      execFileSync('bash', [join(folder, 'deploy.sh'), commit, slot, version], {
        env,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const tookMs = performance.now() - began;
      const seen = await versionAt(`http://127.0.0.1:${ports.script}/`);
      expectRight(seen === version, `the script's router answers with ${seen ?? 'nothing'} instead of ${version}`);
      return tookMs;
    },
  };
}

function deployScript(
  { origin, registry, baseImage }: ScriptPlace,
  { folder, config, pidFile }: { readonly folder: string; readonly config: string; readonly pidFile: string },
): string {
  return `set -euo pipefail
commit=$1 slot=$2 version=$3
port=${ports.scriptBlue}; [ "$slot" = green ] && port=${ports.scriptGreen}
rm -rf ${folder}/checkout
git clone --quiet file://${origin.path} ${folder}/checkout
cd ${folder}/checkout
git checkout --quiet "$commit"
${checks.map(({ argv }) => argv.join(' ')).join('\n')}
image=${registry}/bench-script/service
docker build --quiet --build-arg BASE_IMAGE=${baseImage} --label version="$version" --tag $image:"$version" .
docker push --quiet $image:"$version"
digest=$(docker image inspect --format '{{index .RepoDigests 0}}' $image:"$version")
docker rm --force bench-script-$slot 2>/dev/null || true
docker run --detach --name bench-script-$slot --restart unless-stopped --publish 127.0.0.1:$port:8080 --env SLIPWAY_VERSION="$version" "$digest"
until curl --silent --fail --output /dev/null http://127.0.0.1:$port/health; do sleep 0.05; done
sed "s/server live .*/server live 127.0.0.1:$port/" ${config} > ${config}.new
haproxy -c -q -f ${config}.new
mv ${config}.new ${config}
kill -USR2 $(cat ${pidFile})
until [ "$(curl --silent --head http://127.0.0.1:${ports.script}/ | tr -d '\\r' | sed -n 's/^x-version: //p')" = "$version" ]; do sleep 0.02; done
`;
}

function routerConfig(port: number): string {
  return `global
  maxconn 1000
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
frontend in
  bind 127.0.0.1:${ports.script}
  default_backend service
backend service
  server live 127.0.0.1:${port}
`;
}
