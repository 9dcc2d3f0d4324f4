import { join } from 'node:path';
import type { LocalContext } from './context.ts';
import { installGoProgram } from './packages.ts';
import { findProgram, isProgram, obtain } from './programs.ts';

/** Programs that look into images, sign them and build them beside the engine. */
export const supplyChainTools = ['cosign', 'syft', 'osv-scanner', 'trivy', 'buildx', 'buildkitd'] as const;
export type SupplyChainTool = (typeof supplyChainTools)[number];

interface ToolRecipe {
  /** Package and version, as `go install` takes it. */
  readonly module: string;
  readonly ldflags?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Measured on two cores. */
  readonly hint: string;
}

/** Versions that were built and used on a machine without a download. The module proxy's checksums say that it is what the author published. */
const recipes: Readonly<Record<SupplyChainTool, ToolRecipe>> = {
  cosign: {
    module: 'github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5',
    ldflags: '-X sigs.k8s.io/release-utils/version.gitVersion=v2.6.5',
    hint: 'two to six minutes, once',
  },
  syft: {
    module: 'github.com/anchore/syft/cmd/syft@v1.57.1',
    ldflags: '-X main.version=1.57.1',
    hint: 'two to three minutes, once',
  },
  // Later ones want a Go that is not released yet.
  'osv-scanner': {
    module: 'github.com/google/osv-scanner/v2/cmd/osv-scanner@v2.2.4',
    hint: 'one to two minutes, once',
  },
  // Of the same month as this buildx. It needs runc besides.
  buildkitd: {
    module: 'github.com/moby/buildkit/cmd/buildkitd@v0.18.2',
    ldflags: '-X github.com/moby/buildkit/version.Version=v0.18.2',
    hint: 'one to three minutes, once',
  },
  trivy: {
    module: 'github.com/aquasecurity/trivy/cmd/trivy@v0.74.0',
    ldflags: '-X github.com/aquasecurity/trivy/pkg/version/app.ver=0.74.0',
    // It reads JSON by what Go 1.26 has as an experiment.
    env: { GOEXPERIMENT: 'jsonv2', CGO_ENABLED: '0' },
    hint: 'five to ten minutes, once',
  },
  buildx: { module: 'github.com/docker/buildx/cmd/buildx@v0.19.3', hint: 'one to two minutes, once' },
};

/** Where Docker keeps its plugins; buildx also runs by itself. */
const pluginFolders = [
  '/usr/libexec/docker/cli-plugins',
  '/usr/lib/docker/cli-plugins',
  '/usr/local/lib/docker/cli-plugins',
  '/usr/local/libexec/docker/cli-plugins',
];

/**
 * Finds a program of the supply chain, or builds it from its Go module.
 *
 * @returns its absolute path.
 * @throws ProviderError `ToolMissing` (not retried): it is not there and cannot be built here.
 */
export async function ensureSupplyChainTool(context: LocalContext, tool: SupplyChainTool): Promise<string> {
  const found = findSupplyChainTool(context, tool);
  if (found !== undefined) return found;
  const { module, ...options } = recipes[tool];
  return await obtain<string>(
    tool,
    [
      { what: `\`${tool}\` in the cache and on PATH`, take: () => undefined },
      {
        what: 'building it with Go',
        take: () => installGoProgram(context, tool, module, options),
      },
    ],
    `Put ${tool} on PATH, or give the machine Go and its module proxy.`,
  );
}

/** The same without building anything; undefined where it is not there. */
export function findSupplyChainTool(
  context: Pick<LocalContext, 'cacheFolder' | 'env'>,
  tool: SupplyChainTool,
): string | undefined {
  const found = findProgram(context, tool);
  if (found !== undefined || tool !== 'buildx') return found;
  const home = context.env['HOME'];
  const folders = [...(home === undefined ? [] : [join(home, '.docker/cli-plugins')]), ...pluginFolders];
  return folders.map((folder) => join(folder, 'docker-buildx')).find(isProgram);
}
