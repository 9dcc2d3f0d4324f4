/**
 * The images that a Dockerfile takes something from (`FROM`, `COPY --from`, `RUN --mount … from=`), with its arguments filled in. Names of
 * its own stages and `scratch` are none. What cannot be read here is left to the engine, which then refuses or fetches it.
 *
 * @param args - build arguments; those before the first FROM have their defaults in the file.
 */
export function baseImages(dockerfile: string, args: Readonly<Record<string, string>>): readonly string[] {
  return readBases(dockerfile, args).map(({ image }) => image);
}

/**
 * Those of them that need not be for the platform that is built: their files alone are taken, or a stage says its platform itself
 * (`FROM --platform=$BUILDPLATFORM`), as those that cross-compile do.
 */
export function foreignBases(dockerfile: string, args: Readonly<Record<string, string>>): readonly string[] {
  return readBases(dockerfile, args).flatMap(({ image, isForeign }) => (isForeign ? image : []));
}

interface Base {
  readonly image: string;
  readonly isForeign: boolean;
}

function readBases(dockerfile: string, args: Readonly<Record<string, string>>): readonly Base[] {
  const values = new Map<string, string>();
  const stages = new Set<string>();
  // By name: whether it is foreign wherever it stands.
  const images = new Map<string, boolean>();
  let inStage = false;
  const add = (image: string, isForeign: boolean): void => {
    if (image !== '' && image !== 'scratch' && !stages.has(image.toLowerCase()) && !/^\d+$/.test(image))
      images.set(image, isForeign && images.get(image) !== false);
  };
  for (const instruction of instructions(dockerfile)) {
    const [, keyword = '', rest = ''] = /^(\w+)\s+([^]*)$/.exec(instruction) ?? [];
    const words = rest.trim().split(/\s+/);
    switch (keyword.toUpperCase()) {
      case 'ARG':
        if (!inStage) declare(words, args, values);
        break;
      case 'FROM': {
        inStage = true;
        const [image = '', as, name] = words.filter((word) => !word.startsWith('--'));
        add(
          fill(image, values),
          words.some((word) => word.startsWith('--platform=')),
        );
        if (as?.toLowerCase() === 'as' && name !== undefined) stages.add(name.toLowerCase());
        break;
      }
      case 'COPY':
      case 'RUN':
        for (const found of rest.matchAll(/--(?:from=|mount=\S*\bfrom=)([^\s,]+)/g))
          add(fill(found[1] ?? '', values), true);
        break;
      default:
    }
  }
  return [...images].map(([image, isForeign]) => ({ image, isForeign }));
}

function declare(words: readonly string[], args: Readonly<Record<string, string>>, values: Map<string, string>): void {
  for (const word of words) {
    const [name = '', ...rest] = word.split('=');
    const given = Object.hasOwn(args, name) ? args[name] : undefined;
    const value = given ?? (rest.length > 0 ? fill(unquote(rest.join('=')), values) : undefined);
    if (value !== undefined) values.set(name, value);
  }
}

/** Whole instructions: comments dropped, continued lines joined. */
export function instructions(dockerfile: string): readonly string[] {
  const escape = /^\s*#\s*escape\s*=\s*`/m.test(dockerfile.split('\n', 5).join('\n')) ? '`' : '\\';
  const found: string[] = [];
  let open = '';
  for (const raw of dockerfile.split(/\r?\n/)) {
    const line = raw.trim();
    if (line.startsWith('#') || line === '') continue;
    if (line.endsWith(escape)) {
      open += `${line.slice(0, -1)} `;
      continue;
    }
    found.push(open + line);
    open = '';
  }
  if (open !== '') found.push(open);
  return found;
}

/** `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:+other}`. */
function fill(text: string, values: ReadonlyMap<string, string>): string {
  return unquote(text).replaceAll(
    /\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})/g,
    (_, plain: string | undefined, braced: string | undefined, how: string | undefined, other: string | undefined) => {
      const value = values.get(plain ?? braced ?? '') ?? '';
      if (how === '-') return value === '' ? (other ?? '') : value;
      if (how === '+') return value === '' ? '' : (other ?? '');
      return value;
    },
  );
}

function unquote(text: string): string {
  return text.replace(/^(["'])(.*)\1$/, '$2');
}
