import { createHash } from 'node:crypto';
import { ProviderError } from '../../domain/failures.ts';
import { nameIn } from '../../domain/packages.ts';
import { createUploadHttp } from './upload-http.ts';
import type { PackageUploadKind } from './port.ts';
import { type PythonPackage, readPythonPackage } from './python-archive.ts';
import { formFieldsOf, oneOf } from './python-metadata.ts';
import { findListed, simpleTypes } from './simple-index.ts';

/**
 * An index of Python packages by the upload that PyPI documents (`file_upload`), and asked by the simple API.
 *
 * @see https://docs.pypi.org/api/upload/
 */
export const python: PackageUploadKind<PythonPackage> = {
  read: readPythonPackage,
  open(options) {
    const http = createUploadHttp(options);
    const { name: index, url, simple = '' } = options;
    const addressOf = ({ name }: PythonPackage): string => `${simple.replace(/\/+$/, '')}/${nameIn('python', name)}/`;
    return Promise.resolve({
      addressOf,
      async find(read, signal) {
        const list = await http.ask(addressOf(read), simpleTypes, signal);
        if (list === undefined) return undefined;
        const found = listed(list, read.file, index);
        if (found === undefined) return undefined;
        if (found.sha256 === undefined) throw unclear(index, `names no SHA-256 of ${read.file}`);
        return { digest: `sha256:${found.sha256}` };
      },
      async upload(read, signal) {
        await http.post(url, formOf(read), signal);
      },
    });
  },
};

function listed(list: string, file: string, index: string): ReturnType<typeof findListed> {
  try {
    return findListed(list, file);
  } catch {
    throw unclear(index, 'does not answer as the simple API of Python has it');
  }
}

/** What the index holds cannot be told, and no data is never a pass. */
function unclear(index: string, why: string): ProviderError {
  return new ProviderError('IndexRefused', `the index ${index} ${why}: what it holds cannot be checked`, {
    details: { index },
  });
}

function formOf({ file, content, name, version, sha256, filetype, pyversion, metadata }: PythonPackage): FormData {
  const form = new FormData();
  const fields: readonly (readonly [string, string])[] = [
    [':action', 'file_upload'],
    ['protocol_version', '1'],
    ['name', name],
    ['version', version],
    ['filetype', filetype],
    ['pyversion', pyversion],
    ['metadata_version', oneOf(metadata, 'metadata_version')],
    ['sha256_digest', sha256],
    // Older indexes check by this one.
    ['md5_digest', createHash('md5').update(content).digest('hex')],
    ...formFieldsOf(metadata).filter(([field]) => field !== 'metadata_version'),
  ];
  for (const [field, value] of fields) form.append(field, value);
  form.append('content', new Blob([new Uint8Array(content)], { type: 'application/octet-stream' }), file);
  return form;
}
