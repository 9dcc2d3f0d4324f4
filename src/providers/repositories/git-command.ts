import { ProviderError } from '../../domain/failures.ts';
import type { RepositoryAddress, RepositoryCredentials } from './port.ts';

/**
 * Settings of every call. A repository is hostile: it must not be able to start anything (hooks, filters, `ext::` addresses, helpers) or make
 * Git wait for a person, and the machine's own configuration must not change what a checkout is.
 */
const settings: Readonly<Record<string, string>> = {
  'core.hooksPath': '/dev/null',
  'core.fsmonitor': 'false',
  'core.quotePath': 'false',
  'core.autocrlf': 'false',
  'protocol.ext.allow': 'never',
  'credential.helper': '',
  'gc.auto': '0',
  'advice.detachedHead': 'false',
  'submodule.recurse': 'false',
  'safe.directory': '*',
  // A server that sends less than 1 kB/s for 30 s has hung.
  'http.lowSpeedLimit': '1000',
  'http.lowSpeedTime': '30',
};

/** The environment of Git: nothing is asked, the machine's configuration does not count, messages stay in the language that {@link explain} reads. */
export function gitEnvironment(
  options: { readonly credentials?: RepositoryCredentials | undefined; readonly indexFile?: string | undefined } = {},
): Record<string, string> {
  const { credentials, indexFile } = options;
  const configuration = { ...settings, ...authorization(credentials) };
  const environment: Record<string, string> = {
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: 'false',
    SSH_ASKPASS: 'false',
    GIT_ALLOW_PROTOCOL: 'file:git:http:https:ssh',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_LFS_SKIP_SMUDGE: '1',
    GIT_SSH_COMMAND: sshCommand(credentials),
    // Settings, and with them a password, go by environment: an argument list can be read by everybody on the machine.
    GIT_CONFIG_COUNT: String(Object.keys(configuration).length),
  };
  Object.entries(configuration).forEach(([key, value], index) => {
    environment[`GIT_CONFIG_KEY_${index}`] = key;
    environment[`GIT_CONFIG_VALUE_${index}`] = value;
  });
  if (indexFile !== undefined) environment['GIT_INDEX_FILE'] = indexFile;
  return environment;
}

function authorization(credentials: RepositoryCredentials | undefined): Record<string, string> {
  if (credentials?.kind !== 'password') return {};
  const pair = Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64');
  return { 'http.extraHeader': `Authorization: Basic ${pair}`, 'http.followRedirects': 'initial' };
}

function sshCommand(credentials: RepositoryCredentials | undefined): string {
  const options = ['ssh', '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=10', '-o', 'ServerAliveInterval=10'];
  if (credentials?.kind !== 'ssh') return options.join(' ');
  options.push('-i', quote(credentials.keyFile), '-o', 'IdentitiesOnly=yes');
  if (credentials.knownHostsFile === undefined) return options.join(' ');
  options.push('-o', quote(`UserKnownHostsFile=${credentials.knownHostsFile}`), '-o', 'StrictHostKeyChecking=yes');
  return options.join(' ');
}

/** GIT_SSH_COMMAND is read by a shell. */
function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

const commitPattern = /^[0-9a-f]{40}$/;
// What git-check-ref-format refuses, of which a colon or a leading dash would be read as something else than a ref.

const badRefPattern = /^-|\.\.|[\u0000-\u0020\u007f~^:?*[\\]|@\{|\/\/|\/$|\.$|\.lock$/;

/**
 * @throws `CommitNotFound`: not a full commit hash, which alone names exactly one commit.
 */
export function checkCommit(commit: string): void {
  if (!commitPattern.test(commit)) {
    throw new ProviderError('CommitNotFound', `"${commit}" is not a full commit hash (40 hexadecimal digits)`);
  }
}

/** Whether a ref of an event may be given to Git. */
export function isRef(ref: string): boolean {
  return ref.startsWith('refs/') && !badRefPattern.test(ref);
}

/**
 * @throws `InvalidInput`: an address that Git would read as an option or as a command.
 */
export function checkUrl(url: string): void {
  if (url.startsWith('-') || url.includes('::') || /[\n\r\0]/.test(url)) {
    throw new ProviderError('InvalidInput', 'the address of the repository is not one that Git may be given');
  }
}

const notThere = /not our ref|unadvertised object|couldn't find remote ref|remote ref .* not found|bad object/i;
const refused =
  /authentication failed|permission denied|access denied|could not read (username|password)|terminal prompts disabled|returned error: 40[134]|repository not found|invalid credentials|host key verification failed/i;

/** What went wrong in a fetch, from Git's own words. */
export function explain(stderr: string): 'absent' | 'refused' | 'locked' | 'unreachable' {
  if (/cannot lock ref|unable to create .*\.lock|file exists/i.test(stderr)) return 'locked';
  if (notThere.test(stderr)) return 'absent';
  return refused.test(stderr) ? 'refused' : 'unreachable';
}

/** The address without user and password, for messages. */
export function publicUrl(repository: RepositoryAddress): string {
  return repository.url.replace(/^([a-z+]+:\/\/)[^/@]*@/i, '$1');
}

/** The last lines that say something, for a message or its details. */
export function lastLines(text: string, count = 5): string {
  return text.trim().split('\n').slice(-count).join('\n');
}
