import { expect } from '@jest/globals';
import { loadPair } from '../../../src/definition/load.ts';
import type { DefinitionPair } from '../../../src/definition/pair.ts';

/** The least that can be deployed. */
export const repositoryText = `version: 1
stages:
  - name: test
    steps:
      - name: unit
        run: [npm, test]
        image: node:24-slim
images:
  - name: app
service:
  image: app
  port: 8080
`;

/** The least that deploys it. */
export const projectText = `version: 1
project: shop
repository:
  url: https://forge.example/team/shop.git
  forge: { kind: github, secrets: [{ env: SHOP_WEBHOOK_SECRET }] }
registry: { address: registry.example:5000 }
environments:
  production:
    target: { kind: docker }
    router: { kind: haproxy, listen: { port: 8080 }, slots: { blue: 18080, green: 18081 } }
  staging:
    target: { kind: docker }
    router: { kind: haproxy, listen: { port: 8081 }, slots: { blue: 18082, green: 18083 } }
`;

/** Both documents as text; what is not given is the least. */
export interface Texts {
  readonly repository?: string;
  readonly project?: string;
}

/** Every problem as `path message`. */
export function problemsOf({ repository = repositoryText, project = projectText }: Texts): readonly string[] {
  const loaded = loadPair({
    repository: { file: 'slipway.yaml', text: repository },
    project: { file: 'project.yaml', text: project },
  });
  return loaded.ok ? [] : loaded.problems.map(({ path, message }) => `${path} ${message}`);
}

export function pairOf({ repository = repositoryText, project = projectText }: Texts = {}): DefinitionPair {
  const loaded = loadPair({
    repository: { file: 'slipway.yaml', text: repository },
    project: { file: 'project.yaml', text: project },
  });
  if (!loaded.ok) expect(loaded.problems).toEqual([]);
  return (loaded as { readonly value: DefinitionPair }).value;
}
