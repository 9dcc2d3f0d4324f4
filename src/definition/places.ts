/** Where in a document its steps and environments are. */
import type { Path } from './document.ts';
import { group, groupAt, groups } from './lenient.ts';

interface StepPlace {
  readonly path: Path;
  readonly step: Readonly<Record<string, unknown>>;
  readonly stage: Readonly<Record<string, unknown>>;
}

/** Every step of a document, with its place. */
export function stepsOf(document: unknown): readonly StepPlace[] {
  return groups(group(document)['stages']).flatMap(([stageIndex, stage]) =>
    groups(stage['steps']).map(([stepIndex, step]) => ({
      path: ['stages', stageIndex, 'steps', stepIndex],
      step,
      stage,
    })),
  );
}

interface EnvironmentPlace {
  readonly name: string;
  readonly path: readonly [string, string];
  readonly environment: Readonly<Record<string, unknown>>;
}

/** Every environment of a project, with its place. */
export function environmentsOf(document: unknown): readonly EnvironmentPlace[] {
  return Object.entries(groupAt(document, 'environments')).map(([name, environment]) => ({
    name,
    path: ['environments', name],
    environment: group(environment),
  }));
}
