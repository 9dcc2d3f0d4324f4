/**
 * How a command is wrapped so that it cannot outlive its worker. Only data: nothing here starts anything.
 *
 * The wrapped command begins with a handshake on descriptor 3: the launcher says `r` once the kernel has been told to kill it with
 * its parent, and waits for the worker's word. A worker that dies before gives no word, so there is no moment in which a killed
 * worker leaves a command behind. `s` says that the command is being started.
 */

/**
 * - `namespace`: its own pid namespace; the kernel ends every process in it with the worker or with the command, whatever they did.
 * - `parent-death`: the kernel ends the launcher with the worker, and the launcher's watch ends its process group.
 * - `process-group`: only the watch ends the process group, when the worker's end of its pipe closes.
 */
export type ContainmentKind = 'namespace' | 'parent-death' | 'process-group';

/** What this machine can do to keep processes from outliving their worker. */
export interface Containment {
  readonly kind: ContainmentKind;
  /** Put before the launcher. */
  readonly prefix: readonly string[];
  /** For a person, at the start of a worker. */
  readonly sentence: string;
}

/** Tried in this order; the first whose prefix runs `true` is taken. */
export const containments: readonly Containment[] = [
  {
    kind: 'namespace',
    prefix: ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--fork', '--pid', '--kill-child=KILL', '--mount-proc'],
    sentence: 'Processes run in pid namespaces of their own: none outlives its worker or its step.',
  },
  {
    kind: 'namespace',
    prefix: ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--fork', '--pid', '--kill-child=KILL'],
    sentence: 'Processes run in pid namespaces of their own: none outlives its worker or its step.',
  },
  {
    kind: 'parent-death',
    prefix: ['setpriv', '--pdeathsig', 'KILL'],
    sentence:
      'This worker may not make pid namespaces (run it as root, or give it CAP_SYS_ADMIN): a step that starts a daemon in a session of its own can leave it behind.',
  },
  {
    kind: 'process-group',
    prefix: [],
    sentence:
      'This machine has no setpriv and unshare (Linux, package util-linux): a step that starts a daemon in a session of its own can leave it behind.',
  },
];

/** The exit status of a launcher that was not given the word, or was given it too late. */
export const notStartedCode = 125;

// `exit $?` keeps the shell from replacing itself by the command, which as first process of its namespace would ignore SIGTERM.
const plainLauncher = `printf r >&3
read -r go <&3 || exit ${notStartedCode}
printf s >&3
exec 3<&-
"$@"
exit $?`;

/**
 * As above, with a watch beside the command that kills the process group (and with it the namespace) when the deadline, in
 * hundredths of a second of /proc/uptime, passes without a later one having come through descriptor 3, or when that closes. It
 * needs nothing of the worker, so it also works while the worker is stopped. `-` is no deadline.
 *
 * The launcher ignores what the command is told to end by, and does not trap it: a trap ends `wait` early, and a second `wait` of bash
 * (5.2) can then wait for a child that it has already reaped.
 */
const watchedLauncher = `
expired() {
  [[ $deadline != - ]] || return 1
  read -r up _ </proc/uptime
  (( (left = deadline - 10#\${up/./}) <= 0 ))
}
printf r >&3
IFS= read -r deadline <&3 || exit ${notStartedCode}
expired && exit ${notStartedCode}
printf s >&3
trap '' TERM INT HUP
(
  trap - TERM INT HUP
  exec "$@" 3<&-
) <&0 &
child=$!
(
  exec </dev/null >/dev/null 2>&1
  until expired; do
    if [[ $deadline = - ]]; then
      IFS= read -r deadline <&3 || break
    else
      printf -v patience '%d.%02d' $((left / 100)) $((left % 100))
      IFS= read -r -t "$patience" next <&3
      code=$?
      if ((code == 0)); then deadline=$next; elif ((code <= 128)); then break; fi
    fi
  done
  kill -KILL 0
) &
watch=$!
exec 3<&-
wait "$child"
code=$?
kill -KILL "$watch" 2>/dev/null
exit "$code"`;

/**
 * The whole argument list for a command.
 *
 * @param watched - with the watch: for effects under a lease, and wherever there is no namespace. Needs bash.
 * @param locate - gives the absolute path of a wrapper's program, for the command's own PATH may lead anywhere.
 */
export function launchCommand(
  containment: Containment,
  command: readonly string[],
  watched: boolean,
  locate: (program: string) => string,
): readonly [string, ...string[]] {
  const shell = locate(watched ? 'bash' : 'sh');
  const prefix = containment.prefix.map((word) => (wrappers.has(word) ? locate(word) : word));
  const [first, ...rest] = [...prefix, shell, '-c', watched ? watchedLauncher : plainLauncher, 'slipway', ...command];
  return [first ?? shell, ...rest];
}

const wrappers = new Set(['setpriv', 'unshare']);

/** Whether a command must be watched: no namespace ends it with its worker, or a lease may end before the command. */
export function needsWatch(containment: Containment, leased: boolean): boolean {
  return leased || containment.kind !== 'namespace';
}
