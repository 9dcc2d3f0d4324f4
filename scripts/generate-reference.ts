import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { renderReference } from '../src/definition/reference.ts';
import { renderSettings } from '../src/settings-reference.ts';

const root = join(import.meta.dirname, '..');
for (const [path, content] of Object.entries({ ...renderReference(), ...renderSettings() })) {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
  console.log(path);
}
