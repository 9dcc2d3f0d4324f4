import { backendName, serverName } from './haproxy-file.ts';
import type { StatRow } from './haproxy-socket.ts';
import type { Route } from './port.ts';

/** What a worker must be told so that it does as the route says; empty when it does, or has never heard of the route. */
export function steering(route: Route, all: readonly StatRow[]): string[] {
  const backend = backendName(route);
  const rows = all.filter((row) => row.proxy === backend && isServer(row));
  if (rows.length === 0) return [];
  const live = route.servers.filter((server) => server.role === 'live');
  const commands: string[] = [];
  for (const server of live) {
    const name = `${backend}/${serverName(server)}`;
    const row = rows.find((candidate) => candidate.name === serverName(server));
    if (row === undefined) commands.push(`add server ${name} ${server.address} weight ${server.weight}`);
    else if (isUp(row) && !isOut(row) && row.weight === server.weight) continue;
    commands.push(`set server ${name} state ready`, `set server ${name} weight ${server.weight}`);
    // As after a reload: up until its checks say otherwise.
    if (row !== undefined && !isUp(row)) commands.push(`set server ${name} health up`);
  }
  const keep = new Set(live.map(serverName));
  const others = rows.filter((row) => !keep.has(row.name) && !isOut(row));
  // With nothing live left, backups are the traffic's last resort and stay as they are.
  if (live.length > 0) commands.push(...others.map((row) => `set server ${backend}/${row.name} state drain`));
  return commands;
}

/** A server's row, and not one of a whole frontend or backend. */
export function isServer(row: StatRow): boolean {
  return row.name !== 'FRONTEND' && row.name !== 'BACKEND';
}

/** Would be given requests if it had its share. */
export function isUp(row: StatRow): boolean {
  return row.status.startsWith('UP') || row.status.startsWith('DRAIN') || row.status === 'no check';
}

/** Takes nothing new by somebody's word. */
export function isOut(row: StatRow): boolean {
  return row.status.startsWith('DRAIN') || row.status.startsWith('MAINT');
}
