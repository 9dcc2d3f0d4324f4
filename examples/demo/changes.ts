/** What the developers of the story push: each change as the files it touches. */
type Files = Readonly<Record<string, string>>;

/** A good change with a migration that the running release can live with. */
export const pinnedNotes: Files = {
  'migrations/003_pinned.sql':
    '-- slipway: expand\nALTER TABLE notes ADD COLUMN pinned boolean NOT NULL DEFAULT false;\n',
  'migrations/003_pinned.down.sql': 'ALTER TABLE notes DROP COLUMN pinned;\n',
  '.env.production': 'GREETING=Good morning\n',
};

/** How the bad release fails, and what its migration does to the notes. */
export const badRelease = { errorRatio: 0.1, afterMs: 3_000, damage: "body = 'tidied away'" } as const;

/**
 * A bad change: some seconds after users came a tenth of their requests fail, and a migration that calls itself harmless overwrites every
 * note there is.
 */
export const badTidying: Files = {
  'migrations/004_tidy.sql': `-- slipway: expand\nALTER TABLE notes ADD COLUMN tidied_at timestamptz;\nUPDATE notes SET ${badRelease.damage}, tidied_at = now();\n`,
  'migrations/004_tidy.down.sql': 'ALTER TABLE notes DROP COLUMN tidied_at;\n',
  'src/fault.json': `${JSON.stringify({ errorRatio: badRelease.errorRatio, afterMs: badRelease.afterMs })}\n`,
};

/** The bad change taken out again, as it would be before anything else is pushed. */
export const withoutTidying: Readonly<Record<string, string | null>> = {
  'migrations/004_tidy.sql': null,
  'migrations/004_tidy.down.sql': null,
  'src/fault.json': '{ "errorRatio": 0, "afterMs": 0 }\n',
};

/** A change of nothing but a setting. */
export function greeting(text: string): Files {
  return { '.env.production': `GREETING=${text}\n` };
}
