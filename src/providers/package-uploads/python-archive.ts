import { nameIn } from '../../domain/packages.ts';
import { Unreadable, readTarGz, readZip, refused } from './archive.ts';
import { sha256Of } from './digest.ts';
import type { ReadPackage } from './port.ts';
import { type PythonMetadata, identityOf, readPythonMetadata } from './python-metadata.ts';

/** A wheel or a source distribution. */
export interface PythonPackage extends ReadPackage {
  readonly filetype: 'bdist_wheel' | 'sdist';
  /** The tag of Python that a wheel is for, `source` otherwise. */
  readonly pyversion: string;
  readonly metadata: PythonMetadata;
}

/** @see https://packaging.python.org/en/latest/specifications/binary-distribution-format/#file-name-convention */
const wheelName = /^([\w.]+)-([\w.!+]+)(?:-\d[\w.]*)?-([\w.]+)-[\w.]+-[\w.]+\.whl$/;
const sdistName = /^([\w.-]+)-([\w.!+]+)\.tar\.gz$/;

/** Reads a wheel or a source distribution by its metadata, and whether its name says the same. */
export async function readPythonPackage(file: string, content: Buffer, signal: AbortSignal): Promise<PythonPackage> {
  try {
    const wheel = wheelName.exec(file);
    const sdist = sdistName.exec(file);
    const named = wheel ?? sdist;
    if (named === null) throw new Unreadable('is no `.whl` and no `.tar.gz` by its name');
    const [, ownName = '', ownVersion = '', tag = ''] = named;
    const wants = wheel === null ? /^[^/]+\/PKG-INFO$/ : /^[^/]+\.dist-info\/METADATA$/;
    const read = wheel === null ? readTarGz : readZip;
    const found = [...(await read(file, content, (path) => wants.test(path), signal)).values()];
    const [first, ...more] = found;
    if (first === undefined || more.length > 0) {
      throw new Unreadable(first === undefined ? 'has no metadata' : 'has metadata of more than one package');
    }
    const metadata = readPythonMetadata(first);
    const { name, version } = identityOf(metadata);
    if (nameIn('python', ownName) !== nameIn('python', name) || plain(ownVersion) !== plain(version)) {
      throw new Unreadable(`is ${name} ${version} by its metadata, which is not what its name says`);
    }
    const sha256 = sha256Of(content);
    return {
      ...{ file, content, name, version, sha256, digest: `sha256:${sha256}`, metadata },
      ...(wheel === null ? { filetype: 'sdist', pyversion: 'source' } : { filetype: 'bdist_wheel', pyversion: tag }),
    };
  } catch (error) {
    throw refused(file, error, signal);
  }
}

/** Names of files have other dividers in a version than the version itself. */
function plain(version: string): string {
  return version.toLowerCase().replace(/[-_.+]+/g, '.');
}
