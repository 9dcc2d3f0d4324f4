/** What a project of a bench is made of. */
export interface BenchProject {
  readonly name: string;
  readonly repositoryUrl: string;
  readonly webhookSecretFile: string;
  /** Lines below `steps:`. */
  readonly steps?: readonly string[];
  /** `host:port`; a project that builds no images needs none. */
  readonly registry?: string;
  /** Whole blocks beside the others. */
  readonly more?: string;
}

/** project.yaml of a bench. */
export function projectYaml(project: BenchProject): string {
  return [
    'version: 1',
    `project: ${project.name}`,
    'repository:',
    `  url: "${project.repositoryUrl}"`,
    `  forge: { kind: github, secrets: [{ file: "${project.webhookSecretFile}" }] }`,
    'registry:',
    `  address: "${project.registry ?? '127.0.0.1:1'}"`,
    '  insecure: true',
    'steps:',
    ...(project.steps ?? ['executor: host']).map((line) => `  ${line}`),
    project.more ?? '',
  ].join('\n');
}
