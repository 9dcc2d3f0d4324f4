import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Where to look for engines that run already. */
export interface EngineSearch {
  /** Paths of sockets where engines usually listen, best first. */
  readonly usual: readonly string[];
  /** The socket of the engine that this installation starts itself; it is no found one. */
  readonly own: string;
  /** Default `/proc`; where there is none, as on macOS, only the usual sockets are looked at. */
  readonly proc?: string;
}

/** An engine that is there and is left alone. */
export interface PassedOver {
  /** Address as in DOCKER_HOST, with the process where more than one engine may have that path. */
  readonly engine: string;
  /** As it reads after the name of the engine and a colon. */
  readonly why: string;
}

/** What {@link listEngines} found. */
export interface EngineList {
  /** Addresses as in DOCKER_HOST, best first. None of them was asked yet. */
  readonly candidates: readonly string[];
  readonly passedOver: readonly PassedOver[];
}

/** One socket of one engine in the process list. */
interface Listener {
  readonly pid: string;
  readonly path: string;
  readonly bridged: boolean;
  /** What is under that path in the files of the process: ours too, something else or nothing, or not for us to see. */
  readonly file: 'ours' | 'elsewhere' | 'unknown';
  readonly network: 'ours' | 'another' | 'unknown';
}

const defaultSocket = '/var/run/docker.sock';

/**
 * Engines that may be used: those behind the usual sockets, and those in the process list that listen elsewhere, such as the one of another
 * installation of Slipway.
 *
 * Only one whose socket is in our files and whose network is ours: with another network (rootless, in a container, in a namespace) its
 * containers have addresses that lead nowhere from here, and it is in nobody's way. Where the process cannot be looked at (another user's,
 * or one that this machine does not show) the socket is a candidate, and its answer decides.
 *
 * One that listens at no usual place and was given a bridge of its own is left alone too: it was set apart on purpose, and its packet filter
 * rules are not in our way.
 */
export function listEngines({ usual, own, proc = '/proc' }: EngineSearch): EngineList {
  const candidates = new Map<string, string>();
  const passedOver: PassedOver[] = [];
  const listeners = readListeners(proc).filter(({ path }) => path !== own);
  const reachable = listeners.filter(({ path, file }) => file !== 'elsewhere' && fileAt(path) !== undefined);
  for (const path of [...usual, ...reachable.map((listener) => listener.path)]) {
    const file = fileAt(path);
    // The same socket by another path, such as /run and /var/run.
    if (file === undefined || candidates.has(file)) continue;
    const why = whyNot(
      reachable.filter((listener) => fileAt(listener.path) === file),
      usual.includes(path),
    );
    if (why === undefined) candidates.set(file, `unix://${path}`);
    else if (!passedOver.some(({ engine }) => engine === `unix://${path}`))
      passedOver.push({ engine: `unix://${path}`, why });
  }
  for (const listener of listeners.filter((each) => !reachable.includes(each))) {
    const engine = `unix://${listener.path} of process ${listener.pid}`;
    passedOver.push({ engine, why: 'its socket is not in the files that are seen from here' });
  }
  return { candidates: [...candidates.values()], passedOver };
}

/** @param listeners - all that may be behind one socket. */
function whyNot(listeners: readonly Listener[], isUsual: boolean): string | undefined {
  if (listeners.length === 0) return undefined;
  const away = listeners.filter(({ network }) => network === 'another');
  if (away.length === listeners.length) {
    return `its network is another one than ours (process ${away.map(({ pid }) => pid).join(', ')})`;
  }
  if (!isUsual && listeners.every(({ bridged }) => bridged)) return 'it was given a bridge of its own';
  return undefined;
}

function readListeners(proc: string): Listener[] {
  let pids: string[];
  try {
    pids = readdirSync(proc).filter((entry) => /^\d+$/.test(entry));
  } catch {
    return [];
  }
  return pids.flatMap((pid) => {
    const [program, ...args] = readCommandLine(join(proc, pid));
    if (program?.split('/').at(-1) !== 'dockerd') return [];
    const bridged = args.some((word) => /^(-b|--bridge)(=|$)/.test(word));
    const network = compareNamespace(proc, pid, 'net');
    return socketsOf(args).map((path) => ({ pid, path, bridged, network, file: compareFile(proc, pid, path) }));
  });
}

function readCommandLine(folder: string): string[] {
  try {
    return readFileSync(join(folder, 'cmdline'), 'utf8').split('\0');
  } catch {
    // It has ended since.
    return [];
  }
}

function socketsOf(args: readonly string[]): string[] {
  const named = args
    .filter((word) => /^(-H=?|--host=)?unix:\/\//.test(word))
    .map((word) => word.replace(/^.*unix:\/\//, ''));
  // `fd://` is what systemd hands over, which opened the default one.
  const usesDefault =
    args.some((word) => /^(-H=?|--host=)?fd:\/\//.test(word)) || !args.some((word) => /^(-H|--host)/.test(word));
  return usesDefault ? [...named, defaultSocket] : named;
}

/** Namespaces of the same kind are the same where their links say the same; those of others may only be read by root. */
function compareNamespace(proc: string, pid: string, kind: 'net' | 'mnt'): 'ours' | 'another' | 'unknown' {
  try {
    const ours = readlinkSync(join(proc, 'self/ns', kind));
    return readlinkSync(join(proc, pid, 'ns', kind)) === ours ? 'ours' : 'another';
  } catch {
    return 'unknown';
  }
}

function compareFile(proc: string, pid: string, path: string): Listener['file'] {
  const files = compareNamespace(proc, pid, 'mnt');
  if (files !== 'another') return files;
  // An absolute link on the way would lead back into our files: /var/run is one nearly everywhere.
  const inside = [path.replace(/^\/var\/run\//, '/run/'), path].map((each) => fileAt(join(proc, pid, 'root', each)));
  const theirs = inside.find((file) => file !== undefined);
  return theirs !== undefined && theirs === fileAt(path) ? 'ours' : 'elsewhere';
}

/** What tells one file from every other, by whatever path; undefined where there is none. */
function fileAt(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${String(dev)}:${String(ino)}`;
  } catch {
    return undefined;
  }
}
