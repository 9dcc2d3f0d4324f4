import { checkDigest } from './digests.ts';
import type { Call } from './oci.ts';
import type { ImageRegistry } from './port.ts';

export interface UploadOptions {
  readonly send: (call: Call) => Promise<Response>;
  readonly pathOf: (repository: string) => string;
  /** Of the registry, as in `https://host`. */
  readonly base: string;
  readonly readManifest: ImageRegistry['readManifest'];
  readonly unavailable: (said: string) => Error;
}

/**
 * What is written to a registry: parts first, each in one request, then what names them. What is there already is not sent again, so a push that broke
 * off goes on with what is missing.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#push
 */
export function createUploads(options: UploadOptions): Pick<ImageRegistry, 'ensureBlob' | 'writeManifest'> {
  const { send, pathOf, base, readManifest, unavailable } = options;

  return {
    async ensureBlob(repository, { digest, sizeBytes, open }, { signal, moved }) {
      const blobs = `/v2/${pathOf(repository)}/blobs/`;
      const held = await send({ method: 'HEAD', path: blobs + digest, repository, signal });
      if (held.status !== 404) return false;
      const begun = await send({ method: 'POST', path: `${blobs}uploads/`, repository, signal });
      await begun.body?.cancel();
      const location = begun.headers.get('location');
      if (location === null) throw unavailable(`does not say where ${digest} can be sent to`);
      const place = new URL(location, new URL(blobs, base));
      // Behind a proxy that ends TLS a registry may think that it is spoken to in plain text.
      if (place.host === new URL(base).host) place.protocol = new URL(base).protocol;
      place.searchParams.set('digest', digest);
      const sent = await send({
        method: 'PUT',
        path: place.href,
        repository,
        headers: { 'content-type': 'application/octet-stream', 'content-length': String(sizeBytes) },
        async *open() {
          for await (const chunk of open()) {
            moved?.();
            yield chunk;
          }
        },
        signal,
      });
      await sent.body?.cancel();
      if (!sent.ok) throw unavailable(`has forgotten the upload of ${digest}`);
      return true;
    },

    async writeManifest(repository, reference, { mediaType, digest, bytes }, signal) {
      await send({
        method: 'PUT',
        path: `/v2/${pathOf(repository)}/manifests/${encodeURIComponent(reference)}`,
        repository,
        headers: { 'content-type': mediaType },
        body: bytes,
        signal,
      });
      const held = await readManifest(repository, reference, signal);
      checkDigest(repository, reference, digest, held?.digest);
    },
  };
}
