/** What images are built for and run on: `linux/amd64`, `linux/arm/v7`. */

/** Variants that are meant where none is named, and are not written. The rest are told apart. @see https://github.com/containerd/platforms */
const silent: Readonly<Record<string, string>> = { amd64: 'v1', arm64: 'v8' };
/** Names that kernels give to the same. */
const architectures: Readonly<Record<string, string>> = { x86_64: 'amd64', 'x86-64': 'amd64', aarch64: 'arm64' };

/** A platform as everybody writes it, so that two names of one are the same text. */
export function platformOf(os: string, architecture: string, variant = ''): string {
  const name = architectures[architecture] ?? architecture;
  const kind = name === 'arm' && variant === '' ? 'v7' : variant === silent[name] ? '' : variant;
  return [os, name, kind].filter((part) => part !== '').join('/');
}

/** The same of one that a person wrote. */
export function normalPlatform(text: string): string {
  const [os = '', architecture = '', variant = ''] = text.split('/');
  return platformOf(os, architecture, variant);
}
