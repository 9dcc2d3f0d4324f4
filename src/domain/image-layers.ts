/** What the layers of an image tell beside its packages: how old what it begins from is, who it runs as, and what was left in it. */
import type { ImageFacts } from './report.ts';
import { looksSecret } from './security-facts.ts';

/** One instruction that made an image. */
export interface ImageLayer {
  /** ISO 8601; null where the engine does not know. Reproducible images date their layers to 1970. */
  readonly createdAt: string | null;
  /** As the engine wrote it down, with the values of build arguments. */
  readonly instruction: string;
}

/** How an image was made, as an engine has it. */
export interface ImageLayers {
  /** User that its process runs as; empty means root. */
  readonly user: string;
  /** Variables that its process starts with. */
  readonly settings: Readonly<Record<string, string>>;
  /** Layers with files in them. */
  readonly count: number;
  /** All instructions, those of its base too, the newest first. */
  readonly history: readonly ImageLayer[];
}

/** Nothing was built on a real day before this one. */
const epochMs = 86_400_000;

/** `NAME=value` in an instruction, where the value is written out: `$NAME` is what somebody hands over, and not in the image. */
const assignment = /\b([A-Z][A-Z0-9_]*)=(?:"([^"]*)"|'([^']*)'|([^\s"'$][^\s"']*))/g;

/**
 * What a gate judges of an image's layers.
 *
 * @param hasBase - whether it begins from another image; one that does not has nothing that could be old.
 */
export function imageFactsOf(name: string, layers: ImageLayers, hasBase: boolean): ImageFacts {
  const { user, settings, count, history } = layers;
  const moments = history.map(({ createdAt }) => (createdAt === null ? NaN : Date.parse(createdAt)));
  const known = moments.length > 0 && moments.every((at) => at > epochMs);
  return {
    name,
    user,
    layers: count,
    ...(hasBase ? { baseCreatedAt: known ? new Date(Math.min(...moments)).toISOString() : null } : {}),
    exposed: exposedIn(settings, history),
  };
}

/** Names of what looks like a secret and can be read by whoever has the image. */
function exposedIn(settings: ImageLayers['settings'], history: readonly ImageLayer[]): readonly string[] {
  const found = new Set(Object.entries(settings).flatMap(([name, value]) => (looksSecret(name, value) ? [name] : [])));
  for (const { instruction } of history) {
    for (const [, name = '', ...values] of instruction.matchAll(assignment)) {
      if (looksSecret(name, values.join(''))) found.add(name);
    }
  }
  return [...found].sort();
}
