import { createExecInfrastructure, type ExecCommands } from './exec.ts';
import type { BackendSpec, Infrastructure } from './port.ts';
import { createTerraform } from './terraform.ts';

/** What an environment is given to plan and apply its infrastructure with. */
export type InfrastructureTool =
  | { readonly kind: 'terraform' | 'opentofu'; readonly backend: BackendSpec }
  | ({ readonly kind: 'exec' } & ExecCommands);

/** @param program - path of a tool by its kind; asked at each use. */
export type FindInfrastructureProgram = (kind: 'terraform' | 'opentofu') => Promise<string>;

/** All kinds of infrastructure there are. */
export function createInfrastructure(tool: InfrastructureTool, program: FindInfrastructureProgram): Infrastructure {
  switch (tool.kind) {
    case 'terraform':
    case 'opentofu':
      return createTerraform({ name: tool.kind, program: () => program(tool.kind), backend: tool.backend });
    case 'exec':
      return createExecInfrastructure(tool);
  }
}
