import type { DeploymentRef } from '../domain/deployment.ts';
import type { Spool } from '../effects/spool.ts';
import type { Fact, KeyedFact } from '../store/facts.ts';
import type { Told } from './contracts.ts';

/** @returns what is told as the spool takes it. */
export function factsOf({ deployment, facts }: Told): readonly KeyedFact[] {
  const { project, environment, number } = deployment;
  const ref: DeploymentRef = { project, environment, number };
  const name = `${project}/${environment}/${number}`;
  return facts.map((told): KeyedFact => {
    const { kind, key } = told;
    if (kind === 'step') return stepFact(ref, key, told.step);
    const { phase, at, detail } = told;
    return {
      key: `phase/${name}/${phase}/${key}`,
      fact: { kind: 'phase', deployment: ref, phase, at, ...(detail === undefined ? {} : { detail }) },
    };
  });
}

/** One step of the timeline, by the key that makes it the same however it is told. */
export function stepFact(
  deployment: DeploymentRef,
  key: string,
  step: Extract<Fact, { kind: 'deployment-step' }>['step'],
): KeyedFact {
  const { project, environment, number } = deployment;
  return {
    key: `deployment-step/${project}/${environment}/${number}/${key}`,
    fact: { kind: 'deployment-step', deployment: { project, environment, number }, key, step },
  };
}

/** Spools what is told. For people's eyes only: where even the spool has no room, it is lost and nothing else. */
export async function tell(spool: Pick<Spool<Fact>, 'append'>, told: Told): Promise<void> {
  // The spool tells its own log of what it has no room for.
  await Promise.allSettled(factsOf(told).map(({ key, fact }) => spool.append(key, fact)));
}

/** Activities that take what is told beside their input, and spool it while they work. */
export function taking<A extends object>(spool: Pick<Spool<Fact>, 'append'>, activities: A): A {
  const entries = Object.entries(activities as Readonly<Record<string, (input: unknown) => unknown>>);
  const wrapped = entries.map(([name, act]) => [
    name,
    async (input: unknown, told?: Told): Promise<unknown> => {
      const kept = told === undefined ? undefined : tell(spool, told);
      try {
        return await act(input);
      } finally {
        // On disk when the call ends, or a worker that dies right after it would take them along.
        await kept;
      }
    },
  ]);
  return Object.fromEntries(wrapped) as A;
}
