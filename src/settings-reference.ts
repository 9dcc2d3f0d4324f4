import { type SettingWords, Settings } from './settings.ts';

/** Of Temporal's own, as its command line knows them (`@temporalio/envconfig`); a profile of its configuration file has the same. */
const ofTemporal = [
  [
    ['TEMPORAL_ADDRESS'],
    '`host:port`',
    'none: it must be set; `slipway up` sets that of its own',
    'The Temporal server.',
  ],
  [['TEMPORAL_NAMESPACE'], 'name', '`default`', 'Namespace that is this installation.'],
  [['TEMPORAL_API_KEY'], 'text', 'none', 'Key for Temporal Cloud, or for a server that asks for one.'],
  [['TEMPORAL_TLS'], '`true` or `false`', 'where a key or a certificate is set', 'TLS to the server.'],
  [
    ['TEMPORAL_TLS_CLIENT_CERT_PATH', 'TEMPORAL_TLS_CLIENT_KEY_PATH'],
    'path',
    'none',
    'Who this process is, in PEM; `…_DATA` in the place of `…_PATH` takes the text itself.',
  ],
  [
    ['TEMPORAL_TLS_SERVER_CA_CERT_PATH'],
    'path',
    'those that Node trusts',
    'Authority of the server, in PEM; `…_DATA` as above.',
  ],
  [['TEMPORAL_TLS_SERVER_NAME'], 'name', 'that of the address', 'Name that the certificate of the server must have.'],
  [
    ['TEMPORAL_CONFIG_FILE', 'TEMPORAL_PROFILE'],
    'path; name',
    "Temporal's own place; `default`",
    'Where all of this may stand instead.',
  ],
] as const;

/** The page of everything that a process of Slipway is told by its environment, by its path from the root of the project. */
export function renderSettings(): Readonly<Record<string, string>> {
  return { 'docs/reference/settings.md': `${page().join('\n')}\n` };
}

function page(): readonly string[] {
  return [
    '# Settings',
    '',
    'Generated from the schema in `src/settings.ts`; `node scripts/generate-reference.ts` writes it anew.',
    '',
    'What the API and a worker are told by their environment, besides the secrets that a project names (`{env: NAME}`), `PATH`, `HOME` and `XDG_CACHE_HOME`. An',
    'empty variable is one that is not set. Everything that is wrong is told at once when a process starts, which then ends with `ConfigurationInvalid`.',
    '`slipway up` sets what its own processes need; `docker-compose.yml` has [settings of its own](../operations.md#several-machines), and so has the',
    '[command line](../cli.md).',
    '',
    '| setting | value | default | read by | meaning |',
    '| --- | --- | --- | --- | --- |',
    ...Object.entries(Settings.shape).map(([name, schema]) => row(name, schema)),
    '',
    "## Temporal's",
    '',
    "As Temporal's own command line reads them; both processes do.",
    '',
    '| setting | value | default | meaning |',
    '| --- | --- | --- | --- |',
    ...ofTemporal.map(([names, form, usual, meaning]) => {
      const shown = names.map((name) => `\`${name}\``).join(', ');
      return `| ${shown} | ${form} | ${usual} | ${meaning} |`;
    }),
  ];
}

/** @throws Error - a setting has no words, which a test would find. */
function row(name: string, schema: (typeof Settings.shape)[keyof typeof Settings.shape]): string {
  const words = schema.meta() as Partial<SettingWords> | undefined;
  if (words?.form === undefined || words.readBy === undefined || words.description === undefined) {
    throw new Error(`the setting ${name} has no words for the reference`);
  }
  const fixed = schema.safeParse(undefined).data;
  const usual = words.usual ?? `\`${String(fixed)}\``;
  return `| \`${name}\` | ${words.form} | ${usual} | ${words.readBy} | ${words.description} |`;
}
