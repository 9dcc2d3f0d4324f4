/** Images: what they are built of and with, and where they go. */
import type { Credentials, SecretRef, SecretRefs } from './secret.ts';

/** An image that a run leaves out. */
export interface OtherImage {
  readonly name: string;
  readonly group: string;
  /** As a sentence. */
  readonly why: string;
}

export interface ImageSpec {
  readonly name: string;
  /** What it is built with, and how many of that are at once. Absent: it has no group. */
  readonly group?: { readonly name: string; readonly concurrency?: number };
  /** `address/prefix/name` in the registry, without a tag. */
  readonly repository: string;
  /** Relative to the checkout. */
  readonly context: string;
  /** Relative to the context. */
  readonly dockerfile: string;
  readonly target?: string;
  readonly args: Readonly<Record<string, string>>;
  /** Empty: the platform of the builder. In the order of the alphabet, each once. */
  readonly platforms: readonly string[];
  /** Of the build's RUN instructions; the floor of the project applied. */
  readonly network: 'default' | 'none';
  /** Only those that the image names and the project offers. Empty for pull requests from forks. */
  readonly secrets: SecretRefs;
  /** By the `id` of the mount. Empty for pull requests from forks. */
  readonly ssh: Readonly<Record<string, SshSpec>>;
  /** Absent: the layers of the image that was built before. */
  readonly cache?: ImageCacheSpec;
}

/** A private key by reference, or the socket of an agent on the worker. */
export type SshSpec =
  { readonly kind: 'key'; readonly key: SecretRef } | { readonly kind: 'agent'; readonly socket: string };

/** Where the layers of an image come from and go to, as `repository:tag`. */
export interface ImageCacheSpec {
  readonly import: readonly string[];
  /** Never for pull requests from forks. */
  readonly export?: 'inline' | { readonly place: string };
  readonly mode: 'min' | 'max';
}

/** What builds images: the worker's engine, or a BuildKit daemon. */
export type BuilderSpec = { readonly kind: 'docker' } | BuildKitSpec;

export interface BuildKitSpec {
  readonly kind: 'buildkit';
  /** `unix:///…` or `tcp://host:port`. */
  readonly address: string;
  readonly tls?: {
    readonly ca: SecretRef;
    readonly certificate: SecretRef;
    readonly key: SecretRef;
    readonly serverName?: string;
  };
}

export interface BuildsSpec {
  readonly builder: BuilderSpec;
  /** For building and pushing all images together. */
  readonly timeoutMs: number;
  /** How many images are built at once. */
  readonly concurrency: number;
}

export interface RegistrySpec {
  /** `host:port`, as in an image's name. */
  readonly address: string;
  /** Path between address and the image's name; empty when there is none. */
  readonly prefix: string;
  /** Plain HTTP. */
  readonly insecure: boolean;
  /** One of the three, or none. */
  readonly credentials?: Credentials;
  /** `docker-credential-<name>` of the worker is asked. */
  readonly credentialHelper?: string;
  /** AWS is asked for a token. */
  readonly ecr?: EcrSpec;
}

export interface EcrSpec {
  readonly region: string;
  /** Default: what the worker has for AWS. */
  readonly accessKey?: { readonly id: SecretRef; readonly secret: SecretRef };
}
