import { existsSync } from 'node:fs';
import type { CommandContext } from '../context.ts';
import { CliError } from '../exit.ts';

const defaultFiles = ['slipway.yaml', 'project.yaml'];

/** `slipway validate [files…]`: every mistake of the documents at once, or what will keep a release out; speaks to nobody. */
export async function validate(context: CommandContext, files: readonly string[]): Promise<void> {
  const { terminal } = context;
  const paths = files.length > 0 ? files : defaultFiles.filter((file) => existsSync(file));
  if (paths.length === 0) {
    throw new CliError('usage', 'There is no slipway.yaml or project.yaml in this folder; name the files to look at.', {
      next: [
        {
          command: 'slipway validate path/to/slipway.yaml path/to/project.yaml',
          when: 'to check both against each other',
        },
      ],
    });
  }
  const [{ validateFiles }, { renderProblems }, { findSupplyChainTool }, { programsOf }] = await Promise.all([
    import('../../definition/load.ts'),
    import('../../definition/render.ts'),
    import('../../local/supply-chain.ts'),
    import('../../local/context.ts'),
  ]);
  const listsImages = findSupplyChainTool(programsOf(), 'syft') !== undefined;
  const { problems, warnings, sources } = await validateFiles(paths, { listsImages });
  const rendered = { color: terminal.colour, sources };
  const ending = problems.length === 0 ? 'ok' : 'failed';
  terminal.result(
    'validation',
    { files: paths, problems, warnings },
    () =>
      problems.length > 0
        ? renderProblems(problems, rendered)
        : [
            ...(warnings.length === 0 ? [] : [renderProblems(warnings, { ...rendered, are: 'warnings' }), '']),
            `${terminal.paint.icon('good')} ${paths.join(', ')}: no problems`,
          ].join('\n'),
    ending,
  );
  if (problems.length > 0) {
    throw new CliError('failed', 'Correct the places named above.', {
      type: 'definition-invalid',
      printed: terminal.json,
    });
  }
}
