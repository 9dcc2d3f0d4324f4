/**
 * What a schema cannot say: rules between settings of one document. Each is a function that looks at a document which may be wrong in
 * other places, so that people see everything at once. Here are the lists, and what both documents share.
 */
import type { Path } from './document.ts';
import {
  builderIsGuarded,
  groupsAreBuilt,
  imageGroupsHaveImages,
  imageMatricesFit,
  protectionIsAsked,
  registryHasOneLogin,
  scansAreMade,
  trustHasKeys,
} from './image-rules.ts';
import { group, groups, text } from './lenient.ts';
import { packageIndexesAreAsked, routesPublishSomewhere } from './package-rules.ts';
import { probesAreNotLooser } from './probe-floors.ts';
import type { Finding } from './problems.ts';
import {
  approvalsCanBeMet,
  bandsAreInOrder,
  deploymentsHaveImages,
  filtersHaveAUse,
  groupsAreAskedOnce,
  notifiersKnowEnvironments,
  portsAreFree,
  promotionsHaveAStaging,
  restoresHaveBackups,
  routesAreReached,
  routesLeadSomewhere,
  settingsAreNotSecret,
  targetsAreDistinct,
} from './project-rules.ts';
import {
  defaultsFit,
  serviceHasAnImage,
  stepsEndWithTheirStage,
  stepsHaveOneCommand,
  variablesAreGivenOnce,
} from './repository-rules.ts';
import { stageRules } from './stage-rules.ts';

type Rule = (document: unknown) => readonly Finding[];

const repositoryRules: readonly Rule[] = [
  namesAreUnique('stages'),
  namesAreUnique('images'),
  namesAreUnique('packages'),
  namesAreUnique('probes'),
  stepsHaveOneCommand,
  stepsEndWithTheirStage,
  serviceHasAnImage,
  imageMatricesFit,
  imageGroupsHaveImages,
  probesAreNotLooser,
  variablesAreGivenOnce,
  ...stageRules,
  defaultsFit,
];

const projectRules: readonly Rule[] = [
  namesAreUnique('probes'),
  namesAreUnique('schedules'),
  routesLeadSomewhere,
  routesAreReached,
  filtersHaveAUse,
  deploymentsHaveImages,
  groupsAreBuilt,
  approvalsCanBeMet,
  groupsAreAskedOnce,
  promotionsHaveAStaging,
  portsAreFree,
  targetsAreDistinct,
  bandsAreInOrder,
  restoresHaveBackups,
  settingsAreNotSecret,
  notifiersKnowEnvironments,
  trustHasKeys,
  scansAreMade,
  protectionIsAsked,
  registryHasOneLogin,
  builderIsGuarded,
  packageIndexesAreAsked,
  routesPublishSomewhere,
];

/** Everything in `slipway.yaml` that does not fit together. */
export function checkRepository(document: unknown): readonly Finding[] {
  return repositoryRules.flatMap((rule) => rule(document));
}

/** Everything in `project.yaml` that does not fit together. */
export function checkProject(document: unknown): readonly Finding[] {
  return projectRules.flatMap((rule) => rule(document));
}

function namesAreUnique(section: 'stages' | 'images' | 'packages' | 'probes' | 'schedules'): Rule {
  return (document) => {
    const items = group(document)[section];
    const steps = section === 'stages' ? groups(items) : [];
    return [
      ...duplicates(items, [section]),
      ...steps.flatMap(([index, stage]) => duplicates(stage['steps'], [section, index, 'steps'])),
    ];
  };
}

function duplicates(items: unknown, path: Path): readonly Finding[] {
  const seen = new Set<string>();
  return groups(items).flatMap(([index, item]) => {
    const name = text(item['name']);
    if (name === undefined || !seen.has(name)) {
      if (name !== undefined) seen.add(name);
      return [];
    }
    return [
      {
        path: [...path, index, 'name'],
        message: `is \`${name}\` a second time`,
        hint: 'Give each its own name; logs and reports are found by it.',
      },
    ];
  });
}
