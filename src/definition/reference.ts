import { z } from 'zod';
import { ProjectDefinition } from './project.ts';
import { RepositoryDefinition } from './repository.ts';

/** The part of JSON Schema (draft-07) that our schemas come out as. */
interface JsonSchema {
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: string | number | boolean;
  readonly enum?: readonly (string | number)[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly oneOf?: readonly JsonSchema[];
  readonly anyOf?: readonly JsonSchema[];
  readonly minimum?: number;
  readonly maximum?: number;
}

const documents = [
  { name: 'slipway', schema: RepositoryDefinition },
  { name: 'project', schema: ProjectDefinition },
] as const;

/**
 * Everything that is generated from the schemas, by path from the root of the project: the JSON Schema of each document for editors, and
 * the page for people.
 */
export function renderReference(): Readonly<Record<string, string>> {
  const schemas = documents.map(({ name, schema }) => ({ name, schema: toJsonSchema(schema) }));
  return {
    ...Object.fromEntries(
      schemas.map(({ name, schema }) => [`docs/reference/${name}.schema.json`, `${JSON.stringify(schema, null, 2)}\n`]),
    ),
    'docs/reference/definitions.md': renderPage(schemas),
  };
}

function toJsonSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { target: 'draft-07', io: 'input' }) as JsonSchema;
}

const forms = [
  ['duration', '`250ms`, `30s`, `5m`, `24h`, `14d`'],
  ['size', '`512Mi`, `2Gi` (powers of 1024), `500M`, `2G` (powers of 1000)'],
  ['ratio', '`5%` or `0.05`'],
  ['name', 'small letters, digits and single hyphens, a letter first, at most 40 characters'],
  ['variable', 'capital letters, digits and `_`'],
  ['variables', 'a group of `NAME: value`; texts, numbers, `true` and `false`'],
  [
    'secret',
    '`{env: NAME}` (a variable of the worker) or `{file: path}` (a file on the worker); never the value itself',
  ],
  ['secrets', 'a group of `NAME: secret`'],
  ['path in the repository', 'relative, with `/`, and without `..`'],
  [
    'regular expression',
    "RE2's, as Go has them: no look-around, no reference back, and at most 256 parts when repetitions are written out",
  ],
] as const;

function renderPage(schemas: readonly { readonly name: string; readonly schema: JsonSchema }[]): string {
  const lines = [
    '# Definitions',
    '',
    'Generated from the schemas in `src/definition`; `node scripts/generate-reference.ts` writes it anew.',
    '',
    'Two documents, because whoever can push must not be able to change who approves. Both are strict: an unknown setting is an error.',
    '`slipway validate` shows everything that is wrong at once. Editors know the settings with this as the first line:',
    '',
    '```yaml',
    '# yaml-language-server: $schema=<this folder>/slipway.schema.json',
    '```',
    '',
    '| form | is written |',
    '| --- | --- |',
    ...forms.map(([name, text]) => `| ${name} | ${text} |`),
  ];
  for (const { name, schema } of schemas) {
    lines.push('', `## ${name}.yaml`, '', schema.description ?? '', ...section(schema, '', name));
  }
  return `${lines.join('\n')}\n`;
}

/** The table of one group of settings, then those of the groups within it. */
function section(schema: JsonSchema, path: string, document: string): readonly string[] {
  const required = new Set(schema.required);
  const rows: string[] = [];
  const nested: (readonly string[])[] = [];
  for (const [name, setting] of Object.entries(schema.properties ?? {})) {
    const within = path === '' ? name : `${path}.${name}`;
    rows.push(
      `| \`${name}\` | ${cell(formOf(setting))} | ${cell(defaultOf(setting, required.has(name)))} | ${cell(setting.description ?? '')} |`,
    );
    for (const { schema: inner, path: innerPath, title } of innerGroups(setting, within)) {
      const heading = `### ${document}: \`${innerPath}\`${title === undefined ? '' : ` of kind \`${title}\``}`;
      const text = inner.description ?? (setting.type === 'object' ? undefined : setting.description);
      nested.push(['', heading, '', ...(text === undefined ? [] : [text]), ...section(inner, innerPath, document)]);
    }
  }
  return ['', '| setting | value | default | meaning |', '| --- | --- | --- | --- |', ...rows, ...nested.flat()];
}

interface InnerGroup {
  readonly schema: JsonSchema;
  readonly path: string;
  readonly title?: string;
}

function innerGroups(setting: JsonSchema, path: string): readonly InnerGroup[] {
  // A secret and a group of variables are forms of their own, said once at the top.
  if (setting.title === 'secret' || setting.title === 'variables' || setting.title === 'secrets') return [];
  if (setting.properties !== undefined) return [{ schema: setting, path }];
  if (setting.oneOf !== undefined) {
    return setting.oneOf.map((schema) => ({
      schema,
      path,
      ...(schema.title === undefined ? {} : { title: schema.title }),
    }));
  }
  if (setting.items !== undefined) return innerGroups(setting.items, `${path}[]`);
  if (typeof setting.additionalProperties === 'object')
    return innerGroups(setting.additionalProperties, `${path}.<name>`);
  return [];
}

function formOf(setting: JsonSchema): string {
  if (setting.const !== undefined) return `\`${String(setting.const)}\``;
  if (setting.enum !== undefined) return setting.enum.map((value) => `\`${String(value)}\``).join(', ');
  if (setting.oneOf !== undefined)
    return `one of the kinds ${setting.oneOf.map(({ title }) => `\`${title ?? ''}\``).join(', ')}`;
  if (setting.title !== undefined) return setting.title;
  if (setting.type === 'array') return `list of ${plural(setting.items ?? {})}`;
  if (setting.type === 'object') return setting.properties === undefined ? 'group by name' : 'group';
  if (setting.type === 'boolean') return '`true`, `false`';
  if (setting.type === 'integer' || setting.type === 'number') return rangeOf(setting);
  return setting.anyOf === undefined ? 'text' : setting.anyOf.map(formOf).join(' or ');
}

function plural(items: JsonSchema): string {
  if (items.title === 'variable') return 'variables';
  if (items.title !== undefined) return `${items.title}s`;
  if (items.enum !== undefined) return formOf(items);
  if (items.properties !== undefined || items.oneOf !== undefined) return 'groups';
  return 'texts';
}

function rangeOf({ type, minimum, maximum }: JsonSchema): string {
  const noun = type === 'integer' ? 'whole number' : 'number';
  // JSON Schema writes the safe integers where there is no limit.
  const least = minimum === undefined || minimum <= Number.MIN_SAFE_INTEGER ? '' : ` from ${minimum}`;
  const most = maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? '' : ` to ${maximum}`;
  return `${noun}${least}${most}`;
}

function defaultOf(setting: JsonSchema, required: boolean): string {
  if (required) return '**required**';
  const value = setting.default;
  if (value === undefined) return '';
  if (typeof value === 'object' && value !== null && Object.keys(value).length === 0) {
    return Array.isArray(value) ? 'none' : setting.properties === undefined ? 'none' : '';
  }
  return `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
}

/** A pipe would end the cell of a table. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
