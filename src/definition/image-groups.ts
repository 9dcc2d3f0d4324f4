/** Which images of a document a run builds, and what a matrix makes of one. */
import { type RunFacts, whyNot } from './conditions.ts';
import { combinationsOf, fillIn, stageNameOf } from './matrix.ts';
import type { RepositoryDefinition } from './repository.ts';
import type { OtherImage } from './specs/image.ts';

export type ImageDefinition = RepositoryDefinition['images'][number];

/** Every image of a document by its own name, those of a matrix by theirs; values of the matrix are arguments of the build. */
export function imagesOf({ images }: Pick<RepositoryDefinition, 'images'>): readonly ImageDefinition[] {
  return images.flatMap((image) => {
    const { matrix, ...rest } = image;
    if (matrix === undefined) return [rest];
    return combinationsOf(matrix).map((values) => {
      const args = Object.entries(rest.args).map(([name, value]) => [name, fillIn(value, values)] as const);
      return { ...rest, name: stageNameOf(rest.name, values), args: { ...values, ...Object.fromEntries(args) } };
    });
  });
}

/**
 * Images that a run builds, and those it leaves out.
 *
 * @param wanted - groups that the route names; every group when undefined. An image without a group is always built.
 */
export function chooseImages(
  repository: Pick<RepositoryDefinition, 'images' | 'imageGroups'>,
  facts: RunFacts,
  wanted: readonly string[] | undefined,
): { readonly chosen: readonly ImageDefinition[]; readonly others: readonly OtherImage[] } {
  const chosen: ImageDefinition[] = [];
  const others: OtherImage[] = [];
  for (const image of imagesOf(repository)) {
    const { group, name } = image;
    const why = group === undefined ? undefined : whyNotGroup(group);
    if (group === undefined || why === undefined) chosen.push(image);
    else others.push({ name, group, why });
  }
  return { chosen, others };

  function whyNotGroup(group: string): string | undefined {
    if (wanted?.includes(group) === false) {
      return `The route builds ${wanted.length === 0 ? 'no group' : wanted.join(', ')}, not ${group}.`;
    }
    const when = repository.imageGroups?.[group]?.when;
    return when === undefined ? undefined : whyNot(when, facts);
  }
}
