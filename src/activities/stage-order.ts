import type { StageSpec } from '../definition/specs/stage.ts';
import { definedAs } from '../domain/stage-graph.ts';

/** All that a stage comes after, however far before. What a stage needs stands before it. */
export function stagesBefore(stages: readonly StageSpec[], spec: StageSpec): readonly StageSpec[] {
  const at = stages.indexOf(spec);
  if (spec.needs === undefined) return stages.slice(0, at).filter((stage) => definedAs(stage) !== definedAs(spec));
  const wanted = new Set(spec.needs);
  const found: StageSpec[] = [];
  for (let index = at - 1; index >= 0; index -= 1) {
    const stage = stages[index];
    if (stage === undefined || !wanted.has(definedAs(stage))) continue;
    found.unshift(stage);
    for (const name of stage.needs ?? stages.slice(0, index).map(definedAs)) wanted.add(name);
  }
  return found;
}
