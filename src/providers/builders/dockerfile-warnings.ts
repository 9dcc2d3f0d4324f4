import { instructions } from './dockerfile.ts';

/** What only building needs, and an image that runs does not. */
const buildTools =
  /\b(?:npm (?:ci|install|run build)|yarn (?:install|build)|pnpm (?:install|build)|go build|cargo build|mvn |gradle|make\b|cmake|gcc|build-essential|pip wheel)/;

interface DockerfileStage {
  readonly from: string;
  readonly name: string | undefined;
  readonly runs: readonly string[];
  user: string | undefined;
}

/**
 * What could be better about a Dockerfile (spec 2.7: several stages, no root). Nothing fails for it.
 *
 * @param target - the stage that is built; default the last.
 */
export function dockerfileWarnings(dockerfile: string, target?: string): readonly string[] {
  const stages = readStages(dockerfile);
  const final =
    (target === undefined ? undefined : stages.find(({ name }) => name === target.toLowerCase())) ?? stages.at(-1);
  if (final === undefined) return [];
  const user = userOf(stages, final);
  const warnings: string[] = [];
  if (user === undefined) warnings.push('it names no USER, so it runs as root unless its base image says otherwise');
  else if (/^(?:root|0)(?::|$)/.test(user)) warnings.push('it runs as root');
  if (stages.length === 1 && final.runs.some((run) => buildTools.test(run))) {
    warnings.push('it has one stage only, so what it was built with stays in it');
  }
  const loose = stages
    .map(({ from }) => from)
    .filter(
      (from) => !from.includes('$') && from !== 'scratch' && !stages.some(({ name }) => name === from.toLowerCase()),
    )
    .filter((from) => /:latest$/.test(from) || !/[:@][^/]*$/.test(from));
  if (loose.length > 0) warnings.push(`${[...new Set(loose)].join(', ')} is named without a version`);
  const optional = mountsThatMayBeMissing(stages.flatMap(({ runs }) => runs));
  if (optional.length > 0) {
    warnings.push(
      `${optional.join(', ')} may be missing without a word, and the layer without it is taken for the one with it: add \`required=true\``,
    );
  }
  return warnings;
}

/** Secrets and keys: a build that has none goes on, and BuildKit's cache does not tell one layer from the other. */
function mountsThatMayBeMissing(runs: readonly string[]): readonly string[] {
  const mounts = runs.flatMap((run) =>
    [...run.matchAll(/--mount=(\S+)/g)].map(([, options = '']) => options.split(',')),
  );
  const loose = mounts.filter(
    (options) =>
      options.some((option) => option === 'type=secret' || option === 'type=ssh') &&
      !options.some((option) => option === 'required' || option === 'required=true'),
  );
  const names = loose.map((options) => {
    const kind = options.includes('type=ssh') ? 'ssh' : 'secret';
    const id = options.find((option) => option.startsWith('id='))?.slice('id='.length);
    return `the ${kind} ${id ?? 'default'}`;
  });
  return [...new Set(names)];
}

/** @param maxBytes - from this size on an image is worth a word. */
export function sizeWarnings(sizeBytes: number, maxBytes: number): readonly string[] {
  const inMi = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
  return sizeBytes <= maxBytes ? [] : [`it has ${inMi(sizeBytes)}, more than ${inMi(maxBytes)}`];
}

/** That of the stage itself, else of the stage that it begins from. */
function userOf(stages: readonly DockerfileStage[], stage: DockerfileStage): string | undefined {
  if (stage.user !== undefined) return stage.user;
  const before = stages.slice(0, stages.indexOf(stage)).find(({ name }) => name === stage.from.toLowerCase());
  return before === undefined ? undefined : userOf(stages, before);
}

function readStages(dockerfile: string): readonly DockerfileStage[] {
  const stages: (DockerfileStage & { runs: string[] })[] = [];
  for (const instruction of instructions(dockerfile)) {
    const [, keyword = '', rest = ''] = /^(\w+)\s+([^]*)$/.exec(instruction) ?? [];
    const stage = stages.at(-1);
    switch (keyword.toUpperCase()) {
      case 'FROM': {
        const [from = '', as, name] = rest
          .trim()
          .split(/\s+/)
          .filter((word) => !word.startsWith('--'));
        stages.push({
          from,
          name: as?.toLowerCase() === 'as' ? name?.toLowerCase() : undefined,
          runs: [],
          user: undefined,
        });
        break;
      }
      case 'USER':
        if (stage !== undefined) stage.user = rest.trim();
        break;
      case 'RUN':
        stage?.runs.push(rest);
        break;
      default:
    }
  }
  return stages;
}
